"""corec.engine.columns: what a program hands in is folded as it is, or refused before anything is folded; never another number."""
import struct
import warnings

import numpy as np
import pytest

from corec.engine import Engine
from corec.engine.columns import id_column, value_column
from corec.errors import CoreCError, FrameError, UsageError
from tests.support.fleet import entry
from tests.support.twin import T0, same_state

CONFIG = {"bloques": [entry(entidades=3000)]}
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "?")])
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
        ({"at": np.array(["2026-01-01"] * 2, "M8[s]")}, "at: expected times in ms since 1970, got an array of datetime64[s]"),
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
