"""Reading a journal from start to end, behind the writer and around damage."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from corec.streams.base import Entry
from corec.streams.journal.files import FLAG_MARK, HEADER_BYTES, Gap, find_record, read_whole, records


class JournalFile(NamedTuple):
    first: int
    path: Path
    size: int  # bytes on disk, room made ahead included


class View(NamedTuple):
    """A moment of the journal: what is durable, and where."""

    files: tuple[JournalFile, ...]
    last: int  # newest durable offset
    end: int  # position behind it in the newest file


class Reader:
    """Goes through the files in order; damage is reported to *on_gap* and stepped over."""

    def __init__(self, on_gap: Callable[[Gap], None]) -> None:
        self._on_gap = on_gap
        self._fd = -1
        self._first = 0  # of the open file
        self._name = ""
        self._position = 0
        self._next = 0  # the offset expected there

    def read(self, after: int, max_bytes: int, view: View) -> list[Entry]:
        if view.last <= after:
            return []  # and open nothing: a file without durable entries may yet be replaced
        if after + 1 != self._next or not any(file.first == self._first for file in view.files):
            self._seek(after + 1, view)
        entries: list[Entry] = []
        while not entries and self._next <= view.last:
            entries = self._step(after, max_bytes, view)
        return entries

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _seek(self, offset: int, view: View) -> None:
        self._open(next((f for f in reversed(view.files) if f.first <= offset), view.files[0]))

    def _open(self, file: JournalFile) -> None:
        self.close()
        try:
            self._fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody removed it: it reads as a file that lost everything
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._first = self._next = file.first
        self._name, self._position = file.path.name, HEADER_BYTES

    def _step(self, after: int, max_bytes: int, view: View) -> list[Entry]:
        """The entries of one piece of the open file, or none but a place further on."""
        following = next((f for f in view.files if f.first > self._first), None)
        before = following.first if following else view.last + 1
        if self._next >= before:
            self._leave(before, following)
            return []
        end = os.fstat(self._fd).st_size if following else view.end
        start, data = self._position, b""
        for length in (max_bytes, end - start):
            data = read_whole(self._fd, start, min(end, start + length))
            entries = self._parse(data, after, before)
            if self._position > start:
                return entries
        if not self._step_over(data, before):
            self._lose(before)
        return []

    def _parse(self, data: bytes, after: int, before: int) -> list[Entry]:
        entries = []
        start = self._position
        for record in records(data):
            following = record.offset + 1 if record.flags & FLAG_MARK else record.offset
            if following < self._next or record.offset >= before:
                break
            if not record.flags & FLAG_MARK:
                self._expect(record.offset, self._position)
                self._next = record.offset + 1
                if record.offset > after:
                    entries.append(Entry(record.offset, record.arrival, data[record.start : record.end]))
            self._position = start + record.end
        return entries

    def _step_over(self, data: bytes, before: int) -> bool:
        """Go to the next record of the file, if one is left behind the damage."""
        record = find_record(data, 1, self._next, before)
        if record is None:
            return False
        self._lose(record.offset + 1 if record.flags & FLAG_MARK else record.offset)
        self._position += record.start - HEADER_BYTES
        return True

    def _leave(self, before: int, following: JournalFile | None) -> None:
        self._next = before
        if following:
            self._open(following)

    def _expect(self, offset: int, position: int) -> None:
        if offset > self._next:
            self._on_gap(Gap(self._next, offset - 1, self._name, position))

    def _lose(self, upto: int) -> None:
        self._on_gap(Gap(self._next, upto - 1, self._name, self._position))
        self._next = upto
