"""corec.Engine: the ways in are one way, bad input is counted or refused, turns replay bit for bit."""
import itertools
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corec
from corec._core.wire import encode_frames
from corec.config import parse
from corec.engine import Engine
from corec.engine.producer_marks import MOST_PRODUCERS, Marks
from corec.errors import ConfigError, FrameError, UsageError
from tests.support.fleet import FLEET, STEPPED, entry
from tests.support.turns import run, turns_of, values
from tests.support.twin import T0, Twin, check_ledger, envelope, same_outcome, same_state

CONFIG = {"bloques": [entry(entidades=3000, limites={"alto": 3.0}, silencio_max=5)]}
IDS = np.arange(500)


# --- the ways in -----------------------------------------------------------------------------------


def test_twelve_lines_of_the_readme_work(tmp_path):
    # Given a configuration in a file, as users have it
    (tmp_path / "corec_config.json").write_text(json.dumps(CONFIG))
    engine = corec.Engine(tmp_path / "corec_config.json")
    # When frames and arrays are fed, then the outcome has what the documentation names
    outcome = engine.feed(encode_frames(IDS, 1, values(), 1), at=T0, load=0.2)
    assert (len(outcome.messages), len(outcome.aggregates), outcome.rejected, outcome.late) == (500, 0, {}, 0)
    assert not outcome.empty
    assert engine.tick(T0 + 4000).aggregates.dtype.names == (
        "block", "canal", "window", "count", "mean", "min", "max", "std", "errors", "messages", "fitness", "score")  # fmt: skip
    assert engine.block_ids == ("a/0", "a/1", "a/2")
    assert corec.Engine.restore(engine.snapshot()).ledger == engine.ledger


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda frames: np.frombuffer(frames, np.uint8),
                                  lambda frames: np.frombuffer(frames, np.dtype("i1"))])  # fmt: skip
def test_anything_with_bytes_in_it_is_frames(kind):
    engine = Engine(CONFIG)
    assert len(engine.feed(kind(encode_frames(IDS, 1, values(), 1)), at=T0).messages) == 500


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100), st.integers(0, 700), st.sampled_from([0, 1, 64, 255]))
def test_frames_arrays_and_turns_are_one_way_in(seed, ahead, load_q):
    # Given the same readings as frames, as arrays and as an envelope of no producer, which leaves no mark, twice
    engines, ids = [Engine(CONFIG) for _ in range(3)], np.random.default_rng(seed).integers(0, 3100, 400)
    states = np.random.default_rng(seed + 1).random(400) > 0.05
    for number in range(2):
        x, at, load = values(seed + number, 400), T0 + number * ahead, load_q / 255
        outcomes = [
            engines[0].feed(encode_frames(ids, 1, x, states), at=at, load=load),
            engines[1].feed_arrays(ids, x, at=at, channel=1, states=states, load=load),
            engines[2].turn([envelope(ids, x, at=at, states=states, producer=0, epoch=0)], load_q=load_q),
        ]
        # Then they give the same
        same_outcome(outcomes[0], outcomes[1])
        same_outcome(outcomes[0], outcomes[2])
    # And leave the same behind
    assert same_state(engines[0], engines[1])
    assert same_state(engines[0], engines[2])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 9))
def test_where_a_turn_is_cut_makes_no_difference(cuts, seed):
    # Given a turn of 12 batches
    batches = [envelope(np.arange(900), values(seed + number, 900), at=T0 + 170 * number, sequence=900 * number) for number in range(12)]
    whole, cut = Engine(CONFIG), Engine(CONFIG)
    expected = whole.turn(batches, load_q=9, tick=T0 + 9000)
    # When they are folded a few at a time
    cut.begin_turn(9)
    rest = iter(batches)
    for count in cuts:
        cut.fold_batches(itertools.islice(rest, count))
    cut.fold_batches(rest)
    # Then the turn is the same
    same_outcome(cut.end_turn(T0 + 9000), expected)
    assert same_state(whole, cut)


def test_times_of_one_second_are_one_batch():
    # Given readings with times of their own, within a second and each in order
    one, many, times = Engine(CONFIG), Engine(CONFIG), T0 + np.array([10, 10, 300, 999])
    together = one.feed_arrays([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0], at=times, channel=1)
    # When they are fed one by one at the time of the last, with offsets of none, then only the messages' times differ
    for id, at in zip([1, 2, 3, 4], times.tolist(), strict=True):
        many.feed_arrays([id], [float(id)], at=np.array([at]), channel=1)
    assert together.messages["time"].tolist() == times.tolist()
    assert same_state(one, many)


