"""The anomaly score of blocks: two clocks, an alert only where it tops the newest windows, the same bits on replay."""
import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core import dtypes
from corec._core.dtypes import ALERT_ANOMALY
from corec.engine import Engine
from corec.engine.audit import saved_scores
from corec.engine.state import VERSION
from corec.errors import DamagedFile
from tests.support.fleet import entry
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.oracle.audit import Auditor, logarithm
from tests.support.twin import T0, Twin, check_rows, same_outcome

BLOCKS = [entry(entidades=60, entidades_por_bloque=20), entry(id="b", canal=2, entidades=5)]
CONFIG = {"auditoria": {"ventanas": 64, "umbral": 3.0}, "bloques": BLOCKS}


def second(dice, ids=60, shift=0.0, failing=()):
    """A reading of each entity; the first block may be shifted or fail."""
    x = dice.normal(0, 1, ids).astype(np.float32)
    x[:20] += shift
    states = np.ones(ids, bool)
    states[list(failing)] = False
    return {"ids": np.arange(ids), "values": x, "channel": 1, "states": states}


def anomalies(outcome):
    return outcome.alerts[outcome.alerts["kind"] == ALERT_ANOMALY]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_and_alerts_are_the_oracles(seed):
    # Given windows of every kind, some of them two at once, some without a good reading, with fusions and mutes among them
    dice, twin, at = np.random.default_rng(seed), Twin(CONFIG), T0
    for number in range(90):
        at += int(dice.choice([100, 1000, 1000, 2500, 7000]))
        twin.feed_arrays(**second(dice, shift=20.0 * (dice.random() < 0.1), failing=range(20) if dice.random() < 0.05 else ()), at=at)
        if number % 20 == 19:
            command = [{"op": "fuse", "block": "a/1", "host": "a/0", "force": True}, {"op": "mute", "block": "a/0", "until": at + 9000},
                       {"op": "undo", "block": "a/1"}, {"op": "mute", "entity": 0, "until": at + 9000}][number // 20]  # fmt: skip
            twin.turn([], commands=[command])
    twin.finish()


def test_scores_of_any_rows_are_the_oracles():
    # Given rows of any numbers for two blocks, more than it takes to learn what is usual, with NaN, quiet stretches and spikes
    dice, n = np.random.default_rng(8), 3000
    rows = np.zeros(n, dtypes.AGGREGATE)
    rows["block"], rows["canal"], rows["window"], rows["fitness"] = dice.integers(0, 2, n), 1, np.arange(n), 1.0
    rows["count"], rows["errors"], rows["messages"] = dice.integers(0, 50, n), dice.integers(0, 3, n), dice.integers(0, 50, n)
    rows["mean"], rows["std"] = dice.normal(1e6, 2, n), dice.normal(0, 1, n) ** 2
    rows["score"] = np.where(dice.random(n) < 0.01, 10.0 ** dice.uniform(0, 20, n), np.abs(dice.normal(3, 1, n)))
    rows["score"][1000:1400] = 0.0
    rows["mean"][rows["count"] == 0] = np.nan
    rows["fitness"][dice.random(n) < 0.05] = np.nan
    # When they are judged, then scores, alerts and limits are the oracle's to the bit
    scored, alerts = Engine({"auditoria": {"ventanas": 300, "umbral": 1.5}, "bloques": BLOCKS}).audit.judge(rows, rows_of_no_alert())
    expected, raised = Auditor().judge(rows.tolist(), (300, 1.5), {0: 0, 1: 20}.get)
    check_rows("rows", scored, np.array(expected, dtypes.AGGREGATE))
    check_rows("alerts", alerts, np.array(raised, dtypes.ALERT))
    assert len(alerts) > 3 and scored["score"].max() > 3


def rows_of_no_alert():
    return np.empty(0, dtypes.ALERT)


@pytest.mark.parametrize("x", [1.0, 1.0 + 1e-12, 1.4142135623730951, 1.5, 2.0, 3.7, 1000.0, 2001.0])
def test_logarithm_of_the_score_is_one(x):
    assert abs(logarithm(x) - math.log(x)) <= 4e-15 * max(1.0, math.log(x))


def test_block_that_is_not_there_is_refused():
    rows = np.zeros(1, dtypes.AGGREGATE)
    rows["block"] = 4
    with pytest.raises(IndexError, match="no block 4"):
        Engine(CONFIG).audit.judge(rows, rows_of_no_alert())


def test_blocks_are_judged_by_what_is_usual_for_them():
    # Given two blocks, one of which has readings that spread far wider from time to time
    dice, engine = np.random.default_rng(11), Engine({"bloques": [entry(entidades=40, entidades_por_bloque=20)]})

    def outcome(k, shift=0.0):
        x = dice.normal(0, 1, 40)
        x[20:] *= 20 if dice.random() < 0.2 else 1
        return engine.feed_arrays(np.arange(40), x + shift, at=T0 + 1000 * k, channel=1)

    for k in range(600):
        outcome(k)
    # When both shift by as much for a while
    loud = np.concatenate([outcome(600 + k, shift=8.0).aggregates for k in range(12)])
    # Then that is unusual for the quiet one, and not for the other
    quiet, restless = (loud["score"][loud["block"] == block].max() for block in (0, 1))
    assert quiet > 3 > 2 > restless


def test_shift_of_a_block_scores_and_alerts_once_a_burst():
    # Given a block that was quiet for a hundred windows
    dice, engine = np.random.default_rng(1), Engine(CONFIG)
    quiet = [engine.feed_arrays(**second(dice), at=T0 + 1000 * k) for k in range(150)]
    # When its values shift by twenty deviations for a while
    loud = [engine.feed_arrays(**second(dice, shift=20.0), at=T0 + 1000 * (150 + k)) for k in range(12)]
    # Then there is one alert, about the block, that says by how much, and none before
    found = np.concatenate([anomalies(outcome) for outcome in quiet])
    assert len(found) == 0
    found = np.concatenate([anomalies(outcome) for outcome in loud])
    assert found[["block", "id", "canal"]].tolist() == [(0, 0, 1)]
    assert found["valor"][0] > found["limit"][0] > 0
    rows = np.concatenate([outcome.aggregates for outcome in loud])
    assert rows["score"][rows["block"] == 0].max() > 2 * rows["score"][rows["block"] == 1].max()


@pytest.mark.parametrize("phase", range(0, 40, 7))
def test_lasting_change_that_is_no_spike_is_told_once(phase):
    # Given a block that was quiet until its level was learned, whatever stretch of windows it is in
    dice, engine = np.random.default_rng(2), Engine(CONFIG | {"auditoria": {"ventanas": 300, "umbral": 3.0}})
    quiet = [engine.feed_arrays(**second(dice), at=T0 + 1000 * k) for k in range(300 + phase)]
    # When half of its readings fail from now on: a feature, which counts as 10 at most and lifts the score window by window
    start = T0 + 1000 * (300 + phase)
    lasting = [engine.feed_arrays(**second(dice, failing=range(10)), at=start + 1000 * k) for k in range(90)]
    # Then that is told once
    assert sum(len(anomalies(outcome)) for outcome in quiet) == 0
    assert sum(len(anomalies(outcome)) for outcome in lasting) == 1


def test_long_anomaly_is_not_learned_as_normal_within_minutes():
    # Given a quarter of an hour as usual, then a share of failing readings that lasts: 300 windows
    dice, engine = np.random.default_rng(2), Engine(CONFIG)
    for k in range(1000):
        engine.feed_arrays(**second(dice), at=T0 + 1000 * k)
    rows = np.concatenate([engine.feed_arrays(**second(dice, failing=range(10)), at=T0 + 1000 * (1000 + k)).aggregates for k in range(300)])
    # Then the last of them score as the first did
    scores = rows["score"][rows["block"] == 0]
    assert scores[-1] > 0.8 * scores[30] > 3


def test_new_block_does_not_alert():
    # Given blocks with fewer windows than it takes to learn what is usual
    dice, engine = np.random.default_rng(3), Engine(CONFIG)
    found = [anomalies(engine.feed_arrays(**second(dice, shift=50.0 * (k > 50)), at=T0 + 1000 * k)) for k in range(120)]
    assert not len(np.concatenate(found))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 79))
