"""Batches of producers: which of their readings are folded, and which are refused and why."""
from typing import NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES, Envelope, unpack_envelope
from corec.engine.outcome import PutAside
from corec.engine.refused_times import FIRST_TIME, RefusedBatch
from corec.engine.state import EngineState
from corec.errors import DamagedBatch

#: Readings are numbered in 64 bits; a batch that would run beyond is malformed.
LAST_SEQUENCE = 2**64 - 1


class AcceptedReadings(NamedTuple):
    """The readings of a batch that are to be folded, and those that are put aside."""

    time: int  # ms
    frames: bytes
    offsets: np.ndarray | None  # int32[n]: ms from `time`, one for each reading
    aside: list[PutAside]
    refused: RefusedBatch | None = None  # the same, while it may still be folded


def sound_batch(state: EngineState, envelope: bytes) -> Envelope | None:
    """The batch in an envelope; None where it is damaged, which is counted."""
    try:
        batch = unpack_envelope(envelope)
    except DamagedBatch:
        state.count("malformed", 1)
        return None
    if batch.sequence + batch.count > LAST_SEQUENCE:
        state.count("malformed", batch.count)
        return None
    return batch


def is_numbered(batch: Envelope) -> bool:
    """Whether the batch names its producer, which then has an account."""
    return bool(batch.producer or batch.epoch)


def accepted_part(state: EngineState, batch: Envelope, arrival: int, *, whole: bool = False) -> AcceptedReadings | None:
    """The readings of a batch that are new, those with a possible time apart from those without; None where none is new.

    Those that are not to be folded are counted by cause.  arrival: ms.
    whole: put aside all of a batch where one of its readings has no possible time, whatever its age: so did an earlier CoreC.
    """
    skip = state.marks.repeated(batch.producer, batch.epoch, batch.sequence, batch.count) if is_numbered(batch) else 0
    frames, offsets = batch.frames, batch.offsets
    if skip:
        state.count("repeated", skip)
        frames, offsets = frames[skip * FRAME_BYTES :], None if offsets is None else offsets[skip:]
    return _split_by_time(state, batch, frames, offsets, arrival, whole) if len(frames) else None


def _split_by_time(state: EngineState, batch: Envelope, frames: bytes, offsets: np.ndarray | None, arrival: int,
                   whole: bool) -> AcceptedReadings:  # fmt: skip
    """Put aside what is more than `max_skew` older than its arrival or more than `max_adelanto` ahead of it, reading by reading.

    How long a batch was held on its way makes none of its readings too old.
    """
    age = 0 if whole else batch.age
    time, first, last = batch.time, max(arrival - age - state.max_skew, FIRST_TIME), arrival + state.max_lead
    if offsets is None and first <= time <= last:
        return AcceptedReadings(time, frames, None, [])
    times = time + (np.zeros(1, np.int64) if offsets is None else offsets.astype(np.int64))
    possible = (first <= times) & (times <= last)
    if possible.all():
        return AcceptedReadings(time, frames, offsets, [])
    if whole:
        state.count("skew", len(frames) // FRAME_BYTES)
        return AcceptedReadings(time, b"", None, [PutAside(time, arrival, bytes(frames), "skew")])
    rows = np.frombuffer(frames, np.uint8).reshape(-1, FRAME_BYTES)
    times = np.broadcast_to(times, len(rows))
    possible = (first <= times) & (times <= last)
    state.count("skew", int(len(rows) - possible.sum()))
    aside = PutAside(int(times[~possible][0]), arrival, rows[~possible].tobytes(), "skew")
    return AcceptedReadings(time, rows[possible].tobytes(), None if offsets is None else offsets[possible], [aside],
                            _refused(batch, times, rows, ~possible))  # fmt: skip


def _refused(batch: Envelope, times: np.ndarray, rows: np.ndarray, which: np.ndarray) -> RefusedBatch:
    """The readings of a batch that are refused; which: bool[n].  Its tick is not known yet."""
    offsets = (times[which] - batch.time).astype("<i4").tobytes()
    return RefusedBatch(batch.producer, batch.epoch, 0, batch.age, batch.time, offsets, rows[which].tobytes())
