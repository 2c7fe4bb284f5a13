"""Engines and readings that benchmarks share."""
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np

from corec._core.wire import encode_frames
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


def random_frames(entities: int, readings: int, sets: int, seed: int = 1) -> list[np.ndarray]:
    """*sets* arrays of frames with uniform random ids."""
    rng = np.random.default_rng(seed)
    return [frames_of(rng.integers(0, entities, readings, np.uint32), rng) for _ in range(sets)]


def ordered_frames(entities: int, readings: int, sets: int, seed: int = 1) -> list[np.ndarray]:
    """*sets* arrays of frames with ids in order, each going on where the last one ended."""
    rng = np.random.default_rng(seed)
    return [frames_of(np.arange(part * readings, (part + 1) * readings) % entities, rng) for part in range(sets)]


def turning(work: Callable[[int], object], turns: Iterator[int] | None = None) -> Callable[[], object]:
    """*work* with 0, 1, 2, ... from call to call."""
    turns = turns or count()
    return lambda: work(next(turns))