def test_scores_go_on_from_a_snapshot(seed, cut):
    def fed(engine, dice, steps):
        return [engine.feed_arrays(**second(dice, shift=9.0 * (k % 37 == 0)), at=T0 + 1000 * k) for k in steps]

    dice, other = np.random.default_rng(seed), np.random.default_rng(seed)
    expected = fed(Engine(CONFIG), dice, range(80))
    engine = Engine(CONFIG)
    got = fed(engine, other, range(cut))
    got += fed(Engine.restore(engine.snapshot()), other, range(cut, 80))
    for one, two in zip(got, expected, strict=True):
        same_outcome(one, two)


def test_without_auditoria_the_score_is_the_largest_z():
    dice, engine = np.random.default_rng(4), Engine(CONFIG | {"modules": ["registro"]})
    for k in range(60):
        engine.feed_arrays(**second(dice), at=T0 + 1000 * k)
    engine.feed_arrays(**second(dice, shift=1e6), at=T0 + 60_000)
    assert engine.finish().aggregates["score"].max() > 1e5
    assert Engine(CONFIG | {"rol": "sensor"}).audit is None


def test_reload_turns_scores_on_and_off():
    twin, dice = Twin(CONFIG), np.random.default_rng(5)
    for number, modules in enumerate((["registro"], ["registro", "auditoria"], ["registro"])):
        twin.turn([], commands=[{"op": "reload", "config": CONFIG | {"modules": modules}}])
        for k in range(3):
            twin.feed_arrays(**second(dice), at=T0 + 10_000 * number + 1000 * k)
    twin.finish()


