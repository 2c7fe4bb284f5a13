"""Snapshots of before version 3: their turns are folded again as they were, then the rules and scores of today hold."""
import hashlib

import numpy as np
import pytest

from corec._core.dtypes import ALERT_ANOMALY
from corec.engine import Engine
from corec.engine.audit import EARLIER_SCORE
from tests.support.fleet import entry
from tests.support.forging import put_together, taken_apart
from tests.support.twin import T0, Twin, same_state

#: Entities whose step of the slow clock falls to `memoria`, early and late.
MEMORIES = {"modules": ["registro"], "bloques": [entry(entidades=60, filtro={"memoria": 0.0005}),
                                                 entry(id="b", canal=2, entidades=20, filtro={"memoria": 0.2})]}  # fmt: skip
#: Of `story` folded by commit bb9dcda, whose snapshots had version 2.
VERSION_2 = "6b3e6a65d602cca4d08758235dd38316"


def story(engine, rounds=700):
    """A hash of what *rounds* readings of each entity give."""
    state = hashlib.blake2b(digest_size=16)
    for k in range(rounds):
        x = ((np.arange(80, dtype=np.uint64) + 80 * k) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)).astype(np.float32)
        for channel, ids in ((1, np.arange(60)), (2, np.arange(60, 80))):
            state.update(engine.feed_arrays(ids, x[ids], at=T0 + 1000 * k, channel=channel, states=x[ids] % 97 > 0).messages.tobytes())
    state.update(engine.entities.tobytes())
    return state.hexdigest()


def of_version(version, engine, **fields):
    """*engine* from a snapshot of *version*."""
    state, segments = taken_apart(engine.snapshot())
    return Engine.restore(put_together(state | {"version": version} | fields, segments))


def test_turns_of_an_earlier_version_are_folded_as_they_were():
    # Given a snapshot of version 2, when further readings are folded, then all is as that version had it
    assert story(of_version(2, Engine(MEMORIES))) == VERSION_2
    # And by the rules of today it is not
    assert story(Engine(MEMORIES)) != VERSION_2


@pytest.mark.parametrize("version", [1, 2])
def test_rules_of_today_hold_once_they_are_taken_over(version):
    # Given engines that folded the same by rules of before and by those of today, with fewer readings than tell them apart
    old, new = of_version(version, Engine(MEMORIES)), Engine(MEMORIES)
    assert story(old, 40) == story(new, 40)
    # When the earlier turns are over, then both fold alike
    assert old.take_over() and not old.take_over() and not new.take_over()
    assert old.arena.policies.tobytes() == new.arena.policies.tobytes()
    for engine in (old, new):
        for k in range(40, 700):
            engine.feed_arrays(np.arange(60), np.sin(np.arange(60.0) + k), at=T0 + 1000 * k, channel=1)
    assert same_state(old, new)


def test_step_falls_faster_than_one_in_n_as_the_oracle_says():
    # Given entities with more readings than the step is 1/n for, when they are folded by id and in order, then it is the oracle's step
    twin = Twin({"modules": ["registro"], "bloques": [entry(entidades=60)]})
    for k in range(300):
        ids = np.arange(60) if k % 2 else np.random.default_rng(k).permutation(60)
        twin.feed_arrays(np.tile(ids, 4), np.sin(np.arange(240.0) * (k + 1)), at=T0 + 1000 * k, channel=1)
    twin.finish()
    assert twin.oracle.state.warm.min() > 32


def test_scores_of_an_earlier_snapshot_go_on():
    # Given a block whose features were learned by an earlier version, over 2,000 windows
    dice, config = np.random.default_rng(1), {"bloques": [entry(entidades=20)]}
    scores = np.zeros(1, EARLIER_SCORE)
    scores["windows"], scores["score"], scores["highest"] = 2000, 3.0, 40.0
    scores["mean"], scores["var"] = [0.1, 0.0, 1.0, 0.0], [0.01, 0.05, 0.03, 0.0]
    engine = of_version(2, Engine(config), audit=scores.tobytes())
    # When it goes on, then its score is 0 until its level is learned anew
    seconds = [engine.feed_arrays(np.arange(20), dice.normal(0, 1, 20), at=T0 + 1000 * k, channel=1) for k in range(300)]
    rows = np.concatenate([outcome.aggregates for outcome in seconds])
    assert engine.audit.state["windows"][0] == 2000 + len(rows)
    assert not rows["score"][:64].any() and rows["score"][64:].all()
    # And a change raises an alert, though the earlier scores were of another scale
    loud = [engine.feed_arrays(np.arange(20), dice.normal(30, 1, 20), at=T0 + 1000 * (300 + k), channel=1) for k in range(20)]
    assert [kind for outcome in loud for kind in outcome.alerts["kind"].tolist()] == [ALERT_ANOMALY]