def test_ticks_step_native_functions_when_they_are_due():
    # Given functions of 1 s and of 3 s
    ticked = Engine(STEPPED)
    counts = [ticked.tick(T0 + 500 * number) and ticked.ledger["in"] for number in range(1, 9)]
    # Then each steps at its own pace: 4,215 entities at first, 100 of them every third second only
    assert np.diff([0, *counts]).tolist() == [4315, 0, 4215, 0, 4215, 0, 4315, 0]


def test_readings_and_steps_of_one_entity_do_not_disturb_each_other():
    # Given a stepped block that also gets readings
    twin = Twin(STEPPED)
    for number in range(20):
        twin.tick(T0 + 700 * number)
        twin.feed_arrays([0, 2506, 2507, 50_000], [1.0, 2.0, 3.0, 4.0], at=T0 + 700 * number + 1, channel=1)
    twin.finish()


@pytest.mark.parametrize(("given", "load"), [(0.5, 128), (0.0, 0), (1.0, 255), (1.5, 255), (-1.0, 0), (0.001, 0), (1 / 255, 1)])
def test_load_is_kept_in_255_steps(given, load):
    # Given any load, then a turn record can give back exactly what was used
    one, other = Engine(CONFIG), Engine(CONFIG)
    one.feed_arrays(IDS, values(), at=T0, channel=1, load=given)
    other.feed_arrays(IDS, values(), at=T0, channel=1, load=load / 255)
    assert one.load == other.load == load / 255
    assert one.arena.policies["gain"].tolist() == other.arena.policies["gain"].tolist()


def test_messages_and_alerts_come_in_the_order_of_the_readings():
    # Given readings that all leave, failures among them, over more entities than are folded at once
    engine = Engine(CONFIG)
    ids = np.random.default_rng(1).permutation(3000)
    states = np.random.default_rng(2).random(3000) > 0.1
    # When they are fed, then messages come as they came
    outcome = engine.feed_arrays(ids, np.full(3000, 5.0), at=T0, channel=1, states=states)
    assert outcome.messages["id"].tolist() == ids.tolist()
    assert outcome.messages["estado"].tolist() == states.tolist()
    assert outcome.alerts["id"].tolist() == ids[states].tolist()


def test_more_messages_than_the_outlet_holds_are_all_given():
    # Given 100,000 readings that leave, three times the outlet's room
    engine = Engine({"bloques": [entry(entidades=100_000)]})
    ids = np.arange(100_000)
    outcome = engine.feed_arrays(ids, ids, at=T0, channel=1)
    assert outcome.messages["id"].tolist() == ids.tolist()


# --- bad input -------------------------------------------------------------------------------------


def frame(id=0, canal=1, valor=1.0, estado=1):
    return struct.pack("!IbfB", id, canal, valor, estado)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [(frame(estado=2), "malformed"), (frame(estado=255), "malformed"), (frame(id=3000), "id"), (frame(id=2**32 - 1), "id"),
     (frame(canal=2), "channel"), (frame(canal=-1), "channel"), (frame(canal=-128), "channel"), (frame(canal=0), "channel"),
     (frame(id=3000, canal=2), "id"), (frame(id=3000, canal=2, estado=3), "malformed")],
)  # fmt: skip


def test_bad_frame_is_counted_by_its_cause_and_harms_no_other(bad, cause):
    # Given a bad frame between good ones
    engine = Engine(CONFIG)
    outcome = engine.feed(frame(0) + bad + frame(1), at=T0)
    # Then it is counted, and the others are folded
    assert outcome.rejected == {cause: 1}
    assert outcome.messages["id"].tolist() == [0, 1]
    assert engine.ledger["rejected"] == engine.ledger[f"rejected_{cause}"] == 1
    check_ledger(engine.ledger)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.1e18, -3.4e38])
def test_value_that_is_none_is_a_failure_not_a_rejection(value):
    engine = Engine(CONFIG)
    outcome = engine.feed(frame(valor=value), at=T0)
    assert outcome.rejected == {}
    assert outcome.messages[["id", "estado"]].tolist() == [(0, False)]
    assert engine.finish().aggregates["errors"].tolist() == [1]


