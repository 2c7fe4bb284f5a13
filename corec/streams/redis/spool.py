"""Entries taken off Redis while the store does not take turns: kept in a journal here, so that Redis does not grow.

Each record holds what one read gave, with the ids; turn records name it as the stream `spool:<offset>`.
"""

from bisect import bisect_right
from collections import deque
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from corec.streams.base import Entry
from corec.streams.journal import Journal
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.keys import BEGINNING, id_pair
from corec.streams.redis.stamps import stamps_of

PREFIX = "spool:"


class Spooled(NamedTuple):
    """One record."""

    seen: int | None  # entries of the stream before the first of them
    run: str  # the life of the server
    rows: list[Row]


class Spool:
    """The folder; one thread writes and reads on, another may read again."""

    def __init__(self, folder: Path, *, max_bytes: int, instance: str) -> None:
        self._journal = Journal(folder, max_bytes=max_bytes, instance=instance)
        self._piece: list[Entry] = []  # what one read of the journal gave, all that stands behind offset _after up to its last
        self._after = 0
        self._read_to = self._journal.first - 1
        self._ends: deque[tuple[int, str]] = deque()  # offset, id of its last entry
        after = self._read_to
        while entries := self._journal.read(after):
            self._ends.extend((entry.offset, _record(entry.payload).rows[-1][0].decode()) for entry in entries)
            after = entries[-1].offset

    @property
    def waiting(self) -> bool:
        """Whether records are there that `next` has not given."""
        return self._read_to < self._journal.last

    @property
    def last_id(self) -> str:
        """The newest entry in it."""
        return self._ends[-1][1] if self._ends else BEGINNING

    def first_behind(self, id: str) -> str:
        """The first entry of the first record that holds entries behind *id*; "" when none does."""
        offset = next((offset for offset, end in self._ends if id_pair(end) > id_pair(id)), 0)
        return self.again(f"{PREFIX}{offset}")[0][0].decode() if offset else ""

    @property
    def size_bytes(self) -> int:
        """Disk that it takes."""
        return self._journal.size_bytes if self._ends else 0

    @property
    def fullness(self) -> float:
        """The share of its bound that it takes."""
        return self._journal.fullness if self._ends else 0.0

    def put(self, record: Spooled) -> None:
        """Keep what was read; durable on return.  DiskFull at the bound."""
        (stamp,) = stamps_of([record.rows[-1][0]], 0)
        offset = self._journal.append([msgspec.msgpack.encode(record)], stamp)
        self._journal.sync()
        self._ends.append((offset, record.rows[-1][0].decode()))

    def next(self) -> tuple[str, Spooled] | None:
        """The name and content of the next record."""
        entry = self._behind(self._read_to)
        if entry is None:
            return None
        self._read_to = entry.offset
        return f"{PREFIX}{entry.offset}", _record(entry.payload)

    def again(self, name: str) -> list[Row]:
        """The rows of a record, for a replay."""
        offset = int(name.removeprefix(PREFIX))
        entry = self._behind(offset - 1)
        return _record(entry.payload).rows if entry and entry.offset == offset else []

    def _behind(self, offset: int) -> Entry | None:
        """The first record behind *offset*; the journal is read a piece at a time."""
        if not self._piece or not self._after <= offset < self._piece[-1].offset:
            self._piece, self._after = self._journal.read(offset), offset
        index = bisect_right(self._piece, offset, key=attrgetter("offset"))
        return self._piece[index] if self._piece else None

    def trim(self, id: str) -> None:
        """Records that end before entry *id* are not needed any more."""
        upto = 0
        while self._ends and id_pair(self._ends[0][1]) < id_pair(id) and self._ends[0][0] <= self._read_to:
            upto = self._ends.popleft()[0]
        if upto:
            self._journal.trim(upto)

    def close(self) -> None:
        """Let go of the folder."""
        self._journal.close()


def _record(payload: bytes) -> Spooled:
    return Spooled(*msgspec.msgpack.decode(payload, type=tuple[int | None, str, list[tuple[bytes, bytes]]]))
