"""Extensions and their flags; everything else is in pyproject.toml."""
import os

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = "corec/_core"
DEBUG = os.environ.get("COREC_DEBUG") == "1"

#: No fused multiply-add: results are the same bits on every instruction set.  The two -fno-* let GCC make
#: vectors of tests and square roots; -g0 takes a module from 1.1 MB to 0.2 MB.
FLAGS = ["-O3", "-g0", "-fopenmp-simd", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
         "-fvisibility=hidden", "-Werror=implicit-function-declaration"]
SANITIZE = ["-O1", "-g", "-fopenmp-simd", "-ffp-contract=off", "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined"]
sanitizing = os.environ.get("COREC_SANITIZE") == "1"


def extension(name: str, *sources: str) -> Extension:
    return Extension(
        f"corec._core.{name}",
        [f"{CORE}/{name}.pyx", *(f"{CORE}/{source}" for source in sources)],
        include_dirs=[CORE],
        depends=[f"{CORE}/{header}" for header in ("layout.h", "core.h", "kernels.h", "wire.h")],
        extra_compile_args=SANITIZE if sanitizing else FLAGS,
        extra_link_args=["-fsanitize=address,undefined"] if sanitizing else ["-Wl,-s"],
    )


KERNELS = ["cold.c", "simd.c", "kernels_base.c", "kernels_avx2.c", "kernels_avx512.c"]

setup(
    ext_modules=cythonize(
        [
            extension("wire", "crc32c.c"),
            extension("arena", "cold.c"),
            extension("block", *KERNELS),
        ],
        language_level=3,
        compiler_directives={"boundscheck": DEBUG, "wraparound": DEBUG},
    ),
)