@pytest.mark.parametrize("length", [1, 9, 11, 25])
def test_torn_frames_change_nothing(length):
    # Given an engine with an open window
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    for each in (engine, twin):
        each.feed(frame(), at=T0)
    # When torn frames come with a time that would close it
    with pytest.raises(FrameError, match="HINT: a frame is struct"):
        engine.feed(bytes(length), at=T0 + 60_000)
    # Then time has not moved, and the window's row still comes
    assert same_state(engine, twin)
    same_outcome(engine.tick(T0 + 60_000), twin.tick(T0 + 60_000))


@pytest.mark.parametrize("at", [-1, 2**53, 2**63])
def test_time_that_is_none_is_refused(at):
    engine = Engine(CONFIG)
    for call in (lambda: engine.feed(frame(), at=at), lambda: engine.tick(at), lambda: engine.step(at),
                 lambda: engine.feed_arrays([0], [1.0], at=at, channel=1)):  # fmt: skip
        with pytest.raises(FrameError) as caught:
            call()
        assert f"expected a time in milliseconds since 1970, got {at}" in str(caught.value)
        assert "HINT: 1_700_000_000_000 is in November 2023" in str(caught.value)
    assert engine.ledger["in"] == 0


@pytest.mark.parametrize("columns", [{"values": [1.0]}, {"states": [1]}, {"at": T0 + np.arange(3)}, {"ids": [[1, 2]]}])
def test_columns_of_different_lengths_are_refused_before_anything_is_folded(columns):
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    good = {"ids": [1, 2], "values": [1.0, 2.0], "states": [1, 1], "at": T0}
    with pytest.raises(FrameError, match="expected one value, state and time for each id"):
        engine.feed_arrays(**good | columns, channel=1)
    assert same_state(engine, twin)


def test_no_readings_are_no_error():
    engine = Engine(CONFIG)
    for outcome in (engine.feed(b"", at=T0), engine.feed_arrays([], [], at=T0, channel=1), engine.turn([envelope([], [], at=T0)]),
                    engine.feed_arrays([], [], at=np.array([], int), channel=1)):  # fmt: skip
        assert outcome.empty
    assert engine.ledger["in"] == 0


@pytest.mark.parametrize("at", [0, 1_000_000_000_000, 4_070_908_800_000, -(2**62), 2**62])
def test_batches_of_1970_and_2099_are_put_aside(at):
    # Given a node at work, and a device whose clock is far off
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    for each in (engine, twin):
        each.turn([envelope(IDS, values(), at=T0)])
    # When its batch arrives
    outcome = engine.turn([envelope([0, 1], [1.0, 2.0], at=at, producer=9, arrival=T0 + 1)])
    # Then it is kept as it came, counted, and moves no clock
    assert outcome.rejected == {"skew": 2}
    assert outcome.aside == [(at, T0 + 1, encode_frames([0, 1], 1, [1.0, 2.0], 1), "skew")]
    assert (engine.clock, engine.ledger["rejected_skew"]) == (T0 + 1, 2)
    # And the others go on as if it had not been there
    same_outcome(engine.turn([envelope(IDS, values(1), at=T0 + 1000, sequence=500)]),
                 twin.turn([envelope(IDS, values(1), at=T0 + 1000, sequence=500)]))  # fmt: skip


@pytest.mark.parametrize(("off", "aside"), [(-86_400_000, False), (-86_400_001, True), (10_000, False), (10_001, True)])
def test_skew_is_bounded_behind_and_ahead(off, aside):
    # Given the default bounds, a day behind and 10 s ahead of the arrival
    engine = Engine(CONFIG)
    for offsets in (None, np.array([0, off], np.int32)):
        batch = envelope([0, 1], [1.0, 2.0], at=T0 if offsets is not None else T0 + off, offsets=offsets, arrival=T0,
                         producer=int(offsets is None))  # fmt: skip
        # Then a batch at the bound counts, and one beyond is put aside whole
        assert bool(engine.turn([batch]).aside) == aside
    check_ledger(engine.ledger)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 147).map(lambda place: place), st.integers(0, 255))
def test_damaged_batch_is_counted_and_nothing_else(damage, value):
    # Given bytes that are no batch, or a batch with one byte changed
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    sound, _ = envelope(np.arange(10), np.arange(10), at=T0)
    data = damage if isinstance(damage, bytes) else sound[:damage] + bytes([sound[damage] ^ (value or 1)]) + sound[damage + 1 :]
    outcome = engine.turn([(data, T0)])
    # Then one thing was refused, and the state is what it was
    assert outcome.rejected == {"malformed": 1}
    assert engine.ledger == {**twin.ledger, "in": 1, "rejected": 1, "rejected_malformed": 1}
    assert same_state(engine, twin)