def test_rows_that_were_stored_give_the_same_alerts_again():
    # Given the rows of a block with anomalies, and the alerts they raised
    config = CONFIG | {"auditoria": {"ventanas": 64, "umbral": 1.0}}
    dice, engine = np.random.default_rng(7), Engine(config)
    outcomes = [engine.feed_arrays(**second(dice, shift=20.0 * (k % 150 > 140)), at=T0 + 1000 * k) for k in range(900)]
    raised = np.concatenate([anomalies(outcome) for outcome in outcomes])
    assert len(raised) > 1
    # When they are judged anew
    audit = Engine(config).audit
    again = [audit.judge(outcome.aggregates, anomalies(outcome)[:0], scored=True) for outcome in outcomes]
    # Then they keep their scores and raise the same
    assert all((rows == outcome.aggregates).all() for (rows, _), outcome in zip(again, outcomes, strict=True))
    assert np.array_equal(np.concatenate([alerts for _, alerts in again])[["time", "block"]], raised[["time", "block"]])


def test_scores_of_other_blocks_are_refused():
    audit = Engine(CONFIG).audit
    with pytest.raises(DamagedFile, match="bytes of scores"):
        saved_scores(b"123", VERSION)
    with pytest.raises(DamagedFile, match="expected the scores of 4 blocks, got 3"):
        audit.restore(audit.state[:3])


@pytest.mark.slow
def test_node_tells_of_an_anomaly(tmp_path, caplog):
    # Given a node that scores short windows
    blocks = [{"id": "sensores", "canal": 1, "entidades": 100, "ventana": 0.1}]
    config = small(auditoria={"ventanas": 16, "umbral": 1.0}, bloques=blocks)
    with running(config, tmp_path / "data") as nucleus, caplog.at_level(logging.INFO):
        dice = np.random.default_rng(6)

        def work():
            nucleus.submit(readings(range(100), 20 + dice.normal(0, 1, 100)), time=now_ms()).result()
            return nucleus.engine.audit.state["windows"][0] > 140

        assert until(work)
        # When the values of a block leap
        for _ in range(10):
            nucleus.submit(readings(range(100), 90 + dice.normal(0, 1, 100)), time=now_ms()).result()
            until(lambda seen=nucleus.engine.audit.state["windows"][0]: nucleus.engine.audit.state["windows"][0] > seen, seconds=1)
        # Then the log and the status say so
        assert until(lambda: "[ModuloAuditoria] anomaly in sensores/0" in caplog.text)
        assert any(alert["kind"] == "anomaly" for alert in nucleus.status()["alerts"]["recent"])
