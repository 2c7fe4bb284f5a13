"""What a node does to its blocks: repair, fusion and its undoing, the score of their windows."""
import numpy as np
import pytest

from benchmarks.harness import best_of, clocked
from benchmarks.workloads import START, engine_of
from corec._core.dtypes import ALERT

ENTITIES = 1_000_000
#: A fusion of two blocks of 1,000; a repair of one with nine in ten failing; the scores of 1,000 windows that closed.
FUSION_S, REPAIR_S, SCORES_S = 1e-3, 1e-3, 0.15e-3
FUSE, UNDO = {"op": "fuse", "block": "s/1", "host": "s/0", "force": True}, {"op": "undo", "block": "s/1"}


@pytest.fixture(scope="module")
def engine():
    """A thousand blocks, each entity of which has had a reading."""
    engine = engine_of(ENTITIES, autoreparacion={"max_errores": 1.0})
    engine.feed_arrays(np.arange(ENTITIES), np.ones(ENTITIES, np.float32), at=START, channel=1)
    return engine


def fail(engine):
    """Nine in ten entities of the second block, twice."""
    ids = np.arange(1000, 1900)
    for _ in range(2):
        engine.feed_arrays(ids, np.zeros(900, np.float32), at=START, channel=1, states=np.zeros(900, np.uint8))


def milliseconds(seconds):
    return f"{1e3 * seconds:.3f} ms"


def judged(report, what, best, most):
    report.judge("blocks", what, milliseconds(best), f"< {milliseconds(most)}", best < most)


def commanded(engine, command, *, failing):
    def measure(turn):
        if failing:
            fail(engine)
        seconds = clocked(lambda: engine.turn([], commands=[command]))
        if command is FUSE:
            engine.turn([], commands=[UNDO])
        return seconds

    return measure


@pytest.mark.parametrize("failing", [False, True], ids=["healthy", "failing"])
def test_fusion(report, engine, failing):
    best = best_of(commanded(engine, FUSE, failing=failing), wanted=FUSION_S, least=5, most=50)
    judged(report, f"fusion of two blocks of 1,000, {'900 failing' if failing else 'all healthy'}", best, FUSION_S)


def test_undo(report, engine):
    def measure(turn):
        engine.turn([], commands=[FUSE])
        return clocked(lambda: engine.turn([], commands=[UNDO]))

    judged(report, "undo of a fusion", best_of(measure, wanted=FUSION_S, least=5, most=50), FUSION_S)


def test_repair(report, engine):
    best = best_of(commanded(engine, {"op": "repair", "block": "s/1"}, failing=True), wanted=REPAIR_S, least=5, most=50)
    judged(report, "repair of a block of 1,000, 900 failing", best, REPAIR_S)


def test_scores(report, engine):
    rows = np.repeat(engine.finish().aggregates[:1], 1000)
    rows["block"] = np.arange(1000)
    best = best_of(lambda turn: clocked(lambda: engine.audit.judge(rows, np.empty(0, ALERT))), wanted=SCORES_S, least=5, most=50)
    judged(report, "anomaly scores of 1,000 windows", best, SCORES_S)