def test_sequence_that_runs_out_is_refused_and_snapshots_go_on():
    # Given a batch whose readings are numbered beyond 64 bits
    engine = Engine(CONFIG)
    assert engine.turn([envelope([0, 1], [1.0, 2.0], at=T0, sequence=2**64 - 1)]).rejected == {"malformed": 2}
    # Then the marks still fit into a snapshot
    assert len(engine.turn([envelope([0], [1.0], at=T0, sequence=2**64 - 2)]).messages) == 1
    assert same_state(Engine.restore(engine.snapshot()), engine)


def test_configuration_that_is_none_is_refused():
    with pytest.raises(ConfigError):
        Engine({"bloques": [{"id": "a"}]})
    with pytest.raises(ConfigError):
        Engine("no/such/folder")


def test_unknown_id_of_a_question_is_a_key_error():
    engine = Engine(CONFIG)
    for ask in (engine.entity, engine.locate):
        with pytest.raises(KeyError):
            ask(3000)


# --- producers that send again ---------------------------------------------------------------------


def test_batch_sent_again_counts_once():
    engine = Engine(CONFIG)
    batch = envelope(IDS, values(), at=T0)
    engine.turn([batch])
    outcome = engine.turn([batch, batch])
    assert (outcome.rejected, len(outcome.messages)) == ({"repeated": 1000}, 0)
    assert engine.finish().aggregates["count"].tolist() == [500]


def test_part_of_a_batch_sent_again_counts_once():
    # Given readings 0..9, then 5..14 with times of their own
    engine = Engine(CONFIG)
    engine.turn([envelope(np.arange(10), np.arange(10), at=T0)])
    outcome = engine.turn([envelope(np.arange(5, 15), np.full(10, 9.0), at=T0 + 10, sequence=5, offsets=np.arange(10, dtype=np.int32))])
    # Then the first five are repeats, and the others keep their own times
    assert outcome.rejected == {"repeated": 5}
    assert outcome.messages[["id", "time"]].tolist() == [(id, T0 + 10 + id - 5) for id in range(10, 15)]


def test_batches_without_a_number_are_never_repeats():
    # Given a batch of producer 0 and epoch 0, which bare frames of small devices travel in
    twin = Twin(FLEET)
    batch = envelope([1, 2, 3], [1, 2, 3], at=T0, producer=0, epoch=0)
    # When it comes twice
    twin.turn([batch])
    outcome = twin.turn([batch])
    # Then both count
    assert (outcome.rejected, twin.engine.ledger["in"]) == ({}, 6)


def test_cursor_of_a_log_survives_in_snapshots():
    # Given an engine that was told what was read of two streams
    engine = Engine(CONFIG)
    engine.turn([], commands=[{"op": "read", "runs": [], "cursor": {"a": "5-0"}}])
    engine.turn([], commands=[{"op": "read", "runs": [], "cursor": {"b": "7-1"}}])
    # Then a restored one knows both
    assert Engine.restore(engine.snapshot()).cursor == {"a": "5-0", "b": "7-1"}


def test_gaps_are_counted_and_another_epoch_starts_anew():
    # Given a producer that loses ten readings, and then boots again
    engine = Engine(CONFIG)
    engine.turn([envelope([0], [1.0], at=T0), envelope([1], [1.0], at=T0, sequence=11)])
    assert (engine.marks.gaps, engine.ledger["rejected"]) == (10, 0)
    engine.turn([envelope([2], [1.0], at=T0, epoch=2), envelope([3], [1.0], at=T0, producer=2)])
    assert engine.ledger["rejected"] == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 9)), max_size=60))
def test_marks_let_every_number_of_a_producer_pass_once(batches):
    # Given batches of three producers, any numbers
    marks, highest = Marks(), {}
    for producer, sequence, count in batches:
        repeats = marks.repeated(producer, 1, sequence, count)
        marks.settle(producer, 1, sequence, count)
        # Then what lies below the highest number seen is a repeat, and nothing else is
        expected = highest.get(producer, sequence)
        assert repeats == len([number for number in range(sequence, sequence + count) if number < expected])
        highest[producer] = max(expected, sequence + count)
    assert Marks(marks.to_list(), marks.gaps, marks.forgotten).to_list() == marks.to_list()


