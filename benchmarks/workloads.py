"""Engines and readings that benchmarks share."""
from collections.abc import Callable, Iterator
from itertools import count, cycle

import numpy as np

from corec._core.wire import encode_frames, encode_into
from corec.engine import Engine

#: The beginning of an hour: with windows of an hour none closes in a race.
START = 1_700_000_000_000 // 3_600_000 * 3_600_000
#: Passes or readings of each entity until its reference is guarded, so that it sends as rarely as it will.
WARM = 40


def engine_of(entities: int, **entry) -> Engine:
    """One swarm on channel 1, ids from 0."""
    return Engine({"instance_id": "bench", "bloques": [{"id": "s", "canal": 1, "entidades": entities, **entry}]})


def frames_of(ids: np.ndarray, rng: np.random.Generator, failing: float = 0.001) -> np.ndarray:
    """Frames of these ids: a sensor's value is about its own mean, one reading in a thousand failed."""
    valores = (20 + ids % 50 + rng.normal(0, 0.5, len(ids))).astype(np.float32)
    return np.frombuffer(encode_frames(ids.astype(np.uint32), 1, valores, rng.random(len(ids)) >= failing), np.uint8)


class Load:
    """Readings of a fleet, set after set, with new noise each time: a fixed recording would be learnt by heart."""

    def __init__(self, ids: list[np.ndarray], seed: int = 1, failing: float = 0.001) -> None:
        self._rng = np.random.default_rng(seed)
        self._sets = cycle([(each, (20 + each % 50).astype(np.float32)) for each in ids])
        size = len(ids[0])
        self._noise = self._rng.normal(0, 0.5, 4 * size).astype(np.float32)
        self._canales, self._estados = np.ones(size, np.int8), (self._rng.random(size) >= failing).astype(np.uint8)
        self.frames = np.empty(size * 10, np.uint8)
        self.turn()

    def turn(self) -> None:
        """Go on to the next set."""
        ids, means = next(self._sets)
        start = int(self._rng.integers(0, 3 * len(ids)))
        valores = means + self._noise[start : start + len(ids)]
        encode_into(self.frames, ids, self._canales, valores.view(np.uint32), self._estados)


def random_ids(entities: int, readings: int, sets: int) -> list[np.ndarray]:
    """*sets* arrays of uniform random ids."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, entities, readings, np.uint32) for _ in range(sets)]


def ordered_ids(entities: int, readings: int, sets: int) -> list[np.ndarray]:
    """*sets* arrays of ids in order, each going on where the last one ended."""
    return [(np.arange(part * readings, (part + 1) * readings) % entities).astype(np.uint32) for part in range(sets)]


def turning(work: Callable[[int], object], turns: Iterator[int] | None = None) -> Callable[[], object]:
    """*work* with 0, 1, 2, ... from call to call."""
    turns = turns or count()
    return lambda: work(next(turns))
