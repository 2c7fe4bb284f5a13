"""What docs/model.md promises of the filter, the limits, silence, windows, fitness and repair."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core.dtypes import ALERT_FAILURE, ALERT_HIGH, ALERT_LOW, ALERT_SILENCE, SEGMENT_FROZEN
from corec.engine import Engine
from corec.engine.outcome import is_amending, kind_name
from tests.support.twin import T0, Twin, entity_columns


def engine_of(entidades=8, **keys):
    top = {name: keys.pop(name) for name in ("retraso_max", "hibernar_tras") if name in keys}
    return Engine(top | {"modules": ["registro"], "bloques": [{"id": "a", "canal": 1, "entidades": entidades} | keys]})


def hear(engine, value, at, *, id=0, good=True, load=0.0):
    """One reading *at* ms after T0."""
    return engine.feed_arrays([id], [value], at=T0 + at, channel=1, states=[good], load=load)


def hear_rows(engine, rows, at):
    """rows[n, entities]: each entity reads n values, all in the same batch."""
    n, entities = rows.shape
    return engine.feed_arrays(np.tile(np.arange(entities), n), rows.ravel(), at=T0 + at, channel=1)


def kinds(outcome):
    return outcome.alerts["kind"].tolist()


# --- statistics ------------------------------------------------------------------------------------


def test_large_offset_keeps_its_statistics():
    # Given eight barometers at 101,325 +- 5 Pa
    dice, engine = np.random.default_rng(1), engine_of()
    for chunk in range(20):
        # When each reads 200,000 values
        hear_rows(engine, dice.normal(101_325, 5, (10_000, 8)), at=chunk * 1000)
        columns = entity_columns(engine)
        # Then mean and deviation are right all along, not only at the end
        assert (np.abs(columns["slow"] - 101_325) < 0.2 * 5).all(), chunk
        assert (np.abs(np.sqrt(columns["var"]) / 5 - 1) < 0.05).all(), chunk
    # And the block's moments are those of the readings: a float32 sum of squares gave a negative variance here
    row = engine.finish().aggregates[-1]
    assert abs(row["mean"] - 101_325) < 0.1
    assert abs(row["std"] - 5) < 0.05


def test_slowest_memory_does_not_stall_at_a_large_offset():
    # Given a memory of 10,000 readings, and a step of it smaller than float32 resolves at 101,325
    dice, engine = np.random.default_rng(2), engine_of(filtro={"memoria": 0.0001})
    hear_rows(engine, dice.normal(101_325, 5, (20_000, 8)), at=0)
    # When the level moves by one deviation for 60,000 readings
    for chunk in range(6):
        hear_rows(engine, dice.normal(101_330, 5, (10_000, 8)), at=1000 + chunk * 1000)
    # Then the slow mean has followed
    assert (np.abs(entity_columns(engine)["slow"] - 101_330) < 0.3 * 5).all()


def test_warm_up_is_the_plain_mean_of_what_came():
    # Given entities that have heard few readings
    dice, engine = np.random.default_rng(3), engine_of(entidades=1000)
    rows = dice.normal(10, 1, (100, 1000)).astype(np.float32)
    hear_rows(engine, rows, at=0)
    # Then their slow means are about as far from the truth as means of so many readings are, on average unbiased
    error = entity_columns(engine)["slow"] - 10
    assert abs(error.mean()) < 0.02
    assert error.std() < 2 / math.sqrt(100)


def test_step_is_learned_at_last_but_an_anomaly_is_not_learned_quickly():
    # Given sensors at 0 +- 1
    dice, engine = np.random.default_rng(4), engine_of()
    hear_rows(engine, dice.normal(0, 1, (2000, 8)), at=0)
    # When they read 20 higher for 100 readings, then the reference has hardly moved
    hear_rows(engine, dice.normal(20, 1, (100, 8)), at=100)
    assert (entity_columns(engine)["slow"] < 0.5).all()
    # And the readings still score as what they are
    row_scores = engine.finish().aggregates["score"]
    assert row_scores.max() > 6
    # When they stay there for hours, then the reference is on its way
    for chunk in range(40):
        hear_rows(engine, dice.normal(20, 1, (10_000, 8)), at=10_000 + 1000 * chunk)
        if chunk == 3:
            assert (np.abs(entity_columns(engine)["slow"] - 10) < 5).all()
    # And in the end it is the new normal
    columns = entity_columns(engine)
    assert (np.abs(columns["slow"] - 20) < 0.5).all()
    assert (np.sqrt(columns["var"]) < 1.5).all()


def test_one_spike_does_not_move_the_reference():
    # Given sensors at 0 +- 1
    dice, engine = np.random.default_rng(5), engine_of()
    hear_rows(engine, dice.normal(0, 1, (2000, 8)), at=0)
    before = entity_columns(engine)["slow"]
    # When each reads 10^9 once, then its reference moves by a step of at most 3 (deviation + mean step) / 2000
    hear_rows(engine, np.full((1, 8), 1e9), at=100)
    assert (np.abs(entity_columns(engine)["slow"] - before) < 0.01).all()


@pytest.mark.parametrize("memory", [0.0001, 0.1, 0.5])
def test_every_memory_gets_guarded(memory):
    # Given any memory, when an entity has heard enough, then its readings are judged
    engine = engine_of(filtro={"memoria": memory})
    hear_rows(engine, np.random.default_rng(6).normal(0, 1, (200, 8)), at=0)
    assert engine.entity(0)["quality"] == "good"
    hear(engine, 1000.0, at=10)
    assert engine.finish().aggregates[-1]["score"] > 100


# --- messages --------------------------------------------------------------------------------------

MOVES = st.lists(st.tuples(st.floats(-100, 100, width=32) | st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1), st.booleans()),
                 min_size=1, max_size=80)  # fmt: skip
FILTERS = st.fixed_dictionaries(
    {"umbral": st.sampled_from([0.0, 0.5, 10.0]), "desviacion": st.sampled_from([0.0, 2.0]), "carga": st.sampled_from([0.0, 1.0, 3.0]),
     "errores": st.sampled_from([0.0, 1.0, 5.0])})  # fmt: skip


def threshold(filtro, entity, load):
    """How far a reading may be from the last message, by docs/model.md."""
    least = math.sqrt(filtro["umbral"] ** 2 + (filtro["desviacion"] * entity["std"]) ** 2)
    return least * (1 + filtro["carga"] * round(load * 255) / 255) * (1 + filtro["errores"] * entity["error_level"] / 63)


@settings(max_examples=100, deadline=None)
@given(FILTERS, MOVES)
def test_reader_of_messages_alone_is_never_wrong_by_more_than_the_threshold(filtro, moves):
    # Given any filter, and one who sees nothing but messages
    engine, known = engine_of(filtro=filtro | {"latido": 86_400}), None
    for number, (value, load, good) in enumerate(moves):
        before = engine.entity(0)
        # When a reading comes
        outcome = hear(engine, value, at=number * 100, good=good, load=load)
        if len(outcome.messages):
            known = outcome.messages["valor"][-1]
        # Then what the last message said is no further from it than the threshold it met
        if good:
            assert abs(float(np.float32(value)) - float(known)) <= threshold(filtro, before, load) * 1.00001 + 1e-22


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([1, 2, 7, 60, 9000]),
       st.lists(st.integers(1, 20_000) | st.sampled_from([4_097_000, 7_100_000]), min_size=1, max_size=60),
       st.integers(0, 30), st.booleans())  # fmt: skip
def test_no_reading_stays_unsent_longer_than_the_heartbeat(heartbeat, pauses, id, failing):
    # Given a sensor that never moves, read at any times, failing now and then
    engine, at, last = engine_of(entidades=31, filtro={"latido": heartbeat}, silencio_max=7200), 0, None
    for number, pause in enumerate(pauses):
        at += pause
        good = not (failing and number % 5 == 4)
        sent = len(hear(engine, 3.0, at, id=id, good=good).messages)
        # When the last message is `latido` old, then the next good reading leaves
        if last is None or (good and at - last >= heartbeat * 1000):
            assert sent
        last = at if sent else last


def test_heartbeats_are_spread_over_the_period():
    # Given 1,000 sensors that never move, read each second, all of them first in the same one
    engine = engine_of(entidades=1000)
    hear_rows(engine, np.ones((1, 1000)), at=0)
    # When a minute passes
    sent = [len(hear_rows(engine, np.ones((1, 1000)), at=1000 * second).messages) for second in range(1, 61)]
    # Then each sent once, in steps of the eight entities of a tile, no second more than its share
    assert sum(sent) == 1000
    assert max(sent) <= 8 * math.ceil(125 / 60)


def test_load_and_errors_raise_the_threshold():
    # Given a sensor whose threshold is 1 at rest
    filtro = {"umbral": 1.0, "desviacion": 0.0, "carga": 1.0, "errores": 1.0}
    for load, moved, leaves in ((0.0, 1.01, 1), (0.0, 0.99, 0), (1.0, 1.99, 0), (1.0, 2.01, 1)):
        engine = engine_of(filtro=filtro)
        hear(engine, 0.0, 0)
        # When it moves by just more or less than what the load makes of that, then it leaves or it does not
        assert len(hear(engine, moved, 1, load=load).messages) == leaves, (load, moved)
    # Given one with an error level of 32
    engine = engine_of(filtro=filtro)
    for number in range(4):
        hear(engine, 0.0, number, good=False)
    for number in range(8, 16):
        hear(engine, 0.0, number)
    # Then its threshold is 1 + 24 / 63 at a level of 24
    assert engine.entity(0)["error_level"] == 24
    assert len(hear(engine, 1.37, 20).messages) == 0
    assert len(hear(engine, 1.39, 21).messages) == 1   # the level is 23 by now


def test_first_reading_failures_and_recoveries_always_leave():
    # Given a sensor with a threshold that nothing passes
    engine = engine_of(filtro={"umbral": 1e6})
    sent = [hear(engine, 1.0, number, good=good).messages for number, good in enumerate([1, 1, 0, 0, 1, 1])]
    # Then its first reading leaves, the first of some failures with the last good value, and the first good one after them
    assert [len(messages) for messages in sent] == [1, 0, 1, 0, 1, 0]
    assert sent[2].tolist() == [(0, 1, 1.0, False, T0 + 2)]
    assert sent[4]["estado"].tolist() == [True]


# --- limits ----------------------------------------------------------------------------------------


def test_limits_alert_once_a_burst():
    # Given a limit of 10 and a sensor that stays above it
    engine = engine_of(limites={"alto": 10.0})
    alerts = [kinds(hear(engine, value, number)) for number, value in enumerate([5, 5, 11, 12, 13, 11, 12])]
    # Then one alert says so
    assert alerts == [[], [], [ALERT_HIGH], [], [], [], []]
    alert = engine_of(limites={"alto": 10.0}).feed_arrays([3], [11.0], at=T0, channel=1).alerts[0]
    assert alert.tolist() == (T0, 3, 0, 1, ALERT_HIGH, 11.0, 10.0)


def test_noise_about_a_limit_is_one_burst():
    # Given a sensor whose noise goes to and fro over its limit of 10
    engine, values = engine_of(limites={"alto": 10.0}), [9.9, 10.1] * 50
    alerts = sum(len(hear(engine, value, number).alerts) for number, value in enumerate(values))
    # Then it alerts once: it is back only when it is further below than it usually moves
    assert alerts == 1
    # And when it is back for good and rises again, once more
    for number in range(20):
        hear(engine, 5.0, 200 + number)
    assert kinds(hear(engine, 10.1, 300)) == [ALERT_HIGH]


def test_from_one_limit_to_the_other_is_a_burst_of_its_own():
    engine = engine_of(limites={"bajo": -1.0, "alto": 1.0})
    alerts = [kinds(hear(engine, value, number)) for number, value in enumerate([0, 2, -2, -2, 2])]
    assert alerts == [[], [ALERT_HIGH], [ALERT_LOW], [], [ALERT_HIGH]]


def test_crossing_a_limit_leaves_as_a_message_either_way():
    # Given a threshold that nothing passes
    engine = engine_of(limites={"alto": 10.0}, filtro={"umbral": 1e6})
    sent = [len(hear(engine, value, number).messages) for number, value in enumerate([0, 11, 11, 0, 0])]
    # Then who reads messages alone sees the limit crossed, and crossed back
    assert sent == [1, 1, 0, 1, 0]


# --- silence ---------------------------------------------------------------------------------------


def test_silence_alerts_once():
    # Given a sensor that was heard, one that never was, and a limit of 5 s
    engine = engine_of(silencio_max=5)
    hear(engine, 1.0, 0)
    # When seconds pass, then one alert comes, after more than 5 s and not later than 7
    alerts = {second: outcome.alerts for second in range(1, 40) if len((outcome := engine.tick(T0 + second * 1000)).alerts)}
    assert list(alerts) == [6]
    assert alerts[6].tolist() == [(T0 + 6000, 0, 0, 1, ALERT_SILENCE, 1.0, 0.0)]
    assert engine.entity(0)["activo"] is False
    # And when it was heard again and falls silent again, one more
    assert len(hear(engine, 1.0, 40_000).messages) == 1
    assert [len(engine.tick(T0 + second * 1000).alerts) for second in range(41, 60)].count(1) == 1


@pytest.mark.parametrize("jump", [6, 4096, 8191, 8192, 8193, 8197, 16_384, 3600 * 5, 86_400 * 30])
def test_silence_shows_after_any_jump_of_the_clock(jump):
    # Given ages kept modulo 8,192 s, and a clock that jumps
    engine = engine_of(silencio_max=5)
    hear(engine, 1.0, 0)
    # When the next that is heard, of another sensor, comes after the jump
    outcome = hear(engine, 1.0, jump * 1000, id=1)
    # Then the silence shows, once, and a reading after it leaves
    assert kinds(outcome) == [ALERT_SILENCE]
    assert kinds(engine.tick(T0 + jump * 1000 + 1000)) == []
    assert len(hear(engine, 1.0, jump * 1000 + 2000).messages) == 1


def test_a_shorter_silence_holds_from_its_reload_on():
    # Given a sensor that nobody looks at for an hour yet
    engine = engine_of(silencio_max=3600)
    hear(engine, 1.0, 0)
    engine.tick(T0 + 2000)
    # When the configuration asks for ten seconds
    reload = {"op": "reload", "config": {"modules": ["registro"], "bloques": [{"id": "a", "canal": 1, "entidades": 8, "silencio_max": 10}]}}
    engine.turn([], commands=[reload])
    # Then its silence shows when those are over
    assert [kinds(engine.tick(T0 + second * 1000)) for second in (5, 10, 11, 12)] == [[], [], [ALERT_SILENCE], []]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 3, 4, 5, 600, 601, 4095, 4097, 7200, 7201, 8190, 8191, 8192, 8193, 16_384, 20_000]),
                          st.sampled_from(["tick", "one", "other"])), min_size=1, max_size=20),
       st.sampled_from([0, 4, 7200]), st.sampled_from([60, 8191, 8192, 86_400]))  # fmt: skip
def test_ages_are_right_over_any_wrap(moves, silence, heartbeat):
    # Given the oracle, which keeps no age modulo anything
    twin = Twin({"bloques": [{"id": "a", "canal": 1, "entidades": 20, "silencio_max": silence, "filtro": {"latido": heartbeat}}],
                 "hibernar_tras": 1})  # fmt: skip
    at = 0
    for seconds, move in moves:
        at += seconds * 1000
        # When seconds and hours pass, then silence and heartbeats come where it says
        if move == "tick":
            twin.tick(T0 + at)
        else:
            twin.feed_arrays([0 if move == "one" else 19], [1.0], at=T0 + at, channel=1)
    twin.finish()


# --- failures, fitness, repair ---------------------------------------------------------------------


@pytest.mark.parametrize(("value", "quality"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (2e18, "not finite"),
                                                (1.0, "declared failed")])  # fmt: skip
def test_two_failures_in_a_row_restart_an_entity(value, quality):
    # Given a sensor that has warmed up
    engine = engine_of()
    hear_rows(engine, np.random.default_rng(7).normal(100, 1, (200, 8)), at=0)
    # When it fails twice
    first, second = hear(engine, value, 100, good=value != 1.0), hear(engine, value, 200, good=value != 1.0)
    # Then the second says so, once, and a third does not
    assert (kinds(first), kinds(second), kinds(hear(engine, value, 300, good=value != 1.0))) == ([], [ALERT_FAILURE], [])
    entity = engine.entity(0)
    assert (entity["quality"], entity["activo"], entity["warm_up"], entity["failures"]) == (quality, False, 0, 3)
    # And its next good reading is its first: the reference starts from it
    hear(engine, -5.0, 400)
    entity = engine.entity(0)
    assert entity["mean"] == pytest.approx(-5.0, abs=1e-4)
    assert (entity["std"], entity["mean_step"], entity["activo"]) == (0.0, 0.0, True)


def test_one_failure_does_not_restart():
    engine = engine_of()
    hear_rows(engine, np.random.default_rng(7).normal(100, 1, (200, 8)), at=0)
    outcomes = [hear(engine, 1.0, number, good=number % 2) for number in range(10)]
    assert sum(len(outcome.alerts) for outcome in outcomes) == 0
    assert engine.entity(0)["mean"] == pytest.approx(100, abs=5)


def test_errors_rise_by_eight_and_fall_by_one():
    # Given a sensor, when it fails, then its error level rises by 8 up to 63, and falls by 1 a good reading
    engine = engine_of()
    levels = []
    for number in range(80):
        hear(engine, 1.0, number, good=number >= 9)
        levels.append(engine.entity(0)["error_level"])
    assert levels[:12] == [8, 16, 24, 32, 40, 48, 56, 63, 63, 62, 61, 60]
    assert levels[-8:] == [0] * 8


def test_fitness_is_the_share_of_good_readings_times_that_of_healthy_entities():
    # Given ten sensors, one of which fails in the first two of its four readings
    engine = engine_of(entidades=10, autoreparacion={"max_errores": 1.0})
    for number in range(4):
        engine.feed_arrays(np.arange(10), np.ones(10), at=T0 + number, channel=1, states=np.arange(10) > (number < 2) - 1)
    row = engine.finish().aggregates[0]
    # Then the fitness is 38 good of 40, times 10 healthy of 10: its error level of 16 fell to 14 again
    assert (row["count"], row["errors"]) == (38, 2)
    assert row["fitness"] == np.float32(38 / 40 * 10 / 10)
    # When it fails once more, then its level is 22 and the share of the healthy counts too
    engine.feed_arrays(np.arange(10), np.ones(10), at=T0 + 5000, channel=1, states=np.arange(10) > 0)
    row = engine.finish().aggregates[0]
    assert row["fitness"] == np.float32(9 / 10 * 9 / 10)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=8), st.data())
def test_fitness_lies_in_the_unit_interval_and_falls_whenever_errors_rise(passes, data):
    def fitness(states):
        engine = engine_of(entidades=6, autoreparacion={"max_errores": 1.0})
        for number, good in enumerate(states):
            engine.feed_arrays(np.arange(6), np.ones(6), at=T0 + number, channel=1, states=good)
        return engine.finish().aggregates[0]["fitness"]

    # Given any readings of a window, of which some were good
    before = fitness(passes)
    assert 0 <= before <= 1
    good = [(row, column) for row, states in enumerate(passes) for column, is_good in enumerate(states) if is_good]
    if not good or before == 0:
        return
    # When one of these had failed, then the fitness had been lower
    row, column = data.draw(st.sampled_from(good))
    worse = [list(states) for states in passes]
    worse[row][column] = False
    assert fitness(worse) < before


def test_sick_block_repairs_its_failing_entities():
    # Given a block that repairs above a tenth of failing entities, with two of ten failing
    engine = engine_of(entidades=10, autoreparacion={"max_errores": 0.1})
    hear_rows(engine, np.ones((1, 10)), at=0)
    for number in range(2):
        engine.feed_arrays([4, 7], [1.0, 1.0], at=T0 + number, channel=1, states=[False, False])
    # When its window closes
    outcome = engine.tick(T0 + 4000)
    # Then they are regenerated, and the row still says how it was
    assert list(map(tuple, outcome.repairs)) == [(T0 + 4000, 0, 2)]
    assert outcome.aggregates["fitness"] == np.float32(10 / 14 * 8 / 10)
    assert engine.entity(4)["quality"] == "repaired"
    assert engine.blocks[0][["failing", "repairs"]].tolist() == (0, 2)
    # And their next reading is a first one
    assert len(hear(engine, 1.0, 5000, id=4).messages) == 1


def test_dead_sensor_in_a_small_block_is_told_once_and_regenerated_less_and_less_often():
    # Given a sensor alone in its block that dies, a reading each five seconds for six hours
    twin = Twin({"retraso_max": 0, "modules": ["registro"], "bloques": [{"id": "a", "canal": 1, "entidades": 1}]})
    hear(twin, 1.0, 0)
    outcomes = {second: hear(twin, np.nan, 1000 * second) for second in range(5, 21_600, 5)}
    # Then each regeneration that did not help makes the next wait twice as long, up to an hour
    repaired = [second for second, outcome in outcomes.items() if outcome.repairs]
    waits = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]
    assert np.diff(repaired).tolist() == waits
    # And its failure is told once, by one alert and one message, and it counts as failing all the time
    assert [kind for outcome in outcomes.values() for kind in kinds(outcome)] == [ALERT_FAILURE]
    assert sum(len(outcome.messages) for outcome in outcomes.values()) == 1
    assert twin.engine.entity(0)["mean_step"] == 0.0 and not twin.engine.entity(0)["activo"]
    # And after a good reading all of it begins anew
    assert len(hear(twin, 1.0, 21_600_000).messages) == 1
    again = {second: hear(twin, np.nan, 1000 * second) for second in range(21_601, 21_640)}
    assert [kind for outcome in again.values() for kind in kinds(outcome)] == [ALERT_FAILURE]
    repaired = [second for second, outcome in again.items() if outcome.repairs]
    assert np.diff(repaired).tolist() == waits[:len(repaired) - 1] and len(repaired) == 3
    twin.check_state()


def test_other_entities_are_regenerated_while_a_dead_one_waits():
    # Given two dead sensors of ten, regenerated in vain a second ago
    twin = Twin({"retraso_max": 0, "modules": ["registro"], "bloques": [{"id": "a", "canal": 1, "entidades": 10}]})
    hear_rows(twin, np.ones((1, 10)), at=0)
    for second in range(1, 5):
        twin.feed_arrays([4, 7], [1.0, 1.0], at=T0 + 1000 * second, channel=1, states=[False, False])
    assert twin.engine.blocks[0][["failing", "repairs"]].tolist() == (2, 2)
    # When a third one fails twice, Then it is regenerated at the end of its window, without them
    for second in (5, 6):
        twin.feed_arrays([2], [1.0], at=T0 + 1000 * second, channel=1, states=[False])
    assert [tuple(repair) for repair in twin.tick(T0 + 7000).repairs] == [(T0 + 7000, 0, 1)]
    # And an order regenerates those that wait too
    assert [repair[2] for repair in twin.turn([], commands=[{"op": "repair", "block": "a/0"}]).repairs] == [2]
    twin.check_state()


def test_hibernated_dead_sensors_are_let_sleep():
    # Given a block of two segments: in one a dead sensor that fell silent and hibernates, in the other one that goes on failing
    config = {"retraso_max": 0, "hibernar_tras": 60, "modules": ["registro"],
              "bloques": [{"id": "a", "canal": 1, "entidades": 2000, "entidades_por_bloque": 2000, "max_size_mb": 3,
                           "silencio_max": 20, "autoreparacion": {"max_errores": 0.0}}]}  # fmt: skip
    twin = Twin(config)
    for second in range(4):
        twin.feed_arrays([3, 1500], [np.nan, np.nan], at=T0 + 1000 * second, channel=1)
    for second in range(4, 200):
        hear(twin, np.nan, 1000 * second)
    # Then repairs of the one do not wake the other, and the results are those of the oracle, which knows no sleep
    flags = twin.engine.arena.segments["flags"]
    assert flags[1] & SEGMENT_FROZEN and not flags[0] & SEGMENT_FROZEN
    twin.tick(T0 + 200_000)
    assert flags[1] & SEGMENT_FROZEN
    # And when it is heard again, it is regenerated again
    repaired = [hear(twin, np.nan, 1000 * second, id=1500).repairs for second in range(201, 204)]
    assert any(repaired)
    twin.check_state()


@pytest.mark.parametrize("silence", [4000, 8192, 8193])
def test_repair_of_a_silent_entity_does_not_alert_its_silence_again(silence):
    # Given a sensor that failed and fell silent, in a block that is repaired when its window closes, seconds later
    engine = engine_of(silencio_max=5)
    for number in range(2):
        hear(engine, 1.0, number, good=False)
    outcome = engine.tick(T0 + silence * 1000)
    assert (kinds(outcome), len(outcome.repairs)) == ([ALERT_SILENCE], 1)
    # When more seconds pass, then nothing more is said until it is heard and falls silent anew
    assert [kinds(engine.tick(T0 + silence * 1000 + 2500 * number)) for number in range(1, 9)] == [[]] * 8
    assert len(hear(engine, 1.0, silence * 1000 + 30_000).messages) == 1
    assert kinds(engine.tick(T0 + silence * 1000 + 40_000)) == [ALERT_SILENCE]


def test_share_of_errors_a_block_bears_is_no_repair():
    # Given as many failing entities as `max_errores` allows, and not one more
    engine = engine_of(entidades=10, autoreparacion={"max_errores": 0.2})
    for number in range(2):
        engine.feed_arrays([4, 7], [1.0, 1.0], at=T0 + number, channel=1, states=[False, False])
    assert engine.tick(T0 + 4000).repairs == []


# --- windows ---------------------------------------------------------------------------------------


def test_row_of_a_window_says_what_was_in_it():
    # Given a window with known readings and one failure
    engine = engine_of(ventana=2.0)
    outcome = engine.feed_arrays([0, 1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0, 9.0], at=T0 + 100, channel=1, states=[1, 1, 1, 1, 0])
    assert len(outcome.aggregates) == 0
    # When the watermark, 2 s behind, passes its end, and not before
    assert len(engine.tick(T0 + 3999).aggregates) == 0
    row = engine.tick(T0 + 4000).aggregates[0]
    # Then the row has all of it
    assert row[["block", "canal", "window", "count", "errors", "messages"]].tolist() == (0, 1, T0, 4, 1, 5)
    assert row[["mean", "min", "max"]].tolist() == (2.5, 1.0, 4.0)
    assert row["std"] == math.sqrt(1.25)


def test_row_without_a_good_reading_has_no_mean():
    engine = engine_of()
    hear(engine, 1.0, 0, good=False)
    row = engine.finish().aggregates[0]
    assert (row["count"], row["errors"], row["fitness"]) == (0, 1, 0.0)
    assert all(math.isnan(row[name]) for name in ("mean", "min", "max", "std"))


def test_windows_stay_open_until_the_watermark_whatever_comes():
    # Given a lateness of 10 s, so that the watermark closes nothing here
    engine = engine_of(retraso_max=10.0)
    told = [(at, len(outcome.aggregates), outcome.late)
            for at, outcome in ((at, hear(engine, 1.0, at)) for at in (1500, 2500, 1600, 500, 3500, 1700, 2600))]  # fmt: skip
    # Then readings of all windows count in any order, and none closes early
    assert [(rows, late) for _, rows, late in told] == [(0, 0)] * 7
    rows = engine.finish().aggregates
    assert rows[["window", "count"]].tolist() == [(T0, 1), (T0 + 1000, 3), (T0 + 2000, 2), (T0 + 3000, 1)]
    assert not is_amending(rows).any()


def test_reading_of_a_closed_window_opens_it_again():
    # Given a clock at 10 s, a lateness of 2 s and a window whose row was given
    engine = engine_of()
    hear(engine, 1.0, 7000)
    assert len(engine.tick(T0 + 10_000).aggregates) == 1
    # When readings come whose windows end at 8 s and at 9 s, then the first amends its window, and the second is in time
    assert [hear(engine, 3.0, at).late for at in (7999, 8000)] == [0, 0]
    assert engine.tick(T0 + 11_999).aggregates["window"].tolist() == [T0 + 8000]
    # And 2 s of arrival after it was opened the amended window closes, with a row that says nothing of fitness and score
    rows = engine.tick(T0 + 12_000).aggregates
    assert rows[["window", "count", "mean"]].tolist() == [(T0 + 7000, 1, 3.0)]
    assert is_amending(rows).all() and np.isnan(rows["score"]).all()


def test_reading_older_than_what_is_kept_is_late():
    engine = engine_of()
    engine.tick(T0 + 31 * 86_400_000)
    assert [hear(engine, 1.0, at).late for at in (86_400_000 - 1, 86_400_000)] == [1, 0]
    assert engine.ledger["late"] == 1


def test_older_reading_of_a_sensor_counts_and_changes_nothing_that_it_has_learnt():
    # Given a sensor that was heard at 60 s, with a limit of 10
    engine = engine_of(limites={"alto": 10.0})
    hear(engine, 1.0, 60_000)
    before = engine.entity(0)
    # When what it measured at 20 s and 21 s comes at last
    outcomes = [hear(engine, value, at) for value, at in ((11.0, 20_000), (12.0, 20_500), (3.0, 21_000))]
    # Then all are sent on with their own times, the exceeded limit is told once for the window, and the sensor is as it was
    sent = [each.messages[["valor", "time"]].tolist() for each in outcomes]
    assert sent == [[(11.0, T0 + 20_000)], [(12.0, T0 + 20_500)], [(3.0, T0 + 21_000)]]
    assert [[kind_name(kind) for kind in kinds(each)] for each in outcomes] == [["late"], [], []]
    assert engine.entity(0) == before
    rows = engine.finish().aggregates
    assert rows[["window", "count", "max"]].tolist() == [(T0 + 20_000, 2, 12.0), (T0 + 21_000, 1, 3.0), (T0 + 60_000, 1, 1.0)]


def test_sensor_whose_readings_waited_is_folded_whole_in_its_own_order():
    # Given two sensors, one of them heard at 60 s
    engine = engine_of(entidades=2)
    hear(engine, 1.0, 60_000)
    # When the readings of the other come, of 20 s to 30 s, then they teach it what it is, as if they had come in time
    for second in range(10):
        hear(engine, float(second), 20_000 + 1000 * second, id=1)
    assert engine.entity(1)["warm_up"] > 0 and engine.entity(1)["valor"] == 9.0


def test_clock_that_is_set_back_closes_what_is_open_and_lets_the_present_count():
    # Given an engine that a wrong clock has led ten years ahead
    engine = engine_of(silencio_max=60)
    ahead = 10 * 365 * 86_400_000
    hear(engine, 1.0, ahead)
    # When the clock is put right
    outcome = engine.set_clock(T0)
    assert outcome.aggregates["window"].tolist() == [T0 + ahead] and engine.clock == T0
    # Then what is measured now counts, in rows of its own, and nobody is silent before a minute has passed
    assert hear(engine, 2.0, 100).late == 0
    assert len(engine.tick(T0 + 59_000).alerts) == 0
    assert engine.tick(T0 + 63_000).alerts["kind"].tolist() == [3]


def test_clock_that_is_set_forward_makes_nobody_silent():
    engine = engine_of(silencio_max=60)
    hear(engine, 1.0, 0)
    outcome = engine.set_clock(T0 + 86_400_000)
    assert (len(outcome.aggregates), len(outcome.alerts)) == (1, 0)
    assert len(engine.tick(T0 + 86_400_000 + 59_000).alerts) == 0


def test_every_window_length_has_its_own_grid():
    # Given windows of 300 ms and of an hour
    for length, at, start in ((0.3, 1234, 1234 - (T0 + 1234) % 300), (3600.0, 1234, -T0 % -3_600_000)):
        engine = engine_of(ventana=length)
        hear(engine, 1.0, at)
        assert engine.finish().aggregates["window"] == T0 + start


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=60), st.sampled_from([0.1, 1.0, 7.0]), st.sampled_from([0.0, 2.0]))
def test_every_reading_is_in_one_row(times, length, lateness):
    # Given readings in any order
    engine, rows, late = engine_of(ventana=length, retraso_max=lateness), [], 0
    for at in times:
        outcome = hear(engine, 1.0, at)
        rows.append(outcome.aggregates)
        late += outcome.late
    rows = np.concatenate([*rows, engine.finish().aggregates])
    # Then each is in one row, and of each window one row at most does not amend
    assert (rows["count"].sum(), late) == (len(times), 0)
    first = rows[~is_amending(rows)]
    assert len(np.unique(first["window"])) == len(first)