def test_producers_remembered_are_bounded():
    # Given one producer more than are remembered, the first of which was heard again
    marks = Marks()
    for producer in [*range(MOST_PRODUCERS), 0, MOST_PRODUCERS]:
        marks.settle(producer, 1, 0, 1)
    # Then the one heard longest ago is forgotten, and it is said
    assert (len(marks.to_list()), marks.forgotten) == (MOST_PRODUCERS, 1)
    assert [marks.repeated(producer, 1, 0, 1) for producer in (0, MOST_PRODUCERS, 1)] == [1, 1, 0]


# --- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [({"op": "destroy"}, "got 'destroy'"), ({}, "got None"), ({"op": "repair", "block": "a/9"}, "there is no block 'a/9'"),
     ({"op": "reload", "config": {"bloques": [entry(entidades=3001)]}}, "cannot change which blocks")],
)  # fmt: skip


def test_command_that_cannot_be_carried_out_is_refused(command, said):
    with pytest.raises(UsageError) as caught:
        Engine(CONFIG).check_command(command)
    assert said in str(caught.value)


def changed(**keys):
    return {"op": "reload", "config": {"retraso_max": keys.pop("retraso_max", 2.0), "bloques": [entry(entidades=3000) | keys]}}


@pytest.mark.parametrize(
    "reload",
    [changed(filtro={"umbral": 2.0, "memoria": 0.01, "latido": 3}), changed(limites={"alto": 0.5, "bajo": -0.5}), changed(ventana=10.0),
     changed(ventana=0.1), changed(ventana=3600.0), changed(ventana=0.7, retraso_max=9.0), changed(silencio_max=2, retraso_max=0.0),
     changed(filtro={"latido": 20_000}), changed(filtro={"latido": 86_400}, silencio_max=3), changed(autoreparacion={"max_errores": 0.0})],
    ids=str,
)  # fmt: skip


@pytest.mark.parametrize("keys", [{"limites": {"alto": 3.0}, "silencio_max": 5}, {"ventana": 10.0, "filtro": {"latido": 30_000}}], ids=str)
def test_reload_takes_over_as_the_oracle_says(keys, reload):
    # Given a node that works, some of whose sensors have fallen silent
    first = {"bloques": [entry(entidades=3000) | keys]}
    assert Engine(first).check_command(reload) is None
    twin, at = Twin(first), T0
    for number in range(12):
        at += 700
        commands = [reload] if number == 6 else []
        ids = np.arange(number % 3, 3000, 3)
        # When it takes over other filters, limits, windows or units of time
        twin.turn([envelope(ids, values(number, 1000), at=at - 1500 * (number % 2), sequence=1000 * number, arrival=at,
                            states=ids % 50 > number % 7)], commands=commands, tick=at)  # fmt: skip
    # Then no reading is lost for it: late is only what the lateness makes late
    twin.tick(at + 5000)
    twin.finish()


def test_reload_of_windows_loses_no_reading():
    # Given windows of a second, and an hour's from now on
    engine = Engine(CONFIG)
    rows = []
    for second in range(400):
        commands = [changed(ventana=3600.0)] if second == 100 else [changed(ventana=1.0)] if second == 300 else []
        outcome = engine.turn([envelope([0], [1.0], at=T0 + 1000 * second, sequence=second)], commands=commands)
        rows.append(outcome.aggregates)
    rows = np.concatenate([*rows, engine.finish().aggregates])
    # Then every reading is in one row, and no two rows begin at the same time
    assert engine.ledger["late"] == 0
    assert rows["count"].sum() == 400
    assert len(np.unique(rows["window"])) == len(rows)


def test_reload_of_limits_reaches_devices_without_limits_of_their_own():
    # Given two devices, one with its own limit, and an entry's limit that is lowered
    ids = {"device": [70, 90], "high": [50.0, None]}
    engine = Engine({"bloques": [entry(entidades=2, ids=ids, limites={"alto": 20.0})]})
    command = {"op": "reload", "config": {"bloques": [entry(entidades=2, ids=ids, limites={"alto": 5.0})]}}
    # When both read 10
    alerts = engine.turn([envelope([70, 90], [10.0, 10.0], at=T0)], commands=[command]).alerts
    # Then the one without a limit of its own alerts, here and in an engine restored from this one
    assert alerts[["id", "limit"]].tolist() == [(90, 5.0)]
    again = Engine.restore(engine.snapshot()).feed_arrays([70, 90], [0.0, 0.0], at=T0, channel=1)
    same_outcome(again, engine.feed_arrays([70, 90], [0.0, 0.0], at=T0, channel=1))


