"""corec.engine.columns: what a program hands in is folded as it is, or refused before anything is folded; never another number."""
import struct
import warnings
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from corec.engine import Engine
from corec.engine.columns import check_moment, earliest_at, id_column, reading_frames, value_column
from corec.errors import CoreCError, FrameError, UsageError
from corec.streams.reach import cut_to_reach
from tests.support.fleet import entry
from tests.support.twin import T0, same_state

CONFIG = {"bloques": [entry(entidades=3000)]}
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "?")])
NOW = datetime.fromtimestamp(T0 / 1000, UTC)
GOOD = {"ids": [1, 2], "values": [1.0, 2.0], "at": T0, "channel": 1}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ids": [1, 2**40]}, "ids: expected integers from 0 to 4,294,967,295, got 1099511627776 - at [1]"),
        ({"ids": [-1, 2]}, "ids: expected integers from 0 to 4,294,967,295, got -1 - at [0]"),
        ({"ids": [2**70, 2]}, "ids: expected integers from 0 to 4,294,967,295, got 1180591620717411303424"),
        ({"ids": [1.5, 2.0]}, "got 1.5 - at [0]"),
        ({"ids": [1.0, float("nan")]}, "got nan - at [1]"),
        ({"ids": np.array([-1, -2], np.int32)}, "got -1 - at [0], the first of 2"),
        ({"ids": ["1", "2"]}, "ids: expected integers from 0 to 4,294,967,295, got an array of <U1"),
        ({"ids": [None, 1]}, "got an array of object"),
        ({"ids": [[1], [1, 2]]}, "ids: expected integers"),
        ({"values": [1.0, 1e300]}, "values: expected numbers up to 3.4e38, as 32-bit floats hold them, got 1e+300 - at [1]"),
        ({"values": [1.0, -1e39]}, "got -1e+39 - at [1]"),
        ({"values": ["warm", "cold"]}, "values: expected numbers, got an array of <U4"),
        ({"values": np.ma.array([1.0, 2.0], mask=[True, False])}, "values: expected numbers, got a masked array"),
        ({"ids": np.ma.array([1, 2], mask=[True, False])}, "ids: expected integers from 0 to 4,294,967,295, got a masked array"),
        ({"values": [1j, 2.0]}, "values: expected numbers, got an array of complex128"),
        ({"states": [1, 2]}, "states: expected integers from 0 to 1, got 2 - at [1]"),
        ({"states": [256, 1]}, "states: expected integers from 0 to 1, got 256 - at [0]"),
        ({"channel": 1.7}, "channel: expected an integer from 0 to 127, got 1.7"),
        ({"channel": 128}, "got 128"),
        ({"channel": "1"}, "got '1'"),
        ({"at": "now"}, "at: expected a time in milliseconds since 1970, got 'now'"),
        ({"at": float("nan")}, "got nan"),
        ({"at": None}, "got None"),
        ({"at": [T0, -5]}, "at: expected integers from 0 to 9,007,199,254,740,991, got -5 - at [1]"),
        ({"at": np.array(["2026-01-01", "NaT"], "M8[s]")}, "at: expected integers from 0 to 9,007,199,254,740,991, got -922"),
        ({"at": 1_700_000_000}, "at: expected a time in milliseconds since 1970, got 1700000000, which is before 2001"),
        ({"at": [T0, 1_700_000_000]}, "at: expected times in ms since 1970, from 2001 on, got 1700000000 - at [1]"),
        ({"at": datetime(2000, 12, 31, tzinfo=UTC)}, "which is before 2001"),
        ({"at": [datetime(2026, 1, 1, tzinfo=UTC), "x"]}, "at: expected times in ms since 1970"),
        ({"ids": [1, 0.7]}, "ids: expected integers from 0 to 4,294,967,295, got 0.7 - at [1]"),
        ({"values": [1.0, "20,5"]}, "'20,5' at [1]"),
        ({"states": ["false", True]}, "states: expected integers from 0 to 1, got an array of <U5: 'false' at [0]"),
        ({"states": [True, float("nan")]}, "states: expected integers from 0 to 1, got nan - at [1]"),
    ],
)
def test_columns_that_hold_something_else_are_refused_and_nothing_is_folded(columns, message):
    # Given an engine, and a batch one column of which cannot be what it has to be
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    # When it is fed
    with pytest.raises(FrameError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.feed_arrays(**GOOD | columns)
    # Then the error says what was expected, what came and where, with a hint, and the engine is as it was
    assert message in str(caught.value) and caught.value.hint
    assert same_state(engine, twin)


@pytest.mark.parametrize("columns", [{"ids": np.array([1, 2], np.int16)}, {"ids": [1.0, 2.0]}, {"ids": np.array([1, 2], np.uint64)},
                                     {"values": [1, 2]}, {"values": np.array([1, 2], np.float16)}, {"at": [T0, T0]},
                                     {"at": float(T0) + 0.75}, {"at": np.array([T0, T0]) + 0.75}, {"channel": np.int8(1)},
                                     {"at": NOW}, {"at": NOW.astimezone(timezone(timedelta(hours=5)))}, {"at": [NOW, NOW]},
                                     {"at": np.datetime64(T0, "ms")}, {"at": np.array([T0, T0], "M8[ms]")},
                                     {"at": np.array([T0 * 10**6] * 2, "M8[ns]")},
                                     {"states": [True, True]}, {"states": np.ones(2)}, {"load": np.float32(0)}])  # fmt: skip
def test_other_types_of_the_same_numbers_are_taken(columns):
    engine, twin = Engine(CONFIG), Engine(CONFIG)
    assert len(engine.feed_arrays(**GOOD | columns).messages) == 2
    twin.feed_arrays(**GOOD)
    assert same_state(engine, twin)


def test_values_that_are_no_numbers_are_failures_not_errors():
    engine = Engine(CONFIG)
    engine.feed_arrays([1, 2, 3], [np.nan, np.inf, -np.inf], at=T0, channel=1)
    assert engine.finish().aggregates["errors"].tolist() == [3]


@pytest.mark.parametrize("load", [float("nan"), "high", None])
def test_load_that_is_no_number_is_refused(load):
    engine = Engine(CONFIG)
    for call in (lambda: engine.feed(b"", at=T0, load=load), lambda: engine.tick(T0, load=load), lambda: engine.step(T0, load=load),
                 lambda: engine.feed_arrays(**GOOD, load=load)):  # fmt: skip
        with pytest.raises(UsageError, match=r"load: expected a number from 0 \(idle\) to 1"):
            call()
    assert engine.ledger["in"] == 0


@pytest.mark.parametrize("at", ["now", None, float("inf"), True, b"1"])
def test_time_that_is_no_number_is_refused(at):
    engine = Engine(CONFIG)
    for call in (lambda: engine.feed(b"", at=at), lambda: engine.tick(at), lambda: engine.step(at)):
        with pytest.raises(FrameError, match="at: expected a time in milliseconds since 1970"):
            call()


@pytest.mark.parametrize("frames", [np.zeros(3, FRAME), np.zeros(10, np.float32), "0123456789", None, [(1, 1, 1.0, True)],
                                    memoryview(bytes(40))[::2]])  # fmt: skip
def test_frames_that_are_no_bytes_are_refused_with_the_way_to_make_some(frames):
    with pytest.raises(CoreCError) as caught:
        Engine(CONFIG).feed(frames, at=T0)
    assert "frames: expected bytes, 10 for each reading" in str(caught.value) and "tobytes()" in caught.value.hint


def test_hint_for_structured_arrays_is_right():
    # Given frames as an array of the dtype that the hint names
    rows = np.array([(7, 1, 2.5, True)], FRAME)
    assert rows.tobytes() == struct.pack("!Ibf?", 7, 1, 2.5, True)
    assert Engine(CONFIG).feed(rows.tobytes(), at=T0).messages["id"].tolist() == [7]


def test_columns_of_the_right_type_are_not_copied():
    ids, values = np.arange(5, dtype=np.uint32), np.arange(5, dtype=np.float32)
    assert id_column(ids) is ids and value_column(values) is values


# --- the other doors -------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [5, None, [], b"{}"])
def test_configuration_that_is_none_is_refused(config):
    with pytest.raises(UsageError, match="config: expected a path, a mapping or a Config, got") as caught:
        Engine(config)
    assert "corec.config.parse" in caught.value.hint


@pytest.mark.parametrize("id", ["oven", 1.5, None, True])
def test_entity_by_what_is_no_id_is_refused_never_taken_for_another(id):
    engine = Engine(CONFIG)
    for look in (engine.entity, engine.locate):
        with pytest.raises(FrameError, match="id: expected an integer from 0 to 4,294,967,295") as caught:
            look(id)
        assert "corec check" in caught.value.hint


@pytest.mark.parametrize("id", [-1, 2**40, 999_999])
def test_entity_that_there_is_none_of_is_a_key_error(id):
    with pytest.raises(KeyError, match=str(id)):
        Engine(CONFIG).entity(id)
    assert Engine(CONFIG).locate(np.uint32(5)) == (0, 5)


# --- the same check at every door --------------------------------------------------------------------

#: A reading of which one field cannot be what it has to be, and what the error says.
WRONG = {
    "estado as text": ((1, 1, 20.5, "false"), "states: expected integers from 0 to 1"),
    "estado that is no number": ((1, 1, 20.5, float("nan")), "states: expected integers from 0 to 1, got nan"),
    "estado of 2": ((1, 1, 20.5, 2), "states: expected integers from 0 to 1, got 2"),
    "id with a fraction": ((0.7, 1, 20.5, True), "ids: expected integers from 0 to 4,294,967,295, got 0.7"),
    "id as text": (("1", 1, 20.5, True), "ids: expected integers"),
    "value with a decimal comma": ((1, 1, "20,5", True), "'20,5' at [0]"),
    "value beyond 32 bits": ((1, 1, 1e300, True), "values: expected numbers up to 3.4e38"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_tuples_are_held_to_the_same_as_columns(name):
    # Given a reading that cannot be one, as columns and as a tuple
    (id, canal, value, state), message = WRONG[name]
    with pytest.raises(FrameError) as by_column:
        Engine(CONFIG).feed_arrays([id], [value], at=T0, channel=canal, states=[state])
    with pytest.raises(FrameError) as by_tuple:
        reading_frames([(id, canal, value, state)])
    # Then both are refused in the same words
    assert str(by_tuple.value) == str(by_column.value) and message in str(by_tuple.value)


def test_decimal_comma_and_seconds_are_named_in_the_hint():
    with pytest.raises(FrameError) as caught:
        reading_frames([(1, 1, "20,5", True)])
    assert "a decimal comma?" in caught.value.hint
    with pytest.raises(FrameError) as caught:
        check_moment(1_700_000_000)
    assert caught.value.hint.startswith("seconds?")


@pytest.mark.parametrize("rows", [[(1, 200, 0.5, True)], [(1, -1, 0.5, True)], [(1, 2)], ["x"], [1], [None], [(1, 1, None, True)]])
def test_rows_that_are_no_readings_are_refused(rows):
    with pytest.raises(FrameError) as caught:
        reading_frames(rows)
    assert caught.value.hint


def test_failed_values_and_any_iterable_are_taken():
    frames = reading_frames((id, 1, float("nan"), False) for id in range(3))
    assert len(frames) == 30 and reading_frames([]) == b""


def test_machine_that_does_not_know_the_year_may_say_so():
    # Given a clock that began in 1970, then its own times are taken
    assert check_moment(5000, earliest_at(5000)) == 5000
    with pytest.raises(FrameError):
        check_moment(5000, earliest_at(T0))


@pytest.mark.parametrize("offsets", [["x"], [0.5], [2**63], [2**70], [float("nan")], [None], [2**53 + 1]])
def test_offsets_that_are_no_times_are_refused(offsets):
    with pytest.raises(FrameError, match="offsets: expected integers between"):
        list(cut_to_reach(reading_frames([(1, 1, 1.0, True)]), T0, offsets))
