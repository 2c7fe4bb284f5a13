"""Yardsticks do the same work as the engine: the same entities to the last bit, the same messages, the same counts."""
import numpy as np
import pytest

from benchmarks.workloads import START, engine_of, frames_of
from benchmarks.yardstick_numpy import NumpyFleet
from benchmarks.yardsticks import MESSAGE, Params

ENTITIES, ROUNDS = 3_000, 30
FIELDS = ("value", "emitted", "fast", "slow", "var", "trend", "state", "role")


def columns_of(engine):
    """The entities of an engine as columns of bits."""
    return {name: np.ascontiguousarray(engine.arena.tiles[name]).reshape(-1)[:ENTITIES].view(np.uint32) for name in FIELDS}


def assert_same_entities(engine, columns):
    for name, bits in columns_of(engine).items():
        np.testing.assert_array_equal(bits, np.ascontiguousarray(columns[name]).view(np.uint32), err_msg=name)


def assert_same_windows(engine, windows):
    """To the last bit but for sums, which are added in another order."""
    ours = engine.arena.blocks["newest"]
    for name in ("count", "errors", "messages", "min", "max", "score"):
        np.testing.assert_array_equal(ours[name], windows[name], err_msg=name)
    for name in ("sum", "squares"):
        np.testing.assert_allclose(ours[name], windows[name], rtol=1e-9, atol=1e-9, err_msg=name)


def mixed_frames(rng):
    """Random ids, some twice, some unknown; failures, numbers that are none, wrong channels, malformed states."""
    frames = frames_of(rng.integers(0, ENTITIES + 3, 2_000), rng, failing=0.02).copy().reshape(-1, 10)
    frames[rng.random(len(frames)) < 0.01, 4] = 9
    frames[rng.random(len(frames)) < 0.01, 9] = 7
    frames[rng.random(len(frames)) < 0.01, 5:9] = (0x7F, 0xC0, 0, 0)
    return frames.reshape(-1)


def by_id_yardsticks():
    numba = pytest.importorskip("benchmarks.yardstick_numba")
    return {"numpy": NumpyFleet, "numba": numba.ById}


@pytest.mark.parametrize("which", ["numpy", "numba"])
def test_by_id(which):
    engine, rng, sent = engine_of(ENTITIES, ventana=3600), np.random.default_rng(3), []
    yardstick = None
    for _ in range(ROUNDS):
        frames = mixed_frames(rng)
        outcome = engine.feed(frames, at=START)
        if yardstick is None:
            yardstick = by_id_yardsticks()[which](ENTITIES, Params.of(engine))
            set_origin(yardstick, engine)
        theirs = yardstick.fold(frames, START)
        sent.append((outcome.messages, np.concatenate(theirs) if which == "numpy" else theirs.copy()))
    assert_same_entities(engine, yardstick.columns if which == "numpy" else yardstick.entities)
    assert_same_windows(engine, yardstick.windows)
    for ours, theirs in sent:
        np.testing.assert_array_equal(np.sort(ours, order=MESSAGE.names), np.sort(theirs, order=MESSAGE.names))
    counts = yardstick.counts if which == "numpy" else yardstick.counts[0]
    for cause in ("malformed", "channel", "id"):
        assert int(counts[cause]) == engine.ledger[f"rejected_{cause}"] > 0


def set_origin(yardstick, engine):
    """Windows count from their first value."""
    origin = engine.arena.blocks["newest"]["origin"]
    if isinstance(yardstick, NumpyFleet):
        yardstick.origin[:] = origin
    else:
        yardstick.windows["origin"] = origin


def test_whole_pass():
    engine = engine_of(ENTITIES, ventana=3600, funcion="random")
    fleet = None
    for _ in range(ROUNDS):
        ours = engine.step(START).messages
        if fleet is None:
            fleet = NumpyFleet(ENTITIES, Params.of(engine))
            fleet.origin[:] = engine.arena.blocks["newest"]["origin"]
        np.testing.assert_array_equal(ours, np.concatenate(fleet.step(0, 1, START)))
    assert_same_entities(engine, fleet.columns)
    assert_same_windows(engine, fleet.windows)