def test_repair_command_regenerates_what_fails():
    # Given two failing entities in a block that would bear more
    twin = Twin({"bloques": [entry(entidades=2000, autoreparacion={"max_errores": 1.0})]})
    for number in range(3):
        twin.feed_arrays([1003, 1999], [1.0, 1.0], at=T0 + number, channel=1, states=[0, 0])
    # When the block is repaired by name, and another that has nothing to repair
    outcome = twin.turn([], commands=[{"op": "repair", "block": "a/1"}, {"op": "repair", "block": "a/0"}])
    assert list(map(tuple, outcome.repairs)) == [(T0 + 2, 1, 2)]
    assert twin.engine.blocks["repairs"].tolist() == [0, 2]
    twin.check_state()


def test_other_commands_do_what_they_say():
    # Given the commands by which a node records what else happened
    twin = Twin(CONFIG)
    twin.feed_arrays(IDS, values(), at=T0, channel=1)
    twin.turn([], commands=[{"op": "shed", "readings": 7}, {"op": "advance", "to": T0 + 2500}])
    assert (twin.engine.ledger["shed"], twin.engine.clock) == (7, T0 + 2500)
    assert len(twin.turn([], commands=[{"op": "finish"}]).aggregates) == 1


@pytest.mark.parametrize("extra", [{"entidades": 1500}, {"entidades": 5, "funcion": "sine"}, {"entidades": 3, "limites": {"alto": 0.5},
                                   "ids": {"device": [5_000_000], "high": [None]}}], ids=str)  # fmt: skip
def test_block_attached_while_running_is_as_if_it_had_been_there(extra):
    # Given a fleet with devices and limits of their own, at work
    twin = Twin(FLEET)
    twin.feed_arrays([7_000_000, 9_000_001], [0.0, 0.0], at=T0, channel=3)
    # When a block is attached
    twin.turn([], commands=[{"op": "attach", "entry": {"id": "late", "canal": 4} | extra}])
    assert twin.engine.block_ids[-1].startswith("late/")
    # Then it takes readings and steps, and the devices have kept their limits
    outcome = twin.feed_arrays([7_000_000, 9_000_001], [9.0, 9.0], at=T0 + 10, channel=3)
    assert outcome.alerts["limit"].tolist() == [3.0, 2.0]
    twin.feed_arrays([4925, 4929, 5_000_000], [1.0, 2.0, 3.0], at=T0 + 20, channel=4)
    twin.tick(T0 + 5000)
    # And so it does in an engine restored from there
    twin.engine = Engine.restore(twin.engine.snapshot())
    twin.feed_arrays([4925, 5_000_000, 7_000_000], [1.0, 2.0, 9.0], at=T0 + 5000, channel=4)
    twin.finish()


# --- turns replay ----------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_turns_fold_as_the_oracle_says(seed):
    # Given any turns, then rows, messages, alerts, ledger and state are the oracle's after each
    twin = Twin(FLEET)
    run(twin, turns_of(seed))
    twin.finish()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_committed_turns_replay_bit_for_bit(seed):
    # Given a node's turns, with a snapshot on its way through all of them, handed on a little at a time
    turns, live, replayed = turns_of(seed), Engine(FLEET), Engine(FLEET)
    outcomes = []
    for number, turn in enumerate(turns):
        if number % 3 == 0:
            live.snapshot_begin()
        outcomes.append(live.turn(**turn))
        list(live.snapshot_segments(1))
    # When the turn records are folded again by an engine that never took one
    for outcome, again in zip(outcomes, run(replayed, turns), strict=True):
        # Then every turn gives the same again, in the same order
        same_outcome(again, outcome)
    assert same_state(live, replayed)


