"""Readings that were refused for their time: when the machine's clock turns out to have been wrong, they are folded after all."""
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
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
    packed_offsets: bytes  # little-endian int32[n], ms to `time`
    frames: bytes

    @property
    def readings(self) -> int:
        return len(self.frames) // FRAME_BYTES

    @property
    def offsets(self) -> np.ndarray:
        return np.frombuffer(self.packed_offsets, "<i4").astype(np.int32)

    @property
    def span(self) -> tuple[int, int]:
        """The earliest and the latest time, ms."""
        if self.readings == 1:
            time = self.time + int.from_bytes(self.packed_offsets, "little", signed=True)
            return time, time
        offsets = self.offsets
        return self.time + int(offsets.min()), self.time + int(offsets.max())

    def chosen(self, which: np.ndarray) -> "RefusedBatch":
        """A part of the readings; which: bool[n]."""
        rows = np.frombuffer(self.frames, np.uint8).reshape(-1, FRAME_BYTES)
        return self._replace(packed_offsets=self.offsets[which].astype("<i4").tobytes(), frames=rows[which].tobytes())


class _Kept(NamedTuple):
    batch: RefusedBatch
    earliest: int  # of its times, ms
    latest: int
    packed: msgspec.Raw  # for snapshots: packing tens of thousands anew for each takes longer than all else in it


def _kept(batch: RefusedBatch) -> _Kept:
    return _Kept(batch, *batch.span, msgspec.Raw(msgspec.msgpack.encode(tuple(batch))))


class RefusedTimes:
    """What may still be folded, in the order in which it came."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        """rows: as `packed` gave them, unpacked; ValueError where one is not whole."""
        self._batches: deque[_Kept] = deque()
        self._readings = 0
        for row in rows:
            batch = RefusedBatch(*row)
            if len(batch.packed_offsets) * FRAME_BYTES != 4 * len(batch.frames) or not batch.frames:
                raise ValueError(f"{len(batch.frames)} bytes of frames for {len(batch.packed_offsets)} bytes of offsets")
            self.keep(batch)

    def __len__(self) -> int:
        return self._readings

    def keep(self, batch: RefusedBatch) -> None:
        """Keep a batch, unless it alone is more than may be kept."""
        if batch.readings > MOST_KEPT:
            return
        self._batches.append(_kept(batch))
        self._readings += batch.readings
        while self._readings > MOST_KEPT:
            self._readings -= self._batches.popleft().batch.readings

    def take_possible(self, first: int, last: int, tick: int) -> list[RefusedBatch]:
        """Take out the readings whose time lies between *first*, less what their batch has waited until *tick*, and *last* (ms)."""
        batches, self._batches, self._readings = self._batches, deque(), 0
        taken = []
        for each in batches:
            batch = each.batch
            lowest = max(first - batch.age - 1000 * (tick - batch.tick), FIRST_TIME)
            if each.latest < lowest or each.earliest > last:
                self._batches.append(each)
                self._readings += batch.readings
            elif lowest <= each.earliest and each.latest <= last:
                taken.append(batch)
            else:
                times = batch.time + batch.offsets.astype(np.int64)
                possible = (times >= lowest) & (times <= last)
                if possible.any():
                    taken.append(batch.chosen(possible))
                if not possible.all():
                    self.keep(batch.chosen(~possible))
        return taken

    def packed(self) -> list[msgspec.Raw]:
        """[producer, epoch, tick, age, time, offsets, frames] of each batch as msgpack, for a snapshot."""
        return [each.packed for each in self._batches]
