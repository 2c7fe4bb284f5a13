"""Install each wheel of wheelhouse/ where no file of the checkout is near, and run the tests that ship for it.

    python packaging/try_wheels.py [--only cp312] [--native]

Those of this machine's processor go into an empty environment of their CPython; aarch64 ones run under qemu, at pages of
4 and of 16 KiB as a Pi 4 and a Pi 5 have them, where Debian has an arm64 Python of their version.  What came of it is
printed and put into benchmarks/report.wheels.md.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import arm64
from check_wheel import Wheel, problems, read_name
from footprint import MOST_BYTES, Footprint, install, install_into
from tools import REPORT, ROOT, WHEELHOUSE, WORK, environment, find_pythons, run, say

#: Linux tags of wheels that the arm64 Pythons can use.
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)] + ["manylinux2014_aarch64"]
#: A processor of 2008 without AVX: the kernels must see that by themselves.
OLD_QEMU, OLD_CPU = "qemu-x86_64-static", "Nehalem"
GOLDEN = "tests/core/test_kernels.py::test_every_instruction_set_gives_the_golden_bits"


class Board(NamedTuple):
    """What a wheel is to run on: a processor as qemu calls it, and the memory pages of its system."""

    name: str
    cpu: str
    page: int
    tests: tuple[str, ...]    # everything on one of them, on the other what may hang on pages


#: Their processors have none of the pointer signatures that newer ones have, and that qemu takes an age to compute.
BOARDS = (Board("Pi 4", "cortex-a72", 4096, ("tests/installed", GOLDEN)), Board("Pi 5", "cortex-a76", 16384, ("tests",)))


class Trial(NamedTuple):
    """One run of the tests against one wheel."""

    wheel: str
    where: str
    passed: bool | None    # None: it could not be run here
    said: str


def main() -> int:
    """Try every wheel; 1 where a test failed, or nothing could be tried."""
    asked = arguments()
    wheels = [read_name(path) for path in sorted(WHEELHOUSE.glob("*.whl"))]
    wheels = [wheel for wheel in wheels if not asked.only or wheel.python in asked.only]
    if not wheels:
        sys.exit(f"expected wheels in {WHEELHOUSE}, found none\nHINT: make wheels")
    trials, footprints = [], []
    with tempfile.TemporaryDirectory(prefix="corec-wheels-") as folder:
        for wheel in wheels:
            try_wheel(wheel, Path(folder, wheel.path.stem), asked.native, trials, footprints)
        trials.extend(try_sdist(sdist, Path(folder, "sdist")) for sdist in WHEELHOUSE.glob("*.tar.gz"))
    write_report(wheels, trials, footprints)
    return int(any(trial.passed is False for trial in trials) or not any(trial.passed for trial in trials))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TAG", help="cp311, cp312, ...")
    parser.add_argument("--native", action="store_true", help="nothing under qemu")
    return parser.parse_args()


def try_wheel(wheel: Wheel, folder: Path, native: bool, trials: list[Trial], footprints: list[Footprint]) -> None:
    """All that can be tried of one wheel here."""
    found = list(problems(wheel))
    trials.append(note(Trial(wheel.path.name, "content, ELF headers, size", not found, "; ".join(found) or "sound")))
    folder.mkdir()
    copy_tests(folder)
    if wheel.machine == platform.machine():
        trials.extend(try_here(wheel, folder, native, footprints))
    elif not native:
        trials.extend(try_under_qemu(wheel, folder, footprints))


def copy_tests(folder: Path) -> None:
    """The tests that ship for an installation, as the release pipeline copies them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    for name in settings["test-sources"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "requirements").write_text("\n".join(settings["test-requires"]))


def try_sdist(sdist: Path, folder: Path) -> Trial:
    """Have pip build the source distribution, by tools that it fetches itself, and test what that gives."""
    folder.mkdir()
    copy_tests(folder)
    python = find_pythons()[-1]
    inside, _ = install(python.path, sdist, folder / "env")
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", folder / "requirements")
    return try_tests(sdist.name, folder, f"{python}, built by pip", [inside])


def try_here(wheel: Wheel, folder: Path, native: bool, footprints: list[Footprint]) -> list[Trial]:
    """In an empty environment of the wheel's own CPython."""
    python = next((python for python in find_pythons() if python.tag == wheel.python), None)
    if python is None:
        return [note(Trial(wheel.path.name, "this machine", None, f"no CPython {wheel.python} here"))]
    inside, footprint = install(python.path, wheel.path, folder / "env")
    footprints.append(footprint)
    trials = [try_footprint(footprint)]
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", folder / "requirements")
    trials.append(try_tests(wheel.path.name, folder, f"{python}, this processor", [inside]))
    if python == find_pythons()[-1]:
        trials.append(try_budget(wheel, folder, f"{python}, whole pass over a million entities", inside))
    if not native and platform.machine() == "x86_64" and shutil.which(OLD_QEMU):
        old = [shutil.which(OLD_QEMU), "-cpu", OLD_CPU, inside.resolve()]
        paths = [str(next((folder / "env" / "lib").glob("python3*/site-packages")))]
        trials.append(try_tests(wheel.path.name, folder, f"{python}, a {OLD_CPU} of qemu", old, GOLDEN, PYTHONPATH=paths[0]))
    return trials


