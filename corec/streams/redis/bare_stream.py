"""Entries of `corec:in`, made into what shards take: split by stream, and numbered so that routing twice counts once.

A bare frame gets its number from its entry's id; a device's numbered batch keeps its own.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES, pack_envelope, unpack_envelope
from corec.engine.producer_marks import ORDER_NUMBERS
from corec.errors import DamagedBatch
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.keys import FRONT_DOOR, id_ms, id_pair, normal_stream
from corec.streams.sending.routing import Routing

#: Bits of a number that tell entries of one millisecond apart.
SEQUENCE_BITS = 20
#: Ids count from here, so that ms and bits fit into 63: until the year 2299.
ZERO_MS = 1_577_836_800_000
LARGEST_MS = (1 << 63 - SEQUENCE_BITS) - 1


class Routed(NamedTuple):
    """A batch for one stream."""

    stream: str
    envelope: bytes
    source: str  # id of the newest entry in it


def route(rows: Iterable[Row], routing: Routing, epoch: int) -> Iterator[Routed]:
    """Rows of the front door in order; *epoch* tells lives of its server apart, in which ids may come again."""
    bare: list[Row] = []
    for row in rows:
        if len(row[1]) == FRAME_BYTES:
            bare.append(row)
            continue
        yield from _bare(bare, routing, epoch)
        bare = []
        yield from _batch(row, routing)
    yield from _bare(bare, routing, epoch)


def number_of(id: bytes) -> int:
    """An entry's place in the order of all: ids grow by at least one, and so does this."""
    ms, sequence = id_pair(id)
    return ORDER_NUMBERS | min(max(ms - ZERO_MS, 0), LARGEST_MS) << SEQUENCE_BITS | min(sequence, (1 << SEQUENCE_BITS) - 1)


def producer_on(stream: str, producer: int = 0) -> int:
    """The number under which something is sent on one stream: two streams are read in no order."""
    return int.from_bytes(blake2b(f"{FRONT_DOOR}|{producer}|{stream}".encode(), digest_size=8).digest()) or 1


def _bare(rows: list[Row], routing: Routing, epoch: int) -> Iterator[Routed]:
    if not rows:
        return
    times = np.array([id_ms(id) for id, _ in rows], np.int64)
    offsets = (times - times[0]).astype(np.int32)
    for part in routing.split(b"".join(frame for _, frame in rows), offsets):
        envelope = pack_envelope(part.frames, producer=producer_on(part.stream), epoch=epoch, sequence=number_of(rows[part.first][0]),
                                 time=int(times[0]), offsets=part.offsets if part.offsets.any() else None)  # fmt: skip
        yield Routed(part.stream, envelope, rows[-1][0].decode())


def _batch(row: Row, routing: Routing) -> Iterator[Routed]:
    id, payload = row[0].decode(), row[1]
    try:
        batch = unpack_envelope(payload)
    except DamagedBatch:
        yield Routed(normal_stream(0), payload, id)  # the engine counts it as malformed
        return
    numbered = batch.producer or batch.epoch
    for part in routing.split(bytes(batch.frames), batch.offsets):
        plain = part.stream.endswith(":in") or not numbered
        envelope = pack_envelope(part.frames, producer=batch.producer if plain else producer_on(part.stream, batch.producer),
                                 epoch=batch.epoch, sequence=batch.sequence + (part.first if numbered else 0), time=batch.time,
                                 offsets=part.offsets)  # fmt: skip
        yield Routed(part.stream, envelope, id)
