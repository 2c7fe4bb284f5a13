"""Readings that were refused as ahead: when the machine's clock turns out to have been behind, they are folded after all."""
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES

#: Readings kept; the batches that came first are dropped for later ones.  All of them stay in the store's table `late`.
MOST_AHEAD = 32_768


class AheadBatch(NamedTuple):
    """Readings of one batch, refused by its arrival."""

    producer: int
    epoch: int
    arrival: int  # ms, by the clock as it stands now
    time: int  # ms
    offsets: np.ndarray  # int32[n], ms to `time`
    frames: bytes

    def chosen(self, which: np.ndarray) -> "AheadBatch":
        """A part of the readings; which: bool[n]."""
        rows = np.frombuffer(self.frames, np.uint8).reshape(-1, FRAME_BYTES)
        return self._replace(offsets=self.offsets[which], frames=rows[which].tobytes())


class AheadReadings:
    """What may still be folded, in the order in which it came."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        """rows: as `to_list` gave them; ValueError where one is not whole."""
        self._batches: deque[AheadBatch] = deque()
        self._readings = 0
        for *numbers, offsets, frames in rows:
            batch = AheadBatch(*numbers, np.frombuffer(offsets, "<i4").astype(np.int32), frames)
            if len(batch.offsets) * FRAME_BYTES != len(frames):
                raise ValueError(f"{len(frames)} bytes of frames for {len(batch.offsets)} readings")
            self.keep(batch)

    def keep(self, batch: AheadBatch) -> None:
        """Keep a batch, unless it alone is more than may be kept."""
        if len(batch.offsets) > MOST_AHEAD:
            return
        self._batches.append(batch)
        self._readings += len(batch.offsets)
        while self._readings > MOST_AHEAD:
            self._readings -= len(self._batches.popleft().offsets)

    def move(self, step: int, lead: int) -> list[AheadBatch]:
        """Move the arrivals by a *step* of the clock (ms); take out what is then at most *lead* ms ahead of its arrival."""
        batches, self._batches, self._readings = self._batches, deque(), 0
        taken = []
        for batch in batches:
            moved = batch._replace(arrival=batch.arrival + step)
            fits = moved.offsets.astype(np.int64) <= moved.arrival + lead - moved.time
            if fits.any():
                taken.append(moved.chosen(fits))
            if not fits.all():
                self.keep(moved.chosen(~fits))
        return taken

    def to_list(self) -> list[tuple[Any, ...]]:
        """(producer, epoch, arrival, time, offsets, frames) of each batch, for a snapshot."""
        return [(*batch[:4], batch.offsets.astype("<i4").tobytes(), batch.frames) for batch in self._batches]
