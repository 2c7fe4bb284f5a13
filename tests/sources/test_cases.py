"""Files as people have them: for each of tests/sources/cases what a person expects of it."""
import pytest

from corec.common.times import iso
from corec.config import load
from corec.engine import Engine
from corec.errors import ConfigError
from corec.sources.recordings.beginning import Options
from corec.sources.recordings.replay import fold, open_recording
from corec.sources.recordings.time_cells import find_zone
from tests.support.csv_files import CASES, case_config, read_file

NOON = 1_769_774_400_000  # 2026-01-30 12:00:00 UTC
DAY = 86_400_000


def series(first, count=20, step=0.1, time=NOON, every=1000):
    """(time, value) of *count* readings."""
    return [(time + n * every, round(first + n * step, 4)) for n in range(count)]


def wide(*columns):
    """(time, wire id, value) of columns side by side, entity 0 first."""
    rows = zip(*columns, strict=True)
    return [(time, id, value) for row in rows for id, (time, value) in enumerate(row)]


AB = wide(series(20), series(21))
MINUTE_LATER = wide(series(20, time=NOON + 60_000), series(21, time=NOON + 60_000))
A = wide(series(20))
BERLIN = Options(find_zone("Europe/Berlin"))


@pytest.mark.parametrize(("name", "expected", "said"), [
    ("01_decimal_comma", AB, ["separated by semicolon, decimal comma"]),
    ("02_decimal_comma_nohead", AB, ["separated by semicolon, decimal comma"]),
    ("03_trailing_rows", AB, ["the empty last column is ignored"]),
    ("05b_date_time_compact", AB, ["times in columns date and time"]),
    ("05c_compact_stamp", AB, ["dates as 20260131"]),
    ("05d_compact_date", wide(series(20, time=NOON - DAY // 2, every=DAY), series(21, time=NOON - DAY // 2, every=DAY)), []),
    ("06b_long", AB, ["sensor by device, metric", "sensors gw1.temp, gw1.hum -> rooms, wire ids 0 to 1"]),
    ("06c_long_ids", [(time, id + 1, value) for time, id, value in AB], ["sensors 1, 2 -> rooms, wire ids 1 to 2"]),
    ("12_counter", wide(series(18228934, step=1)),
     ["column wh: 10 steps of 19 lost"]),
    ("14_sep", AB, ["separated by semicolon"]),
    ("14b_comment", AB, ["2 lines before the names skipped"]),
    ("14c_units_row", AB, ["units in the line below the names: a °C, b %"]),
    ("16b_new_column", AB + [row for time, a, b in zip(MINUTE_LATER[::2], MINUTE_LATER[::2], MINUTE_LATER[1::2])
                             for row in (a, (time[0], 2, 99.0), b)],
     ["line 22: another header", "column c -> rooms, wire id 2"]),
    ("17_time_units", AB, ["times in column Time (UTC)", "column no left out: row numbers"]),
    ("17b_index_first", A, ["times in column timestamp_utc", "column number 1 left out: row numbers"]),
    ("18e_epoch_s_to_ms", A, ["the unit of the times changes from seconds to milliseconds at 2026-01-30 12:00:10"]),
    ("20_thousands", wide(series(1200.5, step=1)), ["decimal point"]),
    ("22_numbered", [(time, 3 - 2 * id, value) for time, id, value in AB], ["columns 3, 1 -> rooms, wire ids 3, 1"]),
    ("24_quoted_delim", wide(series(20), series(50)), ["separated by semicolon", "Temp, cellar, °C, Hum, cellar, %"]),
])  # fmt: skip
def test_whole_files(name, expected, said):
    # Given a file, When it is read, Then all that stands in it is a reading, and the report says how it was taken
    recording, found = read_file(CASES / f"{name}.csv")
    if name == "12_counter":  # as a gauge, a reading has the nearest number of 24 bits
        assert [abs(value - (18228934 + n)) <= 1 for n, (_, _, value) in enumerate(found)] == [True] * 20
    else:
        assert found == expected
    report = "\n".join([*recording.about, *recording.notes()])
    assert [text for text in said if text not in report] == []
    assert not recording.damaged


@pytest.mark.parametrize(("name", "expected", "said"), [
    ("07_nul_4k", AB + MINUTE_LATER, "the first at line 22: expected text, got 4,096 NUL bytes"),
    ("09_future", AB + MINUTE_LATER, "the first at line 22: expected a time near those around it, got 2036-01-30 12:00:20 UTC"),
    ("19_first_time_bad", AB, "the first at line 2: expected a time"),
    ("19c_first_1970", A, "the first at line 2: expected a time, milliseconds since 1970, got '0'"),
    ("25_truncated", AB, "the first at line 22: expected 3 cells and a line end, got a row that is cut"),
])  # fmt: skip
def test_one_row_is_left_out(name, expected, said):
    # Given a file with one bad row, When it is read, Then all others count, and the report names that one
    recording, found = read_file(CASES / f"{name}.csv")
    assert found == expected
    assert f"1 row left out, {said}" in "\n".join(recording.notes())
    assert recording.damaged
    assert all(note.isprintable() and len(note) < 200 for note in recording.notes())


def test_one_row_ten_days_ahead_is_left_out():
    # Given 20 rows and one ten days ahead among them
    recording, found = read_file(CASES / "29_one_future_row_send.csv")
    assert [value for _, _, value in found] == [round(20 + n / 10, 1) for n in range(20)]
    assert "1 row left out, the first at line 12" in recording.notes()[0] and "2026-12-10" in recording.notes()[0]


def test_history_of_home_assistant():
    # Given a row for each change of state, one of them without a value
    recording, found = read_file(CASES / "06_ha_history.csv")
    # Then each entity is a sensor by its name, and what is unavailable is a gap
    assert [value for _, id, value in found if id == 0] == [value for _, value in series(20)]
    assert [value for _, id, value in found if id == 1] == [value for n, (_, value) in enumerate(series(21)) if n != 5]
    assert found[1] == (NOON + 500, 1, 21.0)
    assert recording.names == {0: "sensor.t1", 1: "sensor.t2"}
    assert recording.notes()[-1] == "1 cell with a word for no value skipped, the first: 'unavailable'"


def test_the_hour_that_comes_twice():
    # Given local times over the end of summer time
    recording, found = read_file(CASES / "11_dst.csv", options=BERLIN)
    # Then with the zone they go on in time, six readings in each of three hours
    times = [time for time, *_ in found]
    assert [iso(time)[11:16] for time in times] == [f"{hour:02d}:{minute}0" for hour in (0, 1, 2) for minute in range(6)]
    assert "taken as Europe/Berlin" in recording.about[0]
    # and without it, the report says that they were taken as UTC
    recording, found = read_file(CASES / "11_dst.csv")
    assert len(found) == 18 and "taken as UTC" in recording.about[0]


def test_words_for_no_value_are_gaps():
    # Given cells with words, numbers that are too large, and text
    recording, found = read_file(CASES / "13_markers.csv")
    of_a = [(time - NOON) // 1000 for time, id, value in found if id == 0]
    failed = [(time - NOON) // 1000 for time, id, value in found if id == 0 and value is None]
    # Then words are no readings; what is infinite or no decimal number is a failed one; a unit does not hide its number
    assert of_a == [0, *range(10, 15), 18, 19]
    assert failed == [10, 11, 12, 13, 14]
    assert (NOON + 18_000, 0, 20.1) in found
    assert "12 cells with a word for no value skipped, the first: 'NaN'" in recording.notes()


def test_the_newest_row_first():
    # Given rows backward, When they are read, Then they come in the order of time, and the engine calls none late
    recording, found = read_file(CASES / "23_newest_first.csv")
    assert found == AB
    assert "the newest row is first: read from the end" in recording.about
    engine = folded("23_newest_first")
    assert (engine.ledger["in"], engine.ledger["late"]) == (40, 0)


def test_two_devices_of_one_name_are_refused():
    # Given a device table in which a name comes twice, Then the configuration is refused with both devices
    with pytest.raises(ConfigError, match='"temp" for device 1 and for device 2'):
        load(CASES / "28_config.json", embedded=True)


@pytest.mark.parametrize(("name", "count", "note"), [
    ("12b_counter_kwh", 20, "column kwh: 14 steps of 19 lost"), ("13b_sentinels", 40, ""), ("onchange", 22, ""), ("reset", 200, ""),
    ("stuck", 1200, ""),
])  # fmt: skip
def test_plain_gauges(name, count, note):
    # Given a file whose meaning a configuration would say, When it is read without one, Then its numbers are plain gauges
    recording, found = read_file(CASES / f"{name}.csv")
    assert len(found) == count and all(value is not None for *_, value in found)
    assert note in "\n".join(recording.notes()) and len(recording.notes()) == bool(note)


def test_every_case_is_tested():
    # Given all files of the folder, Then each is named in a test of this file
    tests = (CASES.parent / "test_cases.py").read_text()
    assert [file.name for file in sorted(CASES.glob("*.csv")) if f'"{file.stem}' not in tests and file.stem[:2] != "28"] == []


def folded(name):
    engine = Engine(case_config())
    for piece in open_recording(CASES / f"{name}.csv", case_config()).pieces():
        list(fold(engine, piece.content))
    engine.finish()
    return engine
