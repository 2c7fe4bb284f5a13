"""Entries taken off Redis while the store commits no turns, kept in a local journal, so that Redis does not grow.

Each record holds the rows of one read, with their ids. Turn records name a record as the stream `spool:<offset>`.
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
    """One record: the rows of one read."""

    seen: int | None  # entries of the stream before the first of them
    run: str  # run id of the server
    rows: list[Row]


class Spool:
    """The spool in one folder. One thread writes and reads on; another may call `again`."""

    def __init__(self, folder: Path, *, max_bytes: int, instance: str) -> None:
        self._journal = Journal(folder, max_bytes=max_bytes, instance=instance)
        self._piece: list[Entry] = []  # what one read of the journal gave: the records behind offset _after
        self._after = 0
        self._read_to = self._journal.first - 1
        self._ends: deque[tuple[int, str]] = deque()  # offset, id of its last entry
        after = self._read_to
        while entries := self._journal.read(after):
            self._ends.extend((entry.offset, _record(entry.payload).rows[-1][0].decode()) for entry in entries)
            after = entries[-1].offset

    @property
    def waiting(self) -> bool:
        """Whether there are records that `next` has not given yet."""
        return self._read_to < self._journal.last

    @property
    def last_id(self) -> str:
        """Id of the newest entry in the spool."""
        return self._ends[-1][1] if self._ends else BEGINNING

    def first_behind(self, id: str) -> str:
        """Id of the first entry in the first record that has entries behind *id*; "" when there is none."""
        offset = next((offset for offset, end in self._ends if id_pair(end) > id_pair(id)), 0)
        return self.again(f"{PREFIX}{offset}")[0][0].decode() if offset else ""

    @property
    def size_bytes(self) -> int:
        return self._journal.size_bytes if self._ends else 0

    @property
    def fullness(self) -> float:
        """Share of its bound that the spool takes, 0 to 1."""
        return self._journal.fullness if self._ends else 0.0

    def put(self, record: Spooled) -> None:
        """Append a record; it is durable on return. DiskFull at the bound."""
        (stamp,) = stamps_of([record.rows[-1][0]], 0)
        offset = self._journal.append([msgspec.msgpack.encode(record)], stamp)
        self._journal.sync()
        self._ends.append((offset, record.rows[-1][0].decode()))

    def next(self) -> tuple[str, Spooled] | None:
        """(name, content) of the next record."""
        entry = self._behind(self._read_to)
        if entry is None:
            return None
        self._read_to = entry.offset
        return f"{PREFIX}{entry.offset}", _record(entry.payload)

    def again(self, name: str) -> list[Row]:
        """The rows of the record *name*, for a replay; [] when it is gone."""
        offset = int(name.removeprefix(PREFIX))
        entry = self._behind(offset - 1)
        return _record(entry.payload).rows if entry and entry.offset == offset else []

    def _behind(self, offset: int) -> Entry | None:
        """The first record behind *offset*. The journal is read a piece at a time."""
        if not self._piece or not self._after <= offset < self._piece[-1].offset:
            self._piece, self._after = self._journal.read(offset), offset
        index = bisect_right(self._piece, offset, key=attrgetter("offset"))
        return self._piece[index] if self._piece else None

    def trim(self, id: str) -> None:
        """Drop the records that were given and end before entry *id*."""
        upto = 0
        while self._ends and id_pair(self._ends[0][1]) < id_pair(id) and self._ends[0][0] <= self._read_to:
            upto = self._ends.popleft()[0]
        if upto:
            self._journal.trim(upto)

    def close(self) -> None:
        self._journal.close()


def _record(payload: bytes) -> Spooled:
    return Spooled(*msgspec.msgpack.decode(payload, type=tuple[int | None, str, list[tuple[bytes, bytes]]]))