def try_footprint(footprint: Footprint) -> Trial:
    """Hold what an installation takes on disk against its budget."""
    said = f"{footprint.bytes / 1e6:.1f} MB of {MOST_BYTES / 1e6:.0f}"
    return note(Trial(footprint.wheel.name, "base dependencies", footprint.fits, said))


def try_under_qemu(wheel: Wheel, folder: Path, footprints: list[Footprint]) -> list[Trial]:
    """On an arm64 Python of Debian, at each size of memory pages."""
    lacking = arm64.missing()
    if lacking:
        return [note(Trial(wheel.path.name, "qemu", False, lacking))]
    minor = int(wheel.python.removeprefix("cp3"))
    python = arm64.interpreter(minor)
    if python is None:
        return [note(Trial(wheel.path.name, "qemu", None, f"Debian has no arm64 Python 3.{minor}"))]
    target = folder / "packages"
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    into = ["--target", target, *platforms, "--python-version", f"3.{minor}", "--implementation", "cp", "--only-binary", ":all:"]
    own = next((found.path for found in find_pythons() if found.minor == minor), sys.executable)
    pip = environment(own, WORK / f"pip-{wheel.python}")    # of the same version: it judges `python_version` by its own
    footprint = install_into(target, pip, wheel.path, *into)
    footprints.append(footprint)
    run(pip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *into, "-r", folder / "requirements")
    trials = [try_footprint(footprint)]
    return trials + [try_board(wheel, folder, python, minor, board, target) for board in BOARDS]


def try_board(wheel: Wheel, folder: Path, python: Path, minor: int, board: Board, target: Path) -> Trial:
    """On what qemu makes of one board."""
    where = f"CPython 3.{minor}, qemu-aarch64, {board.cpu} ({board.name}), pages of {board.page // 1024} KiB"
    env = {"QEMU_CPU": board.cpu, "QEMU_PAGESIZE": str(board.page)}
    real = arm64.page_size(python, env)
    if real != board.page:
        lacking = f"this qemu gives pages of {real} bytes" if real else "this qemu has no such processor"
        return note(Trial(wheel.path.name, where, None, lacking))
    return try_tests(wheel.path.name, folder, where, [python], *board.tests, PYTHONPATH=str(target), **env)


def try_tests(name: str, folder: Path, where: str, python: list[str | Path], *tests: str, **env: str) -> Trial:
    """Run tests by one interpreter; all of them where none are named."""
    passed, last = run_tests(folder, python, *(tests or ["tests"]), **env)
    return note(Trial(name, where, passed, last))


def run_tests(folder: Path, python: list[str | Path], *tests: str, **env: str) -> tuple[bool, str]:
    """Whether they passed, and the last line of what pytest says; all of it is shown where they did not."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COREC_"))}
    command = [*map(str, python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci", *tests]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, env={**clean, "COREC_INSTALLED": "1", **env})
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        print("\n".join(lines), file=sys.stderr)
    return done.returncode == 0, lines[-1] if lines else f"it printed nothing and ended with {done.returncode}"


def try_budget(wheel: Wheel, folder: Path, where: str, inside: Path) -> Trial:
    """Whether the whole-pass budget of docs/benchmarks.md is met by the wheel, not only by a build for this machine."""
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("report.*", "__pycache__"))
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pytest-benchmark>=4")
    passed, said = run_tests(folder, [inside], "benchmarks/bench_pass.py", "-k", "against_scale", "--quick")
    report = folder / "benchmarks" / "report.json"
    rows = [row for row in json.loads(report.read_text())["rows"] if row["budget"]] if report.exists() else []
    figures = [f"{row['figure']}, {row['ratio']:.2f} times the time of an in-place scale, {row['budget']}" for row in rows]
    return note(Trial(wheel.path.name, where, passed, "; ".join(figures) or said))


def note(trial: Trial) -> Trial:
    say(f"{trial.wheel}: {trial.where}: {verdict(trial)}: {trial.said}")
    return trial


def verdict(trial: Trial) -> str:
    """In one or two words."""
    return {True: "passed", False: "FAILED", None: "not run"}[trial.passed]


def write_report(wheels: list[Wheel], trials: list[Trial], footprints: list[Footprint]) -> None:
    """As a page of Markdown beside the other reports."""
    lines = ["# Wheels", "", "| wheel | bytes |", "|---|---|"]
    lines += [f"| {wheel.path.name} | {wheel.path.stat().st_size:,} |" for wheel in wheels]
    lines += ["", "| wheel | where | | |", "|---|---|---|---|"]
    lines += [f"| {trial.wheel} | {trial.where} | {verdict(trial)} | {trial.said} |" for trial in trials]
    for footprint in footprints:
        lines += ["", *footprint.lines()]
    REPORT.write_text("\n".join(lines) + "\n")
    for footprint in footprints:
        say("\n    ".join(footprint.lines()))
    say(f"report in {REPORT.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
