"""Lines of names in the middle of a CSV: from each one on, columns are found anew."""
import pytest

from tests.support.csv_files import FIRST, GOOD, HEADED, HOUSE, NOON, POINT, report, rows, taken

LATER = [(time + 60_000, id, value) for time, id, value in GOOD]


@pytest.mark.parametrize(("names", "row", "said"), [
    ("timestamp,a,b", POINT, ""), ("\ufeffTimestamp,A,B", POINT, ""), ('"timestamp","a","b"', POINT, ""),
    ("timestamp,b,a", "2026-01-30 12:00:{s},21.{d},20.{d}\n", "the same columns in another order"),
    ("TIMESTAMP,B,A", "2026-01-30 12:00:{s},21.{d},20.{d}\n", "the same columns in another order"),
    ("b,timestamp,a", "21.{d},2026-01-30 12:00:{s},20.{d}\n", "the same columns in another order"),
    ("Date/Time,b,a", "2026-01-30 12:00:{s},21.{d},20.{d}\n", "times in column Date/Time"),
])  # fmt: skip
def test_names_that_come_again_hold_from_there(tmp_path, names, row, said):
    # Given rows, and the same of a minute later behind names in another order or spelling
    recording, found = taken(tmp_path, HEADED + names + "\n" + rows(row).replace("12:00", "12:01"))
    # Then each value goes to the entity of its name
    assert [row[:1] + row[1:] for row in sorted(found)] == sorted(GOOD + LATER) and not recording.damaged
    assert report(recording).endswith(f"line 12: another header, {said}" if said else "")
    assert ("another header" in report(recording)) == bool(said)


def test_columns_that_are_gone_and_new_are_said(tmp_path):
    recording, found = taken(tmp_path, HEADED + "timestamp,c,b\n" + rows("2026-01-30 12:01:{s},9,21.{d}\n"))
    assert sorted(found) == sorted(GOOD + [(time, id, value) if id else (time, 2, 9) for time, id, value in LATER])
    assert "line 12: another header, without a\n  column c -> rooms, wire id 2" in report(recording)


def test_date_and_time_of_day_change_places(tmp_path):
    text = "date,time,a\n" + rows("2026-01-30,12:00:{s},20.{d}\n") + "time,date,a\n" + rows("12:01:{s},2026-01-30,20.{d}\n")
    assert [value for *_, value in taken(tmp_path, text)[1]] == [value for *_, value in FIRST] * 2


def test_names_come_behind_rows_without_names(tmp_path):
    # Given the rest of a file whose beginning is lost, and the next file behind it
    recording, found = taken(tmp_path, rows(POINT) + HEADED.replace("12:00", "12:01"))
    assert list(recording.names.values()) == ["column1", "column2", "a", "b"]
    assert found[20:] == [(time, id + 2, value) for time, id, value in LATER] and not recording.damaged


def test_devices_are_found_again_by_near_names(tmp_path):
    text = "time,Oven,9\n2026-01-30 12:00:00,1,2\ntime,9,oven [°C],Ovne\n2026-01-30 12:00:01,3,4,5\n"
    recording, found = taken(tmp_path, text, HOUSE)
    assert found == [(NOON, 7, 1), (NOON, 9, 2), (NOON + 1000, 9, 3), (NOON + 1000, 7, 4)]
    assert 'Ovne: no device has that name or id; did you mean "Oven"?' in report(recording) and recording.damaged


def test_texts_in_rows_are_no_names(tmp_path):
    # Given rows of a long file that are all text, with words of time
    text = "time,device,value\n2026-01-30,x,1\n2026-01-31,no time,unavailable\n2026-02-01,x,2\n"
    recording, found = taken(tmp_path, text)
    assert [value for *_, value in found] == [1, 2] and "another header" not in report(recording)
