"""Readings that were refused for their time: when the machine's clock turns out to have been wrong, they are folded after all."""
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from corec._core.wire import FRAME_BYTES

#: What no time is below.
FIRST_TIME = -(2**63)
#: Readings kept; the batches that came first are dropped for later ones.  All of them stay in the store's table `late`.
MOST_KEPT = 32_768


class RefusedBatch(NamedTuple):
    """Readings of one batch, refused at its arrival."""

    producer: int
    epoch: int
    tick: int  # when it arrived, in seconds that the engine's clock went on
    age: int  # ms that the batch was held on its way
    time: int  # ms
    offsets: np.ndarray  # int32[n], ms to `time`
    frames: bytes

    def chosen(self, which: np.ndarray) -> "RefusedBatch":
        """A part of the readings; which: bool[n]."""
        rows = np.frombuffer(self.frames, np.uint8).reshape(-1, FRAME_BYTES)
        return self._replace(offsets=self.offsets[which], frames=rows[which].tobytes())


class RefusedTimes:
    """What may still be folded, in the order in which it came."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        """rows: as `to_list` gave them; ValueError where one is not whole."""
        self._batches: deque[RefusedBatch] = deque()
        self._readings = 0
        for *numbers, offsets, frames in rows:
            batch = RefusedBatch(*numbers, np.frombuffer(offsets, "<i4").astype(np.int32), frames)
            if len(batch.offsets) * FRAME_BYTES != len(frames):
                raise ValueError(f"{len(frames)} bytes of frames for {len(batch.offsets)} readings")
            self.keep(batch)

    def __len__(self) -> int:
        return self._readings

    def keep(self, batch: RefusedBatch) -> None:
        """Keep a batch, unless it alone is more than may be kept."""
        if len(batch.offsets) > MOST_KEPT:
            return
        self._batches.append(batch)
        self._readings += len(batch.offsets)
        while self._readings > MOST_KEPT:
            self._readings -= len(self._batches.popleft().offsets)

    def take_possible(self, first: int, last: int, tick: int) -> list[RefusedBatch]:
        """Take out the readings whose time lies between *first*, less what their batch has waited until *tick*, and *last* (ms)."""
        batches, self._batches, self._readings = self._batches, deque(), 0
        taken = []
        for batch in batches:
            times = batch.time + batch.offsets.astype(np.int64)
            waited = batch.age + 1000 * (tick - batch.tick)
            possible = (times >= max(first - waited, FIRST_TIME)) & (times <= last)
            if possible.any():
                taken.append(batch.chosen(possible))
            if not possible.all():
                self.keep(batch.chosen(~possible))
        return taken

    def to_list(self) -> list[tuple[Any, ...]]:
        """(producer, epoch, tick, age, time, offsets, frames) of each batch, for a snapshot."""
        return [(*batch[:5], batch.offsets.astype("<i4").tobytes(), batch.frames) for batch in self._batches]
