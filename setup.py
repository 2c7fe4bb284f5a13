"""Extensions and their flags, and the bundled plugins; everything else is in pyproject.toml."""
import os
import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

CORE = "corec/_core"
PLUGINS = Path("plugins")
DEBUG = os.environ.get("COREC_DEBUG") == "1"
#: 0 builds in a third of the time, for tests of packaging.
LEVEL = "-O" + os.environ.get("COREC_OPTIMIZE", "3")

#: No fused multiply-add: results are the same bits on every instruction set.  The two -fno-* let GCC make
#: vectors of tests and square roots; -g0 takes a module from 1.1 MB to 0.2 MB.  -Wno-pass-failed: clang warns of each
#: loop under `omp simd` that it unrolls instead, and GCC lets flags it does not know pass where they begin with -Wno.
FLAGS = ["-g0", "-fopenmp-simd", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
         "-fvisibility=hidden", "-Werror=implicit-function-declaration", "-Wno-pass-failed", "-Wno-sign-compare"]
SANITIZE = ["-O1", "-g", "-fopenmp-simd", "-ffp-contract=off", "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined"]
sanitizing = os.environ.get("COREC_SANITIZE") == "1"


def extension(name: str, *sources: str) -> Extension:
    return Extension(
        f"corec._core.{name}",
        [f"{CORE}/{name}.pyx", *(f"{CORE}/{source}" for source in sources)],
        include_dirs=[CORE],
        depends=[f"{CORE}/{header}" for header in ("layout.h", "core.h", "kernels.h", "wire.h")],
        extra_compile_args=SANITIZE if sanitizing else [LEVEL, *FLAGS],
        extra_link_args=["-fsanitize=address,undefined"] if sanitizing else ["-Wl,-s"],
    )


class BuildWithPlugins(build_py):
    """Puts the bundled plugins where `corec init` copies them from; a checkout has them in its own plugins folder."""

    def run(self):
        super().run()
        if PLUGINS.is_dir() and not self.editable_mode:
            target = Path(self.build_lib, "corec/cli/default/plugins")
            shutil.copytree(PLUGINS, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))


class SdistWithoutGenerated(sdist):
    """Leaves the C that Cython makes out of the source distribution: it is made anew where that is built."""

    def get_file_list(self):
        super().get_file_list()
        made = {str(path.with_suffix(".c")) for path in Path(CORE).glob("*.pyx")}
        self.filelist.files = [file for file in self.filelist.files if file not in made]


KERNELS = ["cold.c", "windows.c", "score.c", "simd.c", "kernels_base.c", "kernels_avx2.c", "kernels_avx512.c"]

setup(
    cmdclass={"build_py": BuildWithPlugins, "sdist": SdistWithoutGenerated},
    ext_modules=cythonize(
        [
            extension("calls"),
            extension("copyrows"),
            extension("wire", "crc32c.c"),
            extension("arena", "cold.c", "windows.c"),
            extension("block", *KERNELS),
        ],
        language_level=3,
        compiler_directives={"boundscheck": DEBUG, "wraparound": DEBUG},
    ),
)
