"""Split entries of `corec:in` by the streams of the shards, and number them, so that an entry routed twice counts once.

A bare frame gets its number from the id of its entry. A numbered batch of a device keeps its number.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import groupby
from typing import NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES, Envelope, pack_envelope, unpack_envelope
from corec.engine.batches import LAST_SEQUENCE
from corec.engine.open_turn import STEP_MS
from corec.engine.producer_marks import ORDER_NUMBERS
from corec.errors import DamagedBatch
from corec.streams.age import aged
from corec.streams.reach import runs_in_reach
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.keys import BARE_STREAM, id_pair, normal_stream
from corec.streams.redis.stamps import stamps_of
from corec.streams.sending.routing import Routing

#: Bits of a number for the entries within one millisecond.
SEQUENCE_BITS = 20
#: Ids are counted from here, so that ms and sequence fit into 63 bits until 2299. An id that does not fit gets an epoch of its own.
ZERO_MS = 1_577_836_800_000
REACH_MS = (1 << 63 - SEQUENCE_BITS) - 1


class Routed(NamedTuple):
    """A batch for one stream of a shard."""

    stream: str
    envelope: bytes
    source: str  # id of the newest entry in it


class EntryNumber(NamedTuple):
    """The number of an entry within its epoch. Ids grow by at least one, and so do these numbers."""

    epoch: int
    sequence: int


class Bare(NamedTuple):
    """One bare frame of `corec:in`."""

    id: bytes
    frame: bytes
    number: EntryNumber
    stamp: int  # ms


def route(rows: Iterable[Row], routing: Routing, epoch: int, now: int) -> Iterator[Routed]:
    """Rows of `corec:in`, in order, as batches for the shards.

    epoch: identifies the life of the server, because a new one may give the same ids again.
    now: ms by the clock that gives the ids. How long entries waited adds to the age of their batches; ids that are no times, or ahead of
    it, waited for none.
    """
    rows = list(rows)
    stamps = stamps_of((id for id, _ in rows), now, now + STEP_MS)
    for is_bare, group in groupby(zip(rows, stamps, strict=True), lambda each: len(each[0][1]) == FRAME_BYTES):
        if is_bare:
            yield from _bare([Bare(id, frame, number_of(id, epoch), stamp) for (id, frame), stamp in group], routing, now)
        else:
            for row, stamp in group:
                yield from _batch(row, routing, now - stamp)


def number_of(id: bytes, epoch: int) -> EntryNumber:
    """The number of an entry, computed from its id alone: no two ids of one *epoch* share a number."""
    ms, sequence = id_pair(id)
    beyond, ms = divmod(ms - ZERO_MS, REACH_MS)
    above, sequence = divmod(sequence, 1 << SEQUENCE_BITS)
    if beyond or above:
        epoch = int.from_bytes(blake2b(f"{epoch}|{beyond}|{above}".encode(), digest_size=8).digest())
    return EntryNumber(epoch, ORDER_NUMBERS | ms << SEQUENCE_BITS | sequence)


def producer_on(stream: str, producer: int = 0) -> int:
    """The producer number for one stream. Each stream needs its own, because two streams are read in no fixed order."""
    return int.from_bytes(blake2b(f"{BARE_STREAM}|{producer}|{stream}".encode(), digest_size=8).digest()) or 1


def _bare(rows: list[Bare], routing: Routing, now: int) -> Iterator[Routed]:
    for _, group in groupby(rows, lambda row: row.number.epoch):
        one_epoch = list(group)
        for run in runs_in_reach([row.stamp for row in one_epoch]):
            yield from _gathered(one_epoch[run], routing, now)


def _gathered(rows: list[Bare], routing: Routing, now: int) -> Iterator[Routed]:
    """Frames of one epoch whose times fit into one envelope, split by stream.

    The age is that of the oldest: the time of each is when it came, so none of them is older than it waited.
    """
    time, held = rows[0].stamp, now - min(row.stamp for row in rows)
    offsets = np.array([row.stamp - time for row in rows], np.int32)
    for part in routing.split(b"".join(row.frame for row in rows), offsets):
        number = rows[part.first].number
        envelope = pack_envelope(part.frames, producer=producer_on(part.stream), epoch=number.epoch, sequence=number.sequence,
                                 time=time, offsets=part.offsets if part.offsets.any() else None)  # fmt: skip
        yield Routed(part.stream, aged(envelope, held), rows[-1].id.decode())


def _batch(row: Row, routing: Routing, held: int) -> Iterator[Routed]:
    id, payload = row[0].decode(), row[1]
    try:
        batch = _sound(payload)
    except DamagedBatch:
        yield Routed(normal_stream(0), payload, id)  # the engine counts it as malformed
        return
    numbered = batch.producer or batch.epoch
    for part in routing.split(bytes(batch.frames), batch.offsets):
        plain = part.stream.endswith(":in") or not numbered
        envelope = pack_envelope(part.frames, producer=batch.producer if plain else producer_on(part.stream, batch.producer),
                                 epoch=batch.epoch, sequence=batch.sequence + (part.first if numbered else 0), time=batch.time,
                                 offsets=part.offsets, age=batch.age)  # fmt: skip
        yield Routed(part.stream, aged(envelope, held), id)


def _sound(payload: bytes) -> Envelope:
    batch = unpack_envelope(payload)
    if batch.sequence + batch.count > LAST_SEQUENCE:
        raise DamagedBatch(f"expected numbers up to {LAST_SEQUENCE}, got {batch.count} readings from {batch.sequence} on")
    return batch
