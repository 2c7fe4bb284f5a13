"""Files that are named by a number of 20 digits, and what else has got into their folder."""

import logging
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from corec.storage import disk

log = logging.getLogger("corec.storage.folder")

#: No node counts as far; 64 bits must hold what follows.
MOST_NUMBER = 2**62
#: What is put aside gets this ending.
ASIDE = ".aside"
_NUMBERED = re.compile(r"([0-9]{20})(\.[a-z]+)(\.new)?")


def number_of(name: str) -> int | None:
    """The number at the beginning of a file's name; None where there is none, or one that no node has come to."""
    match = re.match(r"[0-9]{20}(?![0-9])", name)
    number = int(match.group()) if match else MOST_NUMBER + 1
    return number if number <= MOST_NUMBER else None


def is_plain(path: Path) -> bool:
    """Whether it is a file: no folder, no link, nothing that waits for another process when it is opened."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def numbered(folder: Path, ending: str) -> list[Path]:
    """The files `<number><ending>`, in their order; nothing else that has such an ending."""
    return [path for path in sorted(folder.glob(f"*{ending}")) if _is_numbered(path)]


def put_aside_strangers(folder: Path, endings: Sequence[str], instance: str) -> None:
    """Rename what has one of *endings* and is not a file of that kind, and log it: nothing here may take it for one."""
    for path in sorted(folder.iterdir()):
        if path.name.endswith(tuple(endings)) and not _is_numbered(path):
            put_aside(path, instance, "is not named as CoreC's files are" if is_plain(path) else "is no file")


def put_aside(path: Path, instance: str, why: str) -> None:
    """Give *path* the first free name that ends in `.aside`, and log it."""
    aside, tries = path.with_name(path.name + ASIDE), 1
    while os.path.lexists(aside):
        aside, tries = path.with_name(f"{path.name}.{tries}{ASIDE}"), tries + 1
    with disk.explained("put aside", path):
        path.rename(aside)
    log.error("[Folder-%s] %r in %s %s: kept as %r", instance, path.name, path.parent, why, aside.name)


def _is_numbered(path: Path) -> bool:
    return _NUMBERED.fullmatch(path.name) is not None and number_of(path.name) is not None and is_plain(path)
