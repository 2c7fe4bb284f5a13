"""Look into wheels: python packaging/check_wheel.py WHEEL...

Exits with 1 where one is too large, lacks what has to be in it, holds what has not, or carries a module of another
machine or for smaller memory pages than the machine may have.
"""
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 3_000_000
MODULES = ("arena", "block", "wire")
NEEDED = {
    "corec/py.typed",
    "corec/cli/default/corec_config.json",
    "corec/cli/default/plugins_config.json",
    *(f"corec/cli/default/{name}" for name in ("corec.service", "corec-worker@.service", "hardening.conf")),
    *(f"corec/_core/{name}" for name in ("layout.pxd", "core.pxd", "arena.pxd", "block.pxd")),
    *(f"corec/_core/{name}" for name in ("layout.h", "core.h", "kernels.h", "wire.h")),
}
LICENCE = re.compile(r"corec-[^/]+\.dist-info/licenses/LICENSE$")
UNWANTED = re.compile(r"\.(c|cpp|pyx|html|py[cod]|o|a)$|(^|/)(tests?|benchmarks|__pycache__)/|\.libs/")
#: Tag -> (what ELF calls the machine, the largest page it runs with): the Pi 5's kernel has pages of 16 KiB.
MACHINES = {"x86_64": (62, 4096), "aarch64": (183, 65536)}
LOAD = 1  # a program header's type


class Wheel(NamedTuple):
    """What the file name says."""

    path: Path
    python: str
    abi: str
    platform: str

    @property
    def machine(self) -> str:
        """The processor it is for."""
        return next((name for name in MACHINES if self.platform.endswith(name)), "")


def read_name(path: Path) -> Wheel:
    """A wheel by its file name."""
    python, abi, platform = path.stem.split("-")[-3:]
    return Wheel(path, python, abi, platform)


def problems(wheel: Wheel) -> Iterator[str]:
    """Everything that is wrong with it."""
    size = wheel.path.stat().st_size
    if size > MOST_BYTES:
        yield f"expected at most {MOST_BYTES:,} bytes, got {size:,}"
    if not wheel.machine:
        yield f"expected a wheel of {' or '.join(MACHINES)}, got {wheel.platform}"
        return
    with zipfile.ZipFile(wheel.path) as archive:
        yield from _names(set(archive.namelist()))
        for name in modules(archive):
            yield from _module(wheel, name, archive.read(name))


def modules(archive: zipfile.ZipFile) -> list[str]:
    """The compiled modules in it."""
    return sorted(name for name in archive.namelist() if name.endswith(".so"))


def _names(names: set[str]) -> Iterator[str]:
    for missing in sorted(NEEDED - names):
        yield f"expected {missing} in it, and it is not"
    if not any(map(LICENCE.match, names)):
        yield "expected the licence in it, and it is not"
    for name in sorted(filter(UNWANTED.search, names)):
        yield f"expected nothing that was generated or only tests it, got {name}"
    strays = {name.split("/")[0] for name in names if not re.match(r"corec/|corec-[^/]+\.dist-info/", name)}
    for stray in sorted(strays):
        yield f"expected the package corec at its top and nothing else, got {stray}"
    built = {name.split("/")[-1].split(".")[0] for name in names if name.endswith(".so")}
    if not built.issuperset(MODULES):
        yield f"expected the compiled modules {', '.join(MODULES)}, got {', '.join(sorted(built)) or 'none'}"
    for name in sorted(built):
        if f"corec/_core/{name}.pyi" not in names:
            yield f"expected corec/_core/{name}.pyi beside the compiled module, and it is not there"


def _module(wheel: Wheel, name: str, content: bytes) -> Iterator[str]:
    number, page = MACHINES[wheel.machine]
    tag = f".cpython-{wheel.abi.removeprefix('cp')}-{wheel.machine}-linux-gnu.so"
    if not name.endswith(tag):
        yield f"expected modules named *{tag}, got {name}"
    if elf_machine(content) != number:
        yield f"expected ELF machine {number} ({wheel.machine}) in {name}, got {elf_machine(content)}"
    aligned = min(alignments(content))
    if aligned < page:
        yield f"expected {name} to load at pages of {page:,} bytes, it is aligned to {aligned:,}"


def elf_machine(content: bytes) -> int:
    """What processor an ELF file is for."""
    return struct.unpack_from("<H", content, 18)[0] if content.startswith(b"\x7fELF\x02\x01") else 0


def alignments(content: bytes) -> list[int]:
    """Alignment of each loaded part of a 64-bit ELF file."""
    start, size, count = struct.unpack_from("<Q", content, 32) + struct.unpack_from("<HH", content, 54)
    headers = [struct.unpack_from("<I44xQ", content, start + size * i) for i in range(count)]
    return [align for kind, align in headers if kind == LOAD] or [0]


def report(path: Path, *others: Callable[[Wheel], Iterator[str]]) -> bool:
    """Print a line for a wheel and each problem, those that *others* find too; whether it is sound."""
    wheel = read_name(path)
    found = [problem for search in (problems, *others) for problem in search(wheel)]
    print(f"{path.name}: {path.stat().st_size:,} bytes{'' if found else ', sound'}", flush=True)
    for problem in found:
        print(f"    {problem}", flush=True)
    return not found


def main(paths: list[str]) -> int:
    """Look at each wheel; 1 where one is not as it should be, or there is none."""
    return int(not paths or not all([report(Path(path)) for path in paths]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
