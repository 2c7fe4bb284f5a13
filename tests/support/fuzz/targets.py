"""The C fuzz targets: built with what compilers there are, under libFuzzer or driver.c, and run."""

import ast
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

HERE = Path(__file__).parent
CORE = ROOT / "corec" / "_core"
BUILT = ROOT / "build" / "fuzz"

SOURCES = {
    "fuzz_wire": ("crc32c.c",),
    "fuzz_fold": ("cold.c", "windows.c", "score.c", "simd.c", "crc32c.c", "kernels_base.c", "kernels_avx2.c", "kernels_avx512.c"),
}
COMMON = ("-g", "-fopenmp-simd", "-ffp-contract=off", "-Wno-pass-failed", f"-I{CORE}", f"-I{HERE}")
SANITIZERS = ("-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
COVERAGE = "-fsanitize-coverage=trace-pc"
#: Bytes of an input; driver.c knows them as LONGEST.
LONGEST = 1024
#: CPython and what these targets set up once are not leaks.
SAN_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


class Run(NamedTuple):
    """What came of a run: whether it found nothing, and what it printed."""

    clean: bool
    inputs: int
    text: str


PROBE = "int main(void) { return 0; }"
FUZZER_PROBE = "int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return 0 * (n && *p); }"


def _works(compiler: str, source: str, *flags: str) -> bool:
    """Whether *source* builds with *flags*, and what was built runs here."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/probe"
        command = [compiler, *flags, "-x", "c", "-", "-o", program]
        if subprocess.run(command, input=source, text=True, capture_output=True).returncode:
            return False
        return subprocess.run([program, "-runs=1"], capture_output=True, env=environment()).returncode == 0


def environment() -> dict[str, str]:
    return {**os.environ, **SAN_ENVIRONMENT}


@functools.cache
def compiler() -> str | None:
    """A C compiler with AddressSanitizer and UBSan that work here."""
    names = (os.environ.get("CC"), "gcc", "cc", "clang")
    return next((name for name in names if name and shutil.which(name) and _works(name, PROBE, *SANITIZERS)), None)


@functools.cache
def libfuzzer() -> str | None:
    """A clang with libFuzzer's runtime."""
    found = shutil.which("clang")
    return found if found and _works(found, FUZZER_PROBE, "-fsanitize=fuzzer,address,undefined") else None


def release_flags() -> tuple[str, ...]:
    """How setup.py compiles what is shipped."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    value = next(node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLAGS")
    return ("-O3", *ast.literal_eval(value))


class Target(NamedTuple):
    """One way of building a target."""

    name: str
    form: str  # "libfuzzer", "driver" or "release": driver.c without sanitizers, kernels as they are shipped

    def build(self) -> Path:
        """The program, built if it or anything it is made of changed."""
        flags = self._flags()
        program = BUILT / f"{self.name}-{self.form}-{_digest(flags)}"
        if not program.exists():
            BUILT.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=BUILT) as folder, ThreadPool(os.cpu_count()) as pool:
                pool.starmap(functools.partial(self._compile, folder), flags.items())
                link = [self._compiler, *(SANITIZERS if self.form == "driver" else ())]
                link += ["-fsanitize=fuzzer,address,undefined"] if self.form == "libfuzzer" else []
                subprocess.run([*link, *Path(folder).glob("*.o"), "-lm", "-o", program], check=True)
        return program

    @property
    def _compiler(self) -> str:
        return libfuzzer() if self.form == "libfuzzer" else compiler()

    def _compile(self, folder: str, source: Path, flags: tuple[str, ...]) -> None:
        subprocess.run([self._compiler, *COMMON, *flags, "-c", source], cwd=folder, check=True)

    def _flags(self) -> dict[Path, tuple[str, ...]]:
        """How each source is compiled; kernels that are to become vectors cannot count where they go."""
        kernels, target = [CORE / name for name in SOURCES[self.name]], HERE / f"{self.name}.c"
        if self.form == "libfuzzer":
            return dict.fromkeys([*kernels, target], (*SANITIZERS, "-fsanitize=fuzzer-no-link"))
        if self.form == "driver":
            return {HERE / "driver.c": SANITIZERS} | dict.fromkeys([*kernels, target], (*SANITIZERS, COVERAGE))
        return {HERE / "driver.c": ("-O2",), target: ("-O2", COVERAGE)} | dict.fromkeys(kernels, release_flags())

    def run(self, seconds: float, seed: int, corpus: Path) -> Run:
        """Fuzz for *seconds* from the inputs in *corpus*, adding to them."""
        program = self.build()
        corpus.mkdir(parents=True, exist_ok=True)
        self._plant(corpus)
        words = self._libfuzzer if self.form == "libfuzzer" else self._driver
        command = words(program, seconds, seed, corpus)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment(), timeout=seconds + 120)
        text = done.stdout + done.stderr
        counts = re.findall(r"^(?:Done )?(\d+) (?:inputs|runs)", text, re.MULTILINE)
        return Run(done.returncode == 0, int(counts[-1]) if counts else 0, text)

    def _plant(self, corpus: Path) -> None:
        """Inputs that reach what there is to reach, in hexadecimal: short runs begin where long ones ended."""
        seeds = HERE / f"{self.name}.seeds"
        for number, line in enumerate(seeds.read_text().split() if seeds.exists() else ()):
            (corpus / f"seed-{number:03}").write_bytes(bytes.fromhex(line))

    def _libfuzzer(self, program: Path, seconds: float, seed: int, corpus: Path) -> list[str]:
        return [str(program), f"-max_total_time={round(seconds) or 1}", f"-max_len={LONGEST}", f"-seed={seed % 2**31 or 1}",
                "-timeout=20", f"-artifact_prefix={BUILT}/{self.name}-", str(corpus)]  # fmt: skip

    def _driver(self, program: Path, seconds: float, seed: int, corpus: Path) -> list[str]:
        kept = sorted(map(str, corpus.iterdir()))[:1000]
        return [str(program), "--seconds", str(seconds), "--seed", str(seed), "--keep", str(corpus),
                "--save", str(BUILT / f"{self.name}-crash"), *kept]  # fmt: skip


def _digest(flags: dict[Path, tuple[str, ...]]) -> str:
    """Of everything a program is made of."""
    content = hashlib.sha256(repr((COMMON, flags, compiler(), libfuzzer())).encode())
    for path in sorted([*flags, *HERE.glob("*.h"), *CORE.glob("*.h")]):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]
