"""What became of readings whose time is not that of their arrival: each case lost some of them once."""
import time

import numpy as np
import pytest

from corec._core import dtypes
from corec._core.wire import encode_frames, pack_envelope
from corec.engine import Engine
from corec.engine.outcome import is_amending, kind_name
from tests.support.twin import Twin, envelope

T0 = 1_700_000_000_000
CONFIG = {"modules": ["registro"], "bloques": [{"id": "a", "canal": 1, "entidades": 1000, "limites": {"alto": 50.0}}]}


def batch(ids, values, *, at, arrival, offsets=None, producer=1, sequence=0):
    """(envelope, arrival) of readings on channel 1."""
    frames = encode_frames(np.asarray(ids, np.uint32), 1, np.asarray(values, np.float32), 1)
    offsets = None if offsets is None else np.asarray(offsets, np.int32)
    return pack_envelope(frames, producer=producer, epoch=1, sequence=sequence, time=at, offsets=offsets), arrival


def told(outcomes):
    """(entity, kind) of every alert."""
    return [(int(alert["id"]), kind_name(int(alert["kind"]))) for outcome in outcomes for alert in outcome.alerts]


def rows_of(engine, outcomes):
    return np.concatenate([*(outcome.aggregates for outcome in outcomes), engine.finish().aggregates])


def nothing_is_lost(engine, readings):
    assert (engine.ledger["in"], engine.ledger["late"], engine.ledger["rejected"]) == (readings, 0, 0)


def test_one_clock_that_is_ahead_harms_no_other_sensor():
    for ahead in (2_000, 3_000, 9_000):
        # Given seven sensors whose clocks are right, the first of them above its limit at last, and one whose clock is ahead
        engine, outcomes = Engine(CONFIG), []
        for second in range(10):
            now = T0 + 1000 * second
            values = [99.0 if second == 5 and id == 0 else 1.0 for id in range(7)]
            outcomes.append(engine.turn([batch([7], [1.0], at=now + ahead, arrival=now, producer=7, sequence=second),
                                         batch(range(7), values, at=now, arrival=now + 5, sequence=7 * second)]))  # fmt: skip
        # Then all count in first rows, and the limit is told
        nothing_is_lost(engine, 80)
        assert told(outcomes) == [(0, "high")]
        rows = rows_of(engine, outcomes)
        assert rows["count"].sum() == 80 and not is_amending(rows).any()


def test_a_file_of_the_last_minute_counts_whole():
    # Given a node at work, and readings of another sensor's last minute that come at once
    engine = Engine(CONFIG)
    outcomes = [engine.turn([batch([1], [1.0], at=T0 + 1000 * second, arrival=T0 + 1000 * second, sequence=second)])
                for second in range(60)]  # fmt: skip
    values = [99.0 if second == 30 else 1.0 for second in range(31)]
    outcomes.append(engine.turn([batch([2] * 31, values, at=T0, offsets=range(0, 31_000, 1000), arrival=T0 + 60_000, producer=2)]))
    # Then all of them count, and the exceeded limit is told
    nothing_is_lost(engine, 91)
    assert told(outcomes) == [(2, "high")]
    assert rows_of(engine, outcomes)["count"].sum() == 91


def test_an_upload_that_is_ordered_by_sensor_counts_whole():
    # Given 100 sensors with a reading a second for 100 s, sent sensor by sensor
    engine, values = Engine(CONFIG), np.linspace(0, 10, 100)
    outcomes = [engine.turn([batch([sensor] * 100, values, at=T0, offsets=range(0, 100_000, 1000), arrival=T0 + 100_000 + sensor,
                                   sequence=100 * sensor)]) for sensor in range(100)]  # fmt: skip
    # Then every reading is in a row of its second, and each sensor has learnt from all of its own
    nothing_is_lost(engine, 10_000)
    rows = rows_of(engine, outcomes)
    seconds, group = np.unique(rows["window"], return_inverse=True)
    assert np.bincount(group, rows["count"]).tolist() == [100.0] * 100 and len(seconds) == 100
    assert all(engine.entity(sensor)["valor"] == np.float32(10.0) for sensor in range(100))


def test_many_readings_of_two_seconds_in_turns_are_folded_at_once():
    # Given 100,000 readings of two seconds, one of each in turns, and the same in order
    ids, times = np.arange(100_000) % 1000, np.arange(100_000) % 2 * 1000
    spent = {}
    for name, offsets in (("mixed", times), ("sorted", np.sort(times))):
        tries = []
        for _ in range(3):
            engine, given = Engine(CONFIG), batch(ids, np.ones(100_000), at=T0, offsets=offsets, arrival=T0 + 1500)
            began = time.perf_counter()
            engine.turn([given])
            tries.append(time.perf_counter() - began)
            nothing_is_lost(engine, 100_000)
        spent[name] = min(tries)
    # Then mixed ones cost at most three times as much
    assert spent["mixed"] < 3 * spent["sorted"] + 0.01, spent


