"""Rebuilds, from a trace of iotrace.c, the disk as a power cut would leave it.

The model is a disk that keeps what it was told to sync and no more: content of a file since its last
fsync, and names in a folder since that folder's last fsync, may be there or not, in any combination.
"""

import random
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_RECORD = struct.Struct("<B3xiqIQ")
PAGE = 4096
#: SQLite's wal-index is rebuilt from the WAL; it is memory that happens to have a name.
MEMORY_SUFFIX = "-shm"


class Op(IntEnum):
    OPEN = 1
    WRITE = 2
    TRUNCATE = 3
    ALLOCATE = 4
    SYNC = 5
    RENAME = 6
    UNLINK = 7
    LINK = 8
    MKDIR = 9
    MARK = 10


CREATED, TRUNCATED, FOLDER = 1, 2, 4


class Event(NamedTuple):
    op: Op
    handle: int
    position: int
    path: str
    data: bytes


def read_trace(path: Path) -> list[Event]:
    raw = path.read_bytes()
    events, at = [], 0
    while at < len(raw):
        op, handle, position, path_length, data_length = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        name, at = raw[at : at + path_length].decode(), at + path_length
        data, at = raw[at : at + data_length], at + data_length
        events.append(Event(Op(op), handle, position, name, data))
    return events


class File:
    """What is on the disk for sure, and what was asked of it since."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.pending: list[tuple[Op, int, bytes]] = []

    def sync(self) -> None:
        for change in self.pending:
            apply(self.durable, *change)
        self.pending.clear()


def apply(content: bytearray, op: Op, position: int, data: bytes) -> None:
    end = position + len(data)
    if op is Op.TRUNCATE:
        del content[position:]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if op is Op.WRITE:
        content[position:end] = data


#: A change of a folder, all of it or none; no file: the name goes.
Naming = dict[str, File | None]


class Disk:
    """Takes the events of a trace; `image` gives what a cut right now may leave."""

    def __init__(self, root: Path, image: dict[str, bytes] | None = None) -> None:
        """*image*: what is on it, durably, when the trace begins."""
        self._root = str(root)
        self._names = {f"{self._root}/{name}": File(content) for name, content in (image or {}).items()}
        self._durable_names = dict(self._names)
        self._pending_names: dict[str, list[Naming]] = {}
        self._handles: dict[int, File | str] = {}
        self._last_write: tuple[File, int] | None = None

    def apply(self, event: Event) -> None:
        getattr(self, f"_{event.op.name.lower()}")(event)

    def image(self, kind: str, rng: random.Random) -> dict[str, bytes]:
        """Path below the root -> content.

        kind: "lost" (only what was synced), "kept" (everything got through), "random" (any part of it),
        "torn" (everything, but the last write only in part).
        """
        names = dict(self._durable_names)
        for changes in self._pending_names.values():
            for naming in changes:
                if kind in ("kept", "torn") or (kind == "random" and rng.random() < 0.5):
                    _rename(names, naming)
        return {
            name[len(self._root) + 1 :]: bytes(self._content(file, kind, rng))
            for name, file in names.items()
            if not name.endswith(MEMORY_SUFFIX)
        }

    def _content(self, file: File, kind: str, rng: random.Random) -> bytearray:
        content = bytearray(file.durable)
        if kind != "lost":
            for number, (op, position, data) in enumerate(file.pending):
                torn = kind == "torn" and self._last_write == (file, number)
                for piece in self._pieces(op, position, data, kind, torn, rng):
                    apply(content, *piece)
        return content

    def _pieces(self, op: Op, position: int, data: bytes, kind: str, torn: bool, rng: random.Random):
        if torn:
            yield op, position, data[: rng.randrange(len(data))]
        elif kind in ("kept", "torn") or op is not Op.WRITE:
            if kind != "random" or rng.random() < 0.5:
                yield op, position, data
        else:
            for start, page in _pages(position, data):
                if rng.random() < 0.5:
                    yield op, start, page

    # -- events

    def _open(self, event: Event) -> None:
        if event.position & FOLDER:
            self._handles[event.handle] = event.path
            return
        if event.path not in self._names:
            self._change({event.path: File()})
        file = self._handles[event.handle] = self._names[event.path]
        if event.position & TRUNCATED:
            file.pending.append((Op.TRUNCATE, 0, b""))

    def _write(self, event: Event) -> None:
        file = self._handles[event.handle]
        file.pending.append((Op.WRITE, event.position, event.data))
        self._last_write = (file, len(file.pending) - 1)

    def _truncate(self, event: Event) -> None:
        # One way only: to a smaller size, or to a larger one that reads as zeros.
        self._handles[event.handle].pending.append((Op.TRUNCATE, event.position, b""))

    def _allocate(self, event: Event) -> None:
        self._handles[event.handle].pending.append((Op.ALLOCATE, event.position, b""))

    def _sync(self, event: Event) -> None:
        synced = self._handles[event.handle]
        if isinstance(synced, File):
            synced.sync()
            return
        for naming in self._pending_names.pop(synced, []):
            _rename(self._durable_names, naming)

    def _rename(self, event: Event) -> None:
        old, new = event.path.split("\n")
        self._change({new: self._names[old], old: None})

    def _link(self, event: Event) -> None:
        old, new = event.path.split("\n")
        self._change({new: self._names[old]})

    def _unlink(self, event: Event) -> None:
        self._change({event.path: None})

    def _mkdir(self, event: Event) -> None:
        """Folders are taken for durable: the data folder is made once, and synced in its parent."""

    def _mark(self, event: Event) -> None:
        """The program's own."""

    def _change(self, naming: Naming) -> None:
        _rename(self._names, naming)
        folder = next(iter(naming)).rpartition("/")[0]
        self._pending_names.setdefault(folder, []).append(naming)


def _rename(names: dict[str, File], naming: Naming) -> None:
    for name, file in naming.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _pages(position: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = min(len(data), start + PAGE - (position + start) % PAGE)
        yield position + start, data[start:end]
        start = end


def write_image(image: dict[str, bytes], folder: Path) -> None:
    for name, content in image.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
