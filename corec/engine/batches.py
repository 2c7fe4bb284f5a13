"""Batches of producers: which of their readings are folded, and which are refused and why."""
from typing import NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES, unpack_envelope
from corec.engine.outcome import PutAside
from corec.engine.state import EngineState
from corec.errors import DamagedBatch

#: Readings are numbered in 64 bits; a batch that would run beyond is malformed.
LAST_SEQUENCE = 2**64 - 1


class AcceptedReadings(NamedTuple):
    """The readings of a batch that are to be folded."""

    time: int  # ms
    frames: bytes
    offsets: np.ndarray | None  # int32[n]: ms from `time`, one for each reading


def accepted_part(state: EngineState, envelope: bytes, arrival: int) -> AcceptedReadings | PutAside | None:
    """The readings of an envelope that are new and in time, or those put aside for their time, or None.

    Those that are not to be folded are counted by cause; the mark of the producer moves.  arrival: ms.
    """
    try:
        batch = unpack_envelope(envelope)
    except DamagedBatch:
        state.count("malformed", 1)
        return None
    if batch.sequence + batch.count > LAST_SEQUENCE:
        state.count("malformed", batch.count)
        return None
    numbered = batch.producer or batch.epoch
    skip = state.marks.repeated(batch.producer, batch.epoch, batch.sequence, batch.count) if numbered else 0
    frames, offsets = batch.frames, batch.offsets
    if skip:
        state.count("repeated", skip)
        frames, offsets = frames[skip * FRAME_BYTES :], None if offsets is None else offsets[skip:]
    if not len(frames):
        return None
    if not _is_in_time(state, batch.time, offsets, arrival):
        state.count("skew", len(frames) // FRAME_BYTES)
        return PutAside(batch.time, arrival, bytes(frames), "skew")
    return AcceptedReadings(batch.time, frames, offsets)


def _is_in_time(state: EngineState, time: int, offsets: np.ndarray | None, arrival: int) -> bool:
    """Whether all readings are at most `max_skew` older than their arrival and at most `max_adelanto` ahead of it."""
    first, last = (0, 0) if offsets is None else (int(offsets.min()), int(offsets.max()))
    return arrival - (time + first) <= state.max_skew and time + last - arrival <= state.max_lead