def test_what_waited_for_a_day_counts_and_what_is_ahead_is_put_aside_alone():
    # Given a batch with a reading of a day ago, one of now, one of a minute ahead and one of two days ago
    engine = Engine(CONFIG)
    day = 86_400_000
    outcome = engine.turn([batch([0, 1, 2, 3], [1.0] * 4, at=T0, offsets=[-day, 0, 60_000, -2 * day], arrival=T0)])
    # Then the impossible ones alone are put aside
    assert outcome.rejected == {"skew": 2} and [len(each.frames) for each in outcome.aside] == [20]
    assert rows_of(engine, [outcome])["count"].sum() == 2


def test_what_was_held_on_its_way_is_not_too_old():
    # Given batches of 25 h ago and of 49 h ago that were held for a day, and one that says nothing
    twin, hour = Twin(CONFIG), 3_600_000
    for producer, (hours, age, skewed) in enumerate([(25, 24, False), (49, 24, True), (25, 0, True), (24 * 29, 24 * 30, False)], 1):
        given = envelope([producer], [1.0], at=T0 - hours * hour, arrival=T0, age=age * hour, producer=producer)
        # Then its age excuses what it explains, and no more, and moves no clock
        assert twin.turn([given]).rejected == ({"skew": 1} if skewed else {})
        assert twin.engine.clock == T0
    # And reading by reading: of a batch that was held for an hour, those of a day and half an hour before count
    offsets = [-25 * hour - 1, -25 * hour, 0]
    outcome = twin.turn([envelope([5, 6, 7], [1.0] * 3, at=T0, arrival=T0, offsets=offsets, age=hour, producer=9)])
    assert outcome.rejected == {"skew": 1}
    # And no age excuses what is ahead
    assert twin.turn([envelope([8], [1.0], at=T0 + 11_000, arrival=T0, age=hour, producer=10)]).rejected == {"skew": 1}
    twin.finish()


def behind(twin, ahead):
    """What a clock that is *ahead* ms behind makes of two batches: one right, one whose device is an hour ahead besides."""
    return twin.turn([envelope([1, 2, 3], [1.0, 99.0, 3.0], at=T0 + ahead, arrival=T0, offsets=[0, -1000, 20], producer=1),
                      envelope([4, 5], [4.0, 5.0], at=T0 + ahead, arrival=T0 + 500, offsets=[3_600_000, 0], producer=2),
                      envelope([6], [6.0], at=T0 + ahead, arrival=T0 + 600, producer=0, epoch=0)])  # fmt: skip


@pytest.mark.parametrize("ahead", [60_000, 3 * 365 * 86_400_000])
def test_what_was_ahead_of_a_clock_that_was_behind_is_folded_when_it_is_put_right(ahead):
    # Given an engine whose clock is behind: what devices with right clocks send is refused as ahead
    twin = Twin(CONFIG)
    assert behind(twin, ahead).rejected == {"skew": 6}
    # When the clock is put right, half of it at first
    half = ahead // 2
    outcome = twin.turn([], commands=[{"op": "clock", "to": T0 + 1000 + half, "offset": half}])
    assert outcome.recovered == 0 and not outcome.rejected
    outcome = twin.turn([], commands=[{"op": "clock", "to": T0 + 2000 + ahead, "offset": ahead}])
    # Then it counts, its limit is told, and the account of each producer says so; the device that is ahead stays refused
    assert (outcome.recovered, outcome.rejected) == (5, {})
    assert told([outcome]) == [(2, "high")]
    ledger = twin.engine.ledger
    assert (ledger["in"], ledger["stored"] + ledger["filtered"], ledger["rejected_skew"]) == (6, 5, 1)
    assert [(twin.engine.marks.account(each, 1).taken, twin.engine.marks.account(each, 1).skew) for each in (1, 2)] == [(3, 0), (1, 1)]
    # And another step folds nothing twice
    assert twin.turn([], commands=[{"op": "clock", "to": T0 + 3000 + 2 * ahead, "offset": 2 * ahead}]).recovered in (0, 1)
    twin.finish()


def test_readings_that_were_ahead_are_part_of_a_snapshot():
    # Given an engine that keeps some, When it is restored, then both fold the same
    twin, commands = Twin(CONFIG), [{"op": "clock", "to": T0 + 60_000, "offset": 60_000}]
    behind(twin, 60_000)
    again = Engine.restore(twin.engine.snapshot())
    assert again.turn([], commands=commands).recovered == twin.turn([], commands=commands).recovered == 5
    assert again.snapshot() == twin.engine.snapshot()


