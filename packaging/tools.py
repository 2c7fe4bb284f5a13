"""What the scripts here share: where things go, CPythons to be found, environments, commands."""
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WHEELHOUSE = ROOT / "wheelhouse"
WORK = ROOT / "build" / "wheels"
REPORT = ROOT / "benchmarks" / "report.wheels.md"
#: The minor versions of Python 3 that wheels are for.
MINORS = range(11, 15)

PROBE = """
import sys, sysconfig, pathlib
header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
free = sysconfig.get_config_var("Py_GIL_DISABLED")
fit = sys.implementation.name == "cpython" and not free and header.is_file()
print(*sys.version_info[:3], sys.executable if fit else "")
"""


class Python(NamedTuple):
    """A CPython that can build extensions."""

    minor: int
    micro: int
    path: str

    @property
    def tag(self) -> str:
        """As in the name of a wheel."""
        return f"cp3{self.minor}"

    def __str__(self) -> str:
        return f"CPython 3.{self.minor}.{self.micro}"


def say(text: str) -> None:
    print(f"[wheels] {text}", flush=True)


def run(*command: str | Path, quiet: bool = True, **options) -> str:
    """Run a command to its end; what it printed, or an exit that shows it."""
    done = subprocess.run([*map(str, command)], text=True, capture_output=quiet, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nfailed with {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done.stdout or ""


def find_pythons() -> list[Python]:
    """The newest CPython of each minor version on PATH, under pyenv, or running this; without headers it counts not."""
    found = {}
    for path in _candidates():
        python = _probe(path)
        if python and python.minor in MINORS and python.micro > found.get(python.minor, (0, -1, ""))[1]:
            found[python.minor] = python
    return [found[minor] for minor in sorted(found)]


def _candidates() -> list[Path]:
    folders = [Path(folder) for folder in os.get_exec_path()]
    named = [folder / f"python3.{minor}" for folder in folders for minor in MINORS]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = [path / "bin" / "python" for path in sorted(pyenv.glob("versions/3.*")) if re.fullmatch(r"3\.\d+\.\d+", path.name)]
    return [Path(sys.executable), *(path for path in named + kept if path.exists())]


def _probe(path: Path) -> Python | None:
    done = subprocess.run([path, "-c", PROBE], text=True, capture_output=True)
    words = done.stdout.split(maxsplit=3)
    return Python(int(words[1]), int(words[2]), words[3].strip()) if done.returncode == 0 and len(words) == 4 else None


def environment(python: str | Path, folder: Path, *requirements: str) -> Path:
    """A virtual environment with these packages, made once; its interpreter."""
    inside, made = folder / "bin" / "python", folder / ".made"
    wanted = "\n".join((str(python), *requirements))
    if not made.is_file() or made.read_text() != wanted:
        run(python, "-m", "venv", "--clear", folder)
        if requirements:
            run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
        made.write_text(wanted)
    return inside
