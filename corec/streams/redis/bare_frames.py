"""Bare 10-byte frames of a stream, gathered into batches. The time of a frame is in the id of its entry.

Bare frames have no sequence number, so a frame that is sent twice counts twice.
"""

import struct
from collections.abc import Iterator, Sequence

from corec._core.wire import FRAME_BYTES, HEADER, MAGIC, OFFSETS, VERSION, crc32c
from corec.common.times import MS_UPTO
from corec.streams.age import aged
from corec.streams.base import Entry
from corec.streams.reach import runs_in_reach
from corec.streams.redis.stamps import stamps_of

Row = tuple[bytes, bytes]  # an entry's id and payload


def as_entries(rows: Sequence[Row], offset: int, stand_in: int | None = None, upto: float = MS_UPTO) -> Iterator[Entry]:
    """Rows of one stream, in order, as log entries behind *offset*.

    Neighbouring bare frames become one batch, as far as their times fit into one envelope.
    stand_in, upto: see `stamps_of`.
    """
    bare: list[bytes] = []
    times: list[int] = []
    for (_, payload), stamp in zip(rows, stamps_of((id for id, _ in rows), stand_in, upto), strict=True):
        if len(payload) == FRAME_BYTES:
            bare.append(payload)
            times.append(stamp)
            continue
        yield from _gathered(bare, times, offset)
        offset += len(bare) + 1
        bare, times = [], []
        yield Entry(offset, stamp, payload)
    yield from _gathered(bare, times, offset)


def _gathered(frames: list[bytes], times: list[int], offset: int) -> Iterator[Entry]:
    """Bare frames as batches; each frame keeps its own time. Earlier ones arrived before their batch does, and its age says so."""
    for run in runs_in_reach(times):
        arrival = times[run.stop - 1]
        yield Entry(offset + run.stop, arrival, aged(_packed(frames[run], times[run]), arrival - min(times[run])))


def _packed(frames: list[bytes], times: list[int]) -> bytes:
    payload, flags = b"".join(frames), 0
    if min(times) != max(times):
        payload += struct.pack(f">{len(times)}i", *(time - times[0] for time in times))
        flags = OFFSETS
    head = HEADER.pack(MAGIC, VERSION, flags, len(frames), 0, 0, 0, times[0], len(payload), 0)[:-4]
    return b"".join((head, crc32c(payload, crc32c(head)).to_bytes(4, "big"), payload))
