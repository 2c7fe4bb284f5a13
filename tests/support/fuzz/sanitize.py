"""`make sanitize`: the compiled core under AddressSanitizer and UBSan, then fuzzed, and everything that reads bytes.

    python -m tests.support.fuzz.sanitize [--seconds 60] [--seed N] [--no-tests]

The extensions are built in a copy of the tree, build/sanitized.  Ends with 1 after any report.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.fuzz.targets import BUILT, SOURCES, Target, compiler, libfuzzer
from tests.support.paths import ROOT

COPY = ROOT / "build" / "sanitized"
REPORTS = COPY / "reports"
COPIED = ("corec", "tests", "configs", "plugins", "examples", "docs", "setup.py", "pyproject.toml", "README.md", "README.es.md")
TESTS = ("core/test_wire", "core/test_kernels", "core/test_layout", "engine/test_model", "engine/test_engine",
         "engine/test_engine_snapshots", "engine/test_forged_snapshots", "streams/test_journal", "storage/test_snapshots")  # fmt: skip
#: Parts of --seconds.
SHARES = {"fuzz_wire": 0.1, "fuzz_fold": 0.35, "fuzz_fold as shipped": 0.2, "readers": 0.15, "readers, sanitized": 0.2}


class Failed(Exception):
    """A step found something; the text says what."""


def copy_tree() -> None:
    """The tree as it is, without what was built in it."""
    shutil.rmtree(COPY, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    unwanted = shutil.ignore_patterns("*.so", "__pycache__", "build")
    for source in filter(Path.exists, (ROOT / name for name in COPIED)):
        if source.is_dir():
            shutil.copytree(source, COPY / source.name, ignore=unwanted)
        else:
            shutil.copy2(source, COPY)


def build_extensions() -> str:
    if not compiler():
        raise Failed("expected a C compiler whose AddressSanitizer and UBSan work here\nHINT: install gcc and libasan, or clang")
    copy_tree()
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", "2"]
    done = run(command, {**os.environ, "COREC_SANITIZE": "1", "CC": compiler()})
    if done.returncode:
        raise Failed(done.stderr)
    for module in ("arena", "block", "wire"):
        run_sanitized(["-c", f"import corec._core.{module} as m; assert m.__file__.startswith({str(COPY)!r}), m.__file__"])
    return f"with {compiler()}, in {COPY.relative_to(ROOT)}"


def run(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, errors="replace")


def runtimes() -> str:
    """The sanitizers' libraries, as the loader finds them for an extension, and libstdc++, whose exceptions they watch."""
    built = next((COPY / "corec" / "_core").glob("block*.so"))
    needed = subprocess.run(["ldd", built], capture_output=True, text=True).stdout
    found = re.findall(r"lib(?:asan|ubsan|clang_rt)\S* => (\S+)", needed)
    standard = subprocess.run([compiler(), "-print-file-name=libstdc++.so.6"], capture_output=True, text=True).stdout.strip()
    return ":".join([*found, *([standard] if os.path.isabs(standard) else [])])


def sanitized_environment() -> dict[str, str]:
    """PYTHONMALLOC: each bytes object gets red zones of its own.  Leaks: CPython has some on purpose.

    The log catches reports of processes that tests start; UBSan under GCC writes to stderr all the same.
    """
    address = f"detect_leaks=0:allocator_may_return_null=1:log_path={REPORTS}/address"
    return {**os.environ, "LD_PRELOAD": runtimes(), "PYTHONPATH": str(COPY), "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": address, "UBSAN_OPTIONS": "print_stacktrace=1"}  # fmt: skip


def run_sanitized(arguments: Sequence[str]) -> str:
    """Standard output of Python in the copy; Failed when it fails or a sanitizer reported anything."""
    done = run([sys.executable, *arguments], sanitized_environment())
    reports = [path.read_text(errors="replace")[:6000] for path in sorted(REPORTS.iterdir())]
    if reports or done.returncode:
        raise Failed("\n".join([done.stdout[-4000:], first_report(done.stderr), *reports]))
    return done.stdout


def first_report(text: str) -> str:
    """The first sanitizer report in *text*, else its end."""
    start = re.search(r"^.*(?:runtime error:|ERROR: AddressSanitizer)", text, re.MULTILINE)
    return text[start.start() :][:4000] if start else text[-4000:]


def run_tests() -> str:
    files = [f"tests/{name}.py" for name in TESTS if (COPY / f"tests/{name}.py").exists()]
    printed = run_sanitized(["-m", "pytest", "-x", "--capture=sys", "-p", "no:cacheprovider", "-p", "no:faulthandler",
                             "-p", "tests.support.fuzz.few_examples", *files])  # fmt: skip
    return f"{len(files)} files, {printed.strip().splitlines()[-1].strip('= ')}"


def fuzz(name: str, form: str, seconds: float, seed: int) -> str:
    found = Target(name, form).run(seconds, seed, BUILT / "corpus" / name)
    if not found.clean:
        raise Failed(found.text[-6000:])
    return f"{found.inputs:,} inputs in {seconds:.0f} s ({form})"


def fuzz_readers(seconds: float, seed: int) -> str:
    command = [sys.executable, "-m", "tests.support.fuzz.fuzz_readers", "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise Failed(done.stdout[-2000:] + done.stderr[-6000:])
    return f"{counted(done.stdout + done.stderr)} inputs in {seconds:.0f} s"


def fuzz_readers_sanitized(seconds: float, seed: int) -> str:
    printed = run_sanitized(["-m", "tests.support.fuzz.fuzz_readers", "--plain", "--seconds", str(seconds), "--seed", str(seed)])
    return f"{counted(printed)} inputs in {seconds:.0f} s"


def counted(printed: str) -> str:
    counts = re.findall(r"^(?:Done )?(\d+) (?:inputs|runs)", printed, re.MULTILINE)
    return f"{int(counts[-1]):,}" if counts else "no"


def steps(options: argparse.Namespace) -> dict[str, Callable[[], str]]:
    def share(name: str) -> float:
        return options.seconds * SHARES[name]

    form, seed = "libfuzzer" if libfuzzer() else "driver", options.seed
    wanted = {"extensions": build_extensions}
    if options.tests:
        wanted["tests"] = run_tests
    for name in SOURCES:
        wanted[name] = lambda name=name: fuzz(name, form, share(name), seed)
    wanted["fuzz_fold as shipped"] = lambda: fuzz("fuzz_fold", "release", share("fuzz_fold as shipped"), seed)
    wanted["readers"] = lambda: fuzz_readers(share("readers"), seed)
    wanted["readers, sanitized"] = lambda: fuzz_readers_sanitized(share("readers, sanitized"), seed)
    return wanted


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all fuzzing together")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0x7FFFFFFF)
    parser.add_argument("--no-tests", dest="tests", action="store_false")
    options = parser.parse_args(words)
    print(f"seed {options.seed}", flush=True)
    broken = [name for name, step in steps(options).items() if not carry_out(name, step)]
    print(f"sanitize: FAILED: {', '.join(broken)}" if broken else "sanitize: nothing found")
    return 1 if broken else 0


def carry_out(name: str, step: Callable[[], str]) -> bool:
    start = time.monotonic()
    try:
        told = step()
    except Failed as found:
        print(f"{name}: FAILED\n{found}", flush=True)
        return False
    print(f"{name}: {told} [{time.monotonic() - start:.0f} s]", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
