"""Bare 10-byte frames of a stream, gathered into batches: the time of each is in its entry's id.

They carry no number, so who sends one twice is counted twice.
"""

import struct
from collections.abc import Iterable, Iterator

from corec._core.wire import FRAME_BYTES, HEADER, MAGIC, OFFSETS, VERSION, crc32c
from corec.streams.base import Entry
from corec.streams.redis.keys import id_ms

Row = tuple[bytes, bytes]  # an entry's id and payload


def as_entries(rows: Iterable[Row], offset: int) -> Iterator[Entry]:
    """Rows of one stream, in order, as entries that count on behind *offset*; neighbouring bare frames become one."""
    bare: list[Row] = []
    for row in rows:
        if len(row[1]) == FRAME_BYTES:
            bare.append(row)
            continue
        if bare:
            offset += len(bare)
            yield gathered(bare, offset)
            bare = []
        offset += 1
        yield Entry(offset, id_ms(row[0]), row[1])
    if bare:
        yield gathered(bare, offset + len(bare))


def gathered(rows: list[Row], offset: int, *, producer: int = 0, epoch: int = 0, sequence: int = 0) -> Entry:
    """Bare frames as one batch, each with its own time."""
    times = [id_ms(id) for id, _ in rows]
    payload = b"".join(frame for _, frame in rows)
    flags = 0
    if times[-1] != times[0]:
        payload += struct.pack(f">{len(times)}i", *(time - times[0] for time in times))
        flags = OFFSETS
    head = HEADER.pack(MAGIC, VERSION, flags, len(rows), producer, epoch, sequence, times[0], len(payload), 0)[:-4]
    return Entry(offset, times[-1], b"".join((head, crc32c(payload, crc32c(head)).to_bytes(4, "big"), payload)))
