"""An engine in a process of its own: what it weighs and how long its work takes, as one line of JSON.

python -m benchmarks.child_engine ENTITIES [memory]
"""
import json
import sys

import numpy as np
import psutil

from benchmarks.harness import clocked
from benchmarks.workloads import START, WARM, engine_of, frames_of
from corec._core.wire import encode_frames

#: Frames at once, so that what is measured is the engine and not its input.
PIECE = 10_000
RUNS = 7
#: Readings of a race by id.
READINGS = 200_000


def rss_bytes():
    """Resident memory of this process, without importing any of a node."""
    return psutil.Process().memory_info().rss


def touch_all(engine, entities, rng):
    """Two readings of every entity, in order, in two windows of which the first closes: every page is in use."""
    valores = rng.normal(20, 1, PIECE).astype(np.float32)
    for at in (START, START + 4000):
        for first in range(0, entities, PIECE):
            ids = np.arange(first, min(first + PIECE, entities), dtype=np.uint32)
            engine.feed(encode_frames(ids, 1, valores[: len(ids)], True), at=at)


def seconds_by_id(engine, entities, rng):
    """Seconds for each reading, in the shortest of a few runs of random readings."""
    sets = [frames_of(rng.integers(0, entities, READINGS, np.uint32), rng) for _ in range(RUNS)]
    return min(clocked(lambda frames=frames: engine.feed(frames, at=engine.clock + 1)) for frames in sets) / READINGS


def seconds_a_pass(entities):
    """The shortest of a few passes 10 ms apart, of an engine whose entities have a native function and know what is usual."""
    engine = engine_of(entities, funcion="random", ventana=3600)
    for turn in range(WARM // 2):
        engine.step(START + 1000 * turn)
    return min(clocked(lambda: engine.step(engine.clock + 10)) for _ in range(RUNS))


def weigh(entities, memory_only):
    """Measure memory and times of an engine of one size; returns the figures."""
    rng = np.random.default_rng(1)
    touch_all(engine_of(PIECE), PIECE, rng)     # what importing and first use cost is not the entities'
    before = rss_bytes()
    engine = engine_of(entities)
    empty = rss_bytes()
    touch_all(engine, entities, rng)
    full = rss_bytes()
    tiles = engine.arena.tiles
    found = {"entities": entities, "empty": empty - before, "all_in": full - before, "process": full,
             "arena": tiles.shape[0] * tiles.shape[1] * tiles.dtype.itemsize}
    if not memory_only:
        found["by_id"] = seconds_by_id(engine, entities, rng)
        del engine, tiles
        found["pass"] = seconds_a_pass(entities)
    return found


if __name__ == "__main__":
    print(json.dumps(weigh(int(sys.argv[1]), "memory" in sys.argv)))