def test_repair_does_not_hang_on_a_running_snapshot():
    # Given a sick block whose window closes in the midst of a turn of 33,000 messages, more than the outlet holds
    outcomes = []
    for snapshot in (False, True):
        engine = Engine({"retraso_max": 0.1, "bloques": [entry(entidades=60_000, ventana=0.1)]})
        engine.feed_arrays(np.arange(60_000), np.zeros(60_000), at=T0, channel=1)
        for _ in range(3):
            engine.feed_arrays(np.arange(100), np.zeros(100), at=T0, channel=1, states=np.zeros(100))
        engine.feed_arrays([500], [0.0], at=T0 + 100, channel=1)
        if snapshot:
            engine.snapshot_begin()
        # When one of its entities is heard just where a running snapshot moves the stops of the fold
        ids = np.concatenate([[500], np.arange(1000, 32_970), [0], np.arange(33_000, 34_000)])
        outcomes.append((engine.feed_arrays(ids, np.full(len(ids), 7.0), at=T0 + 200, channel=1), engine))
    # Then both repaired at the same moment
    (one, first), (other, second) = outcomes
    same_outcome(one, other)
    assert len(one.repairs) == 1
    assert same_state(first, second)


def test_parsed_configuration_and_mapping_are_one():
    # Given the mapping that a snapshot keeps, then it is the same engine's
    assert parse(parse(FLEET).to_mapping()).digest == parse(FLEET).digest
    turns = turns_of(1)
    one, other = Engine(FLEET), Engine(parse(FLEET).to_mapping())
    for outcome, again in zip(run(one, turns), run(other, turns), strict=True):
        same_outcome(outcome, again)


REGISTERED = {"id": "late", "canal": 4, "entidades": 1500, "entidades_por_bloque": 1500, "max_size_mb": 3, "ids": 2**31, "registrado": True}


def test_detached_block_is_nobody_until_it_comes_again():
    # Given a registered block at work, asleep in part, and a snapshot on its way
    twin, ids = Twin(CONFIG), 2**31 + np.arange(0, 1500, 3)
    twin.turn([], commands=[{"op": "attach", "entry": REGISTERED}])
    twin.feed_arrays(ids, values(n=500), at=T0, channel=4, states=np.arange(500) % 9 > 0)
    twin.engine.snapshot_begin(whole=True)
    # When it is detached, Then its ids are nobody's, its window closes as any other, and its memory is given back
    twin.turn([], commands=[{"op": "detach", "block": "late"}])
    assert twin.feed_arrays(ids, values(n=500), at=T0 + 100, channel=4).rejected == {"id": 500}
    assert twin.tick(T0 + 5000).aggregates["count"].tolist() == [444]
    assert sorted(twin.engine.arena.frozen) == [3, 4]
    assert not twin.engine.arena.tiles[3:]["state"].any()
    # And so it is where the snapshot is restored, and however long it stays away
    twin.engine = Engine.restore(twin.engine.snapshot())
    assert twin.tick(T0 + 9_000_000).alerts.tolist() == []
    # When it comes again, Then it has the ids and what its entities had learned
    twin.turn([], commands=[{"op": "attach", "entry": REGISTERED}])
    twin.feed_arrays(ids, values(1, 500), at=T0 + 9_000_100, channel=4)
    twin.feed_arrays([7], [1.0], at=T0 + 9_000_100, channel=1)
    one = twin.engine.entity(2**31 + 3)
    assert one["mean"] != one["valor"] == values(1, 500)[1]
    twin.finish()


def test_commands_on_registered_blocks_are_checked():
    engine = Engine(CONFIG)
    engine.turn([], commands=[{"op": "attach", "entry": REGISTERED}])
    for command in ({"op": "detach", "block": "nobody"}, {"op": "detach", "block": "a"}):
        with pytest.raises(UsageError, match="no registered block"):
            engine.check_command(command)
    with pytest.raises(ConfigError):
        engine.check_command({"op": "attach", "entry": REGISTERED})
    engine.turn([], commands=[{"op": "detach", "block": "late"}])
    engine.check_command({"op": "attach", "entry": REGISTERED})
    with pytest.raises(UsageError, match="no registered block"):
        engine.check_command({"op": "detach", "block": "late"})


def test_a_table_may_have_fewer_devices_than_its_entry_has_room_for():
    # Given an entry of three blocks, whose table has devices for the first alone
    engine = Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 30, "entidades_por_bloque": 10, "ids": {"device": [900, 901]}}]})
    # When both are heard, Then both are taken
    engine.feed(encode_frames([900, 901], 1, [1.0, 2.0], True), at=T0)
    assert engine.ledger["in"] == 2 and not engine.ledger["rejected"]
