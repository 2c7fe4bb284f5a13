"""How much memory this process may have: the machine's, or less where its control group has a limit."""
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MEMINFO, GROUP, MOUNT = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class MemoryBound(NamedTuple):
    """Bytes, and what bounds them."""

    bytes: int
    who: str


def memory_bound(meminfo: Path = MEMINFO, group: Path = GROUP, mount: Path = MOUNT) -> MemoryBound | None:
    """The smallest bound there is; None where the system says nothing."""
    bounds = [*_machine(meminfo), *_control_groups(group, mount)]
    return min(bounds, default=None)


def _machine(meminfo: Path) -> Iterator[MemoryBound]:
    for line in _lines(meminfo):
        name, _, amount = line.partition(":")
        if name == "MemTotal" and amount.split()[:1] and amount.split()[0].isdecimal():
            yield MemoryBound(1024 * int(amount.split()[0]), "this machine")


def _control_groups(group: Path, mount: Path) -> Iterator[MemoryBound]:
    """The limits of the process's groups and of those above them, in both versions of control groups."""
    for line in _lines(group):
        _, controllers, place = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            folder, file = mount, "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        inside = folder / place.lstrip("/")
        for each in (inside, *(parent for parent in inside.parents if parent.is_relative_to(folder))):
            if (text := "".join(_lines(each / file)).strip()).isdecimal():
                yield MemoryBound(int(text), "its control group")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