def test_readings_that_are_ahead_are_kept_within_a_bound():
    # Given a device that is ahead for long, and one batch that is larger than all that is kept
    twin = Twin(CONFIG)
    for number in range(40):
        twin.turn([envelope(range(1000), np.ones(1000), at=T0 + 60_000 + number, arrival=T0, sequence=1000 * number)])
    twin.turn([envelope(np.arange(33_000) % 1000, np.ones(33_000), at=T0 + 60_000, arrival=T0, producer=2)])
    # When the clock is put right, then the newest are folded, and the others stay counted as refused
    assert twin.turn([], commands=[{"op": "clock", "to": T0 + 60_000, "offset": 60_000}]).recovered == 32_000
    assert twin.engine.ledger["rejected_skew"] == 41_000


def test_pool_of_windows_is_bounded_and_loses_nothing():
    # Given a sensor whose 200 readings are each of another second, the newest first
    engine, outcomes = Engine(CONFIG), []
    for back in range(200):
        outcomes.append(engine.turn([batch([0], [1.0], at=T0 - 1000 * back, arrival=T0, sequence=back)]))
        assert len(engine.arena.pool) <= 62
    # Then each is in a row
    nothing_is_lost(engine, 200)
    assert rows_of(engine, outcomes)["count"].sum() == 200


def test_open_windows_are_part_of_a_snapshot():
    # Given an engine with amended windows and a sensor that is out of order
    engine = Engine(CONFIG)
    engine.turn([batch([0, 1], [1.0, 2.0], at=T0, arrival=T0)])
    for sequence, back in enumerate((30, 20, 25)):
        engine.turn([batch([0], [float(back)], at=T0 - 1000 * back, arrival=T0 + 10, sequence=sequence, producer=2)])
    # When it is restored, then both go on alike
    again = Engine.restore(engine.snapshot())
    for each in (engine, again):
        each.turn([batch([0], [60.0], at=T0 - 20_000, arrival=T0 + 20, sequence=0, producer=3)])
    one, other = engine.finish(), again.finish()
    assert one.aggregates.tobytes() == other.aggregates.tobytes() and len(one.aggregates) == 4
    assert engine.snapshot() == again.snapshot()


def test_windows_put_back_are_as_many_as_a_block_may_have():
    # Given an arena of one block, whose pool has room for what one block may have and no more
    arena = Engine(CONFIG).arena
    window = np.zeros(1, dtypes.POOL)
    arena.restore_pool(np.repeat(window, dtypes.BLOCK_WINDOWS))
    # When a snapshot has one window more, then it is refused instead of written behind the pool
    with pytest.raises(IndexError):
        arena.restore_pool(np.repeat(window, dtypes.BLOCK_WINDOWS + 1))


def test_windows_wait_an_hour_and_those_beyond_the_bound_are_amended():
    # Given windows of a second that wait for an hour, and readings of half an hour, some of which come half an hour late
    twin, rows, dice = Twin(CONFIG | {"retraso_max": 3600, "max_adelanto": 1}), [], np.random.default_rng(10)
    for second in range(0, 1800, 3):
        now = T0 + 1000 * second
        back = -int(dice.integers(0, 1000 * second + 1))
        offsets = [back, back // 100, 0, 0, -20]
        outcome = twin.turn([envelope(range(5), np.ones(5), at=now, offsets=offsets, arrival=now, sequence=5 * second)])
        rows.append(outcome.aggregates)
        assert len(twin.engine.arena.pool) <= 62
    # Then windows close when 64 newer ones are open, and nothing is lost
    assert twin.engine.ledger["late"] == twin.engine.ledger["rejected"] == 0
    first = np.concatenate(rows)
    first = first[~is_amending(first)]
    assert len(first) > 400 and first["window"].max() < T0 + 1_800_000 - 60_000
    rows.append(twin.finish().aggregates)
    assert sum(int(part["count"].sum()) for part in rows) == 3000


def test_a_jump_of_the_time_given_to_feed_is_said():
    # Given an engine that is fed at the present
    twin, frames = Twin(CONFIG), encode_frames(np.array([1], np.uint32), 1, np.ones(1, np.float32), 1)
    day = 86_400_000
    assert twin.feed(frames, at=T0).clock_jump == 0
    # When it is fed a day later, and a day before, then that is no jump; a millisecond more is one
    assert twin.feed(frames, at=T0 + day).clock_jump == 0
    assert twin.feed(frames, at=T0).clock_jump == 0
    assert twin.feed(frames, at=T0 - 1).clock_jump == -day - 1
    assert twin.feed(frames, at=T0 + 2 * day + 1).clock_jump == day + 1
    assert twin.feed_arrays([1], [1.0], at=T0 + 9 * day, channel=1).clock_jump == 7 * day - 1
