"""The bytes of a journal file: records, marks, and what to make of damage.  See docs/formats.md."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from corec._core.wire import crc32c

FILE_HEADER = struct.Struct("<4sIQqI")  # magic, version, first offset, created ms, 0
RECORD_HEADER = struct.Struct("<4sIQqI")  # magic, payload length, offset, arrival ms, flags
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = RECORD_HEADER.size + CHECKSUM.size
FILE_MAGIC = b"CCJF"
RECORD_MAGIC = b"CCJ1"
VERSION = 1
PAGE_BYTES = 4096

#: The record was written after everything before it had been synced.
FLAG_GROUP = 1
#: No payload and no offset of its own: everything up to `offset` was accepted.
FLAG_MARK = 2


class Gap(NamedTuple):
    """Damage in the journal and the offsets it took; *first* > *last* when it took none."""

    first: int
    last: int
    file: str
    position: int

    @property
    def lost(self) -> int:
        return self.last - self.first + 1


class Record(NamedTuple):
    offset: int
    arrival: int
    flags: int
    start: int  # of the payload, in the buffer
    end: int


class Scan(NamedTuple):
    """What one file holds."""

    last: int  # offset of its last good record; first - 1 when there is none
    end: int  # position behind that record
    torn: int  # bytes behind `end` of a group of records that did not get to the disk whole
    torn_records: int  # how many of them did
    gaps: list[Gap]


def file_name(first: int) -> str:
    return f"{first:020d}.log"


def seal(header: bytes, payload: bytes = b"") -> bytes:
    """*header* with the checksum over itself and *payload*."""
    return header + CHECKSUM.pack(crc32c(payload, crc32c(header)))


def pack_file_header(first: int, created: int) -> bytes:
    return seal(FILE_HEADER.pack(FILE_MAGIC, VERSION, first, created, 0))


def pack_mark(offset: int) -> bytes:
    return seal(RECORD_HEADER.pack(RECORD_MAGIC, 0, offset, 0, FLAG_GROUP | FLAG_MARK))


def pack_records(payloads: Sequence[bytes], arrival: int | Sequence[int], first: int, flags: int) -> list[bytes]:
    """Header and payload of each record in turn, for one gathered write; *flags* are the first's."""
    arrivals = [arrival] * len(payloads) if isinstance(arrival, int) else arrival
    pack, checksum, crc = RECORD_HEADER.pack, CHECKSUM.pack, crc32c
    buffers = []
    for payload, moment in zip(payloads, arrivals, strict=True):
        header = pack(RECORD_MAGIC, len(payload), first, moment, flags)
        buffers.append(header + checksum(crc(payload, crc(header))))
        buffers.append(payload)
        first += 1
        flags = 0
    return buffers


def record_at(buffer: bytes, position: int) -> Record | None:
    """The record that begins at *position*, or None if no whole and sound one does."""
    start = position + HEADER_BYTES
    if start > len(buffer):
        return None
    magic, length, offset, arrival, flags = RECORD_HEADER.unpack_from(buffer, position)
    end = start + length
    if magic != RECORD_MAGIC or end > len(buffer):
        return None
    view = memoryview(buffer)
    checksum = crc32c(view[start:end], crc32c(view[position : start - CHECKSUM.size]))
    if checksum != CHECKSUM.unpack_from(buffer, start - CHECKSUM.size)[0]:
        return None
    return Record(offset, arrival, flags, start, end)


def records(buffer: bytes, position: int = 0) -> Iterator[Record]:
    """Sound records one behind the other, up to the first that is not."""
    while record := record_at(buffer, position):
        yield record
        position = record.end


def next_record(buffer: bytes, position: int) -> int:
    """Position of the next sound record behind damage at *position*, or -1."""
    while (position := buffer.find(RECORD_MAGIC, position + 1)) >= 0:
        if record_at(buffer, position):
            return position
    return -1


def read_whole(fd: int, position: int, end: int) -> bytes:
    """Bytes [position, end) of a file, zeros where the disk cannot read them back."""
    pieces = []
    while position < end:
        piece = _read_piece(fd, position, end - position)
        if not piece:
            break
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def _read_piece(fd: int, position: int, length: int) -> bytes:
    try:
        return os.pread(fd, length, position)
    except OSError:
        page = PAGE_BYTES - position % PAGE_BYTES
        return bytes(length) if length <= page else _read_piece(fd, position, page)


def read_header(data: bytes, first: int) -> bool:
    """Whether *data* begins with the sound header of a file whose name says *first*."""
    return data[:HEADER_BYTES] == seal(data[: FILE_HEADER.size]) and FILE_HEADER.unpack_from(data)[:3] == (
        FILE_MAGIC,
        VERSION,
        first,
    )


def scan_file(path: Path, first: int, before: int | None, floor: int = 0) -> Scan:
    """Read a whole file; *before* is the first offset of the file behind it, None for the newest.

    floor: an offset that is known to have been accepted.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        data = read_whole(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    return _Scanner(path.name, data, first, before, floor).run()


class _Scanner:
    """Damage is either something that was accepted and went bad, or an end that never got to the disk.

    It was accepted if anything behind it was written after a sync (a group, a mark, a file), or by *floor*.
    Otherwise the last group was cut short, and what is left of it goes too: nobody was told that it is
    there, and kept, its later batches would make the earlier ones, sent again, look like repeats.
    """

    def __init__(self, name: str, data: bytes, first: int, before: int | None, floor: int) -> None:
        self._name, self._data, self._before, self._floor = name, data, before, floor
        self._next = first
        self._end = HEADER_BYTES
        self._gaps: list[Gap] = []
        self._doubtful: list[Gap] = []
        if not read_header(data, first):
            self._gaps.append(Gap(first, first - 1, name, 0))

    def run(self) -> Scan:
        position = HEADER_BYTES
        while position >= 0:
            for record in records(self._data, position):
                self._take(record)
                position = record.end
            position = next_record(self._data, position)
        return self._result(len(self._data.rstrip(b"\0")))

    def _take(self, record: Record) -> None:
        following = record.offset + 1 if record.flags & FLAG_MARK else record.offset
        if following < self._next or (self._before and record.offset >= self._before):
            return  # left over from an append that was taken back
        if following > self._next or record.start - HEADER_BYTES > self._end:
            self._doubtful.append(Gap(self._next, following - 1, self._name, self._end))
        if record.flags & FLAG_GROUP or record.offset <= self._floor:
            self._confirm()
        self._next = record.offset + 1
        self._end = record.end

    def _confirm(self) -> None:
        self._gaps += self._doubtful
        self._doubtful.clear()

    def _result(self, filled: int) -> Scan:
        if self._before is not None:
            if self._before > self._next or filled > self._end + HEADER_BYTES:  # less is a mark cut short
                self._doubtful.append(Gap(self._next, self._before - 1, self._name, self._end))
            self._confirm()
            return Scan(self._before - 1, self._end, 0, 0, self._gaps)
        cut = self._doubtful[0] if self._doubtful else Gap(self._next, self._next - 1, self._name, self._end)
        lost = sum(gap.lost for gap in self._doubtful)
        return Scan(cut.first - 1, cut.position, max(0, filled - cut.position), self._next - cut.first - lost, self._gaps)
