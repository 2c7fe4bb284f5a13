"""What `pip install corec` costs: seconds, and bytes with all base dependencies.

    python packaging/footprint.py WHEEL
"""
import importlib.metadata
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools import run

MOST_BYTES = 180_000_000


class Footprint(NamedTuple):
    """An environment with the wheel and what it needs, and nothing else but pip's."""

    wheel: Path
    seconds: float
    packages: dict[str, int]    # bytes on disk by package, compiled Python included

    @property
    def bytes(self) -> int:
        return sum(self.packages.values())

    @property
    def fits(self) -> bool:
        """Whether it stays within the budget."""
        return self.bytes <= MOST_BYTES

    def lines(self) -> list[str]:
        """As text, the largest package first."""
        parts = sorted(self.packages.items(), key=lambda part: -part[1])
        note = "" if self.fits else f", and at most {MOST_BYTES / 1e6:.0f} MB are wanted"
        return [
            f"{self.wheel.name}: {self.wheel.stat().st_size / 1e6:.2f} MB; installed with all base dependencies"
            f" {self.bytes / 1e6:.1f} MB in {self.seconds:.1f} s, downloads included{note}",
            ", ".join(f"{name} {size / 1e6:.1f}" for name, size in parts) + " MB",
        ]


def install(python: str | Path, wheel: Path, folder: Path) -> tuple[Path, Footprint]:
    """Install a wheel into a new environment of *python*; its interpreter, and what that cost."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    (site,) = folder.glob("lib/python3*/site-packages")
    return inside, install_into(site, inside, wheel)


def install_into(site: Path, python: str | Path, wheel: Path, *options: str | Path) -> Footprint:
    """Have a Python's pip install a wheel, with *options*, into the folder *site*; what that cost."""
    before = set(measure(site))
    start = time.monotonic()
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", *options, wheel)
    taken = time.monotonic() - start
    return Footprint(wheel, taken, {name: size for name, size in measure(site).items() if name not in before})


def measure(site: Path) -> dict[str, int]:
    """Bytes on disk of each package in a folder of packages."""
    found = {}
    for package in importlib.metadata.distributions(path=[str(site)]):
        files = [Path(file.locate()) for file in package.files or ()]
        found[package.metadata["Name"].lower()] = sum(file.stat().st_size for file in files if file.is_file())
    return found


def main(words: list[str]) -> int:
    """Print the footprint of one wheel in this Python; 1 where it is above the budget."""
    if len(words) != 1:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="corec-footprint-") as folder:
        footprint = install(sys.executable, Path(words[0]).resolve(), Path(folder, "env"))[1]
    print(f"Python {platform.python_version()}, {platform.machine()}", *footprint.lines(), sep="\n")
    return int(not footprint.fits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
