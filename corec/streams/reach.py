"""Cut readings into pieces that fit into envelopes.

An envelope has one time and 32-bit offsets (ms) to it, and at most MAX_FRAMES readings.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES, MAX_FRAMES
from corec.engine.columns import offset_column
from corec.errors import FrameError

#: How far a reading's time may be from that of its envelope.
REACH_MS = 2**31 - 1


class EnvelopePiece(NamedTuple):
    """Readings that fit into one envelope."""

    frames: bytes
    time: int  # ms
    offsets: np.ndarray | None  # int32[n], ms to `time`


def cut_to_reach(frames: bytes, time: int, offsets: Any = None) -> Iterator[EnvelopePiece]:
    """The readings of a batch as pieces. They are sorted by time where their times are too far apart for one envelope.

    offsets: integers[n], ms to *time*; FrameError when they are none, or their number is not that of the frames.
    """
    readings = len(frames) // FRAME_BYTES
    if offsets is None:
        for start in range(0, readings, MAX_FRAMES):
            yield EnvelopePiece(frames[start * FRAME_BYTES : (start + MAX_FRAMES) * FRAME_BYTES], time, None)
        return
    given = offset_column(offsets)
    if given.shape != (readings,):
        raise FrameError(f"expected one offset for each of {readings:,} readings, got an array of {given.shape}")
    if readings <= MAX_FRAMES and np.abs(given).max(initial=0) <= REACH_MS:
        yield EnvelopePiece(frames, time, given.astype(np.int32))
        return
    order = np.argsort(given, kind="stable")
    rows, times = np.frombuffer(frames, np.uint8).reshape(-1, FRAME_BYTES)[order], given[order]
    for run in runs_in_reach(times.tolist()):
        first = int(times[run.start])
        yield EnvelopePiece(rows[run].tobytes(), time + first, (times[run] - first).astype(np.int32))


def runs_in_reach(times: Sequence[int]) -> Iterator[slice]:
    """Slices of neighbours in *times* (ms) that fit into one envelope whose time is that of the first."""
    start = 0
    for index, time in enumerate(times):
        if abs(time - times[start]) > REACH_MS or index - start == MAX_FRAMES:
            yield slice(start, index)
            start = index
    if start < len(times):
        yield slice(start, len(times))
