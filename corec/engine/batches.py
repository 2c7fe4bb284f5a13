"""Batches of producers: what of each is folded, and what is refused and why."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from corec._core.wire import unpack_envelope
from corec.engine.ledger import count
from corec.engine.outcome import PutAside
from corec.errors import DamagedBatch

if TYPE_CHECKING:
    from corec.engine import Engine

#: Readings are numbered in 64 bits; what would run beyond is malformed.
LAST_SEQUENCE = 2**64 - 1


class Part(NamedTuple):
    """What of a batch is new, in time and whole."""

    time: int  # ms
    frames: bytes
    offsets: np.ndarray | None  # ms after it, one for each reading


def sift(engine: "Engine", data: bytes, arrival: int) -> Part | None:
    """The part of an envelope that is to be folded, if any is; the rest is counted by cause."""
    try:
        batch = unpack_envelope(data)
    except DamagedBatch:
        count(engine.arena.ledger, "malformed", 1)
        return None
    if batch.sequence + batch.count > LAST_SEQUENCE:
        count(engine.arena.ledger, "malformed", batch.count)
        return None
    numbered = batch.producer or batch.epoch
    skip = engine.marks.repeated(batch.producer, batch.epoch, batch.sequence, batch.count) if numbered else 0
    frames, offsets = batch.frames, batch.offsets
    if skip:
        count(engine.arena.ledger, "repeated", skip)
        frames, offsets = frames[skip * 10 :], None if offsets is None else offsets[skip:]
    if not len(frames):
        return None
    if not _in_time(engine, batch.time, offsets, arrival):
        count(engine.arena.ledger, "skew", len(frames) // 10)
        engine._aside.append(PutAside(batch.time, arrival, bytes(frames), "skew"))
        return None
    return Part(batch.time, frames, offsets)


def _in_time(engine: "Engine", time: int, offsets: np.ndarray | None, arrival: int) -> bool:
    first, last = (0, 0) if offsets is None else (int(offsets.min()), int(offsets.max()))
    return arrival - (time + first) <= engine.max_skew and time + last - arrival <= engine.max_lead
