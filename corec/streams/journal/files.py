"""The bytes of a journal file: records, marks, and what to make of damage.  See docs/formats.md."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corec._core.wire import crc32c
from corec.storage.formats import newer

FILE_HEADER = struct.Struct("<4sIQQI")  # magic, version, first offset, node, records of the file before
RECORD_HEADER = struct.Struct("<4sIQqI")  # magic, payload length, offset, arrival ms, flags
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = RECORD_HEADER.size + CHECKSUM.size
FILE_MAGIC = b"CCJF"
RECORD_MAGIC = b"CCJ1"
VERSION = 2
PAGE_BYTES = 4096

#: The record was written after everything before it had been synced.
FLAG_GROUP = 1
#: No payload and no offset of its own: everything up to `offset` was accepted.
FLAG_MARK = 2
#: No node writes as many; numbers behind a forged offset would run out of their 64 bits.
LAST_OFFSET = 2**62


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


def pack_file_header(first: int, node: int, records_before: int) -> bytes:
    return seal(FILE_HEADER.pack(FILE_MAGIC, VERSION, first, node, records_before))


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
    if magic != RECORD_MAGIC or end > len(buffer) or offset > LAST_OFFSET:
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


def find_record(buffer: bytes, position: int, low: int, high: int) -> Record | None:
    """The first sound record at or behind *position* that can follow: its offset is in [low, high).

    Others are what the file held before it was used again.  A mark carries the offset before.
    """
    while position >= 0:
        if _may_follow(buffer, position, low, high) and (record := record_at(buffer, position)):
            return record
        position = buffer.find(RECORD_MAGIC, position + 1)
    return None


def _may_follow(buffer: bytes, position: int, low: int, high: int) -> bool:
    if position + HEADER_BYTES > len(buffer):
        return False
    _, _, offset, _, flags = RECORD_HEADER.unpack_from(buffer, position)
    following = offset + 1 if flags & FLAG_MARK else offset
    return low <= following and offset < high


def unfinished_at(buffer: bytes, position: int, offset: int) -> int:
    """How many bytes a record that should be number *offset*, but is not sound, takes at *position*."""
    header = buffer[position : position + HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    magic, length, found, _, _ = RECORD_HEADER.unpack_from(header)
    if found != offset and (magic != RECORD_MAGIC or record_at(buffer, position)):
        return 0
    return min(HEADER_BYTES + length, len(buffer) - position)


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


def read_header(data: bytes, first: int) -> int | None:
    """How many records the file before holds, 0 for none; None if this is no sound header of a file that begins at *first*."""
    header = _sound_header(data)
    return header[4] if header and header[2] == first else None


def read_node(path: Path) -> int:
    """The node that the file belongs to; 0 where it does not say."""
    with path.open("rb") as stream:
        header = _sound_header(stream.read(HEADER_BYTES))
    if header and header[1] > VERSION:
        raise newer(path, VERSION, header[1])
    return header[3] if header and header[1] == VERSION else 0


def _sound_header(data: bytes) -> tuple[Any, ...] | None:
    header = data[: FILE_HEADER.size]
    if data[:HEADER_BYTES] != seal(header) or len(header) < FILE_HEADER.size:
        return None
    fields = FILE_HEADER.unpack(header)
    return fields if fields[0] == FILE_MAGIC else None


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
        if read_header(data, first) is None:
            self._gaps.append(Gap(first, first - 1, name, 0))

    def run(self) -> Scan:
        high = self._before or 1 << 64
        while record := find_record(self._data, self._end, self._next, high):
            self._take(record)
        return self._whole() if self._before is not None else self._newest()

    def _take(self, record: Record) -> None:
        following = record.offset + 1 if record.flags & FLAG_MARK else record.offset
        if following > self._next or record.start - HEADER_BYTES > self._end:
            self._doubtful.append(Gap(self._next, following - 1, self._name, self._end))
        if record.flags & FLAG_GROUP or record.offset <= self._floor:
            self._confirm()
        self._next = record.offset + 1
        self._end = record.end

    def _confirm(self) -> None:
        self._gaps += self._doubtful
        self._doubtful.clear()

    def _whole(self) -> Scan:
        if self._before > self._next:
            self._doubtful.append(Gap(self._next, self._before - 1, self._name, self._end))
        self._confirm()
        return Scan(self._before - 1, self._end, 0, 0, self._gaps)

    def _newest(self) -> Scan:
        torn = unfinished_at(self._data, self._end, self._next)
        if not self._doubtful:
            return Scan(self._next - 1, self._end, torn, 0, self._gaps)
        cut, lost = self._doubtful[0], sum(gap.lost for gap in self._doubtful)
        sound = self._next - cut.first - lost
        return Scan(cut.first - 1, cut.position, self._end + torn - cut.position, sound, self._gaps)
