"""Times in CSVs: what is taken for a time, in which unit, zone and order of day and month."""
import pytest

from corec.common.times import iso
from corec.errors import FrameError, UsageError
from corec.sources.recordings.beginning import Options
from corec.sources.recordings.time_cells import find_zone
from tests.support.csv_files import FIRST, NOON, report, rows, taken

BERLIN = Options(find_zone("Europe/Berlin"))


@pytest.mark.parametrize("form", [
    "time,a\n|2026-01-30T12:00:{s}Z,20.{d}\n", "time,a\n|2026-01-30 13:00:{s}+01:00,20.{d}\n", "time,a\n|2026/01/30 12:00:{s},20.{d}\n",
    "time;a\n|30.01.2026 12:00:{s};20,{d}\n", "time,a\n|30/01/2026 12:00:{s},20.{d}\n", "time,a\n|01/30/2026 12:00:{s} PM,20.{d}\n",
    "time,a\n|30-Jan-2026 12:00:{s},20.{d}\n", "time,a\n|20260130T1200{s},20.{d}\n", "time,a\n|20260130 1200{s},20.{d}\n",
    "time,a\n|17697744{s},20.{d}\n", "time,a\n|17697744{s}000,20.{d}\n", "time,a\n|17697744{s}000000,20.{d}\n",
    "time,a\n|17697744{s}000000000,20.{d}\n", "time,a\n|17697744{s}.000,20.{d}\n", "time;a\n|2026-01-30 12:00:{s},000;20,{d}\n",
    "date;time;a\n|30.01.2026;12:00:{s};20,{d}\n", "time,date,a\n|12:00:{s},2026-01-30,20.{d}\n",
    "Fecha;Hora;a\n|20260130;1200{s};20,{d}\n",
    "a;Uhrzeit;Datum\n|20,{d};12:00:{s};30.01.2026\n",
    "id,a,last_changed,last_updated\n|x,20.{d},2026-01-30T12:00:{s}Z,2026-01-31T12:00:{s}Z\n",
    "|2026-01-30 12:00:{s},20.{d}\n", "nr,when?,a\n|{n},2026-01-30 12:00:{s},20.{d}\n",
    "counter total,time (ms),a\n|x,17697744{s}000,20.{d}\n",
    "time,a\n|2026-01-30 13:00:{s} CET,20.{d}\n", "time,a\n|2026-01-30 07:00:{s} EST,20.{d}\n",
    "time;a\n|30.01.2026 14:00:{s} CEST;20,{d}\n",
    "time,a\n|01/30/2026 08:00:{s} AM EDT,20.{d}\n", "time,a\n|2026-01-30 13:00:{s} UTC+01:00,20.{d}\n",
    "time,a\n|2026-01-30T13:00:{s}+01:00[Europe/Paris],20.{d}\n", "time,a\n|30 Jan 2026 12:00:{s},20.{d}\n",
    'time,a\n|"Jan 30, 2026 12:00:{s}",20.{d}\n', "time,a\n|Jan 30 2026 12:00:{s}PM,20.{d}\n",
    'time,a\n|"January 30, 2026, 12:00:{s} p.m.",20.{d}\n', "time;a\n|30. Januar 2026 12:00:{s};20,{d}\n",
    "time;a\n|30 de enero de 2026 12:00:{s};20,{d}\n", "time;a\n|30/01/2026 12:00:{s} p. m.;20,{d}\n",
    "time,a\n|Fri Jan 30 12:00:{s} 2026,20.{d}\n", "time,a\n|Fri Jan 30 13:00:{s} CET 2026,20.{d}\n",
    'time,a\n|"Fri, 30 Jan 2026 13:00:{s} +0100",20.{d}\n', "time,a\n|30/Jan/2026:13:00:{s} +0100,20.{d}\n",
    "time;a\n|30.01.2026 12.00.{s};20,{d}\n", "time;a\n|17697744{s},0;20,{d}\n", 'time,a\n|"1,7697744{s}E+12",20.{d}\n',
    "Date,Time,AM/PM,a\n|1/30/2026,12:00:{s},PM,20.{d}\n", "Local Time,UTC Time,a\n|2026-01-30 13:00:{s},2026-01-30 12:00:{s},20.{d}\n",
    "counter,when?,a\n|x,2026-01-30 12:00:{s},20.{d}\n", "timestamp,unix,a\n|2026-01-30 12:00:{s},17697744{s},20.{d}\n",
])  # fmt: skip
def test_times(tmp_path, form):
    # Given the same times written in many ways, each in the file's own order of day and month
    head, row = form.split("|")
    recording, found = taken(tmp_path, head + rows(row))
    # Then they are the same
    assert [(time, value) for time, _, value in found] == [(time, value) for time, _, value in FIRST], recording.about


@pytest.mark.parametrize(("dates", "options", "first", "said"), [
    (["03/02/2026", "04/02/2026", "05/02/2026"], None, "2026-02-03", "day/month/year"),
    (["02/03/2026", "02/04/2026", "02/05/2026"], None, "2026-02-03", "month/day/year"),
    (["12/02/2026"] * 300 + ["13/02/2026"], None, "2026-02-12", "day/month/year"),
    (["03/02/2026"] * 3, "dmy", "2026-02-03", "day/month/year"),
    (["03/02/2026"] * 3, "mdy", "2026-03-02", "month/day/year"),
    (["26-01-30", "26-01-31"], None, "2026-01-30", "year/month/day"),
    (["26-01-30"], "ymd", "2026-01-30", "year/month/day"),
])  # fmt: skip
def test_order_of_day_and_month(tmp_path, dates, options, first, said):
    # Given dates that say their order by a day above 12 or by the way from one to the next, or an option that says it
    text = "time,a\n" + "".join(f"{date} 12:00:{n % 60:02d},{n}\n" for n, date in enumerate(dates))
    recording, found = taken(tmp_path, text, options=Options(None, options))
    assert iso(found[0][0])[:10] == first and said in recording.about[0]


@pytest.mark.parametrize(("text", "said"), [
    ("time,a\n03/02/2026 12:00,1\n03/02/2026 12:01,1\n", "--dates dmy"),
    ("date,a\n26-01-30,1\n", "--dates ymd"),
    ("date,a\n0026-01-30,1\n", "got '0026-01-30' - at line 2"),
    ("time,a\n12:00:00,1\n", "years 1990 to 2099"),
    ("time,a\n46052.5,1\n", "got '46052.5' - at line 2"),
    ("time,a\n1.76977E+12,1\n1.76977E+12,2\n", "got '1.76977E+12' - at line 2"),
    ("time,a\n2026-01-30 12:00:00 IST,1\n", "got '2026-01-30 12:00:00 IST' - at line 2"),
    ("year,month,day,hour,a\n2026,1,30,12,1\n2026,1,30,13,1\n", "expected a time in column year"),
])  # fmt: skip
def test_times_that_cannot_be_are_refused(tmp_path, text, said):
    with pytest.raises(FrameError) as error:
        taken(tmp_path, text)
    assert said in str(error.value)


def test_a_zone_has_no_hour_twice_with_rows_an_hour_apart(tmp_path):
    # Given hourly rows over both changes of the clock
    options = Options(find_zone("Europe/Berlin"))
    text = "time,a\n" + "".join(f"2026-{day} {hour}:00,1\n" for day, hour in (
        ("03-29", "01"), ("03-29", "03"), ("03-29", "04"), ("10-25", "01"), ("10-25", "02"), ("10-25", "02"), ("10-25", "03")))  # fmt: skip
    times = [iso(time)[11:13] for time, *_ in taken(tmp_path, text, options=options)[1]]
    assert times == ["00", "01", "02", "23", "00", "01", "02"]


def test_zones_that_are_none_are_refused():
    with pytest.raises(UsageError, match="expected a time zone, got 'Mars/Olympus'"):
        find_zone("Mars/Olympus")


@pytest.mark.parametrize("leaps", [1, 5])
def test_rows_that_leap_ahead_are_left_out(tmp_path, leaps):
    # Given a few rows of next year among others, and a gap of a month before the last ones
    late = "".join(f"2026-03-01 12:00:{second:02d},7\n" for second in range(3))
    first, second = (rows("2026-01-30 12:00:{s},20.{d}\n", 5, start) for start in (0, 5))
    recording, found = taken(tmp_path, "time,a\n" + first + "2027-01-30 12:00:00,9\n" * leaps + second + late)
    # Then only they are left out
    assert found[:10] == FIRST and [value for *_, value in found[10:]] == [7, 7, 7]
    assert f"{leaps} row" in recording.notes()[0]


def test_rows_from_the_future_at_the_end_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("corec.sources.recordings.csv_recording.wall_ms", lambda: NOON + 3_600_000)
    recording, found = taken(tmp_path, "time,a\n" + rows("2026-01-30 12:00:{s},20.{d}\n") + "2026-02-09 12:00:00,9\n")
    assert found == FIRST and recording.damaged


def test_newest_first_in_a_large_file(tmp_path):
    # Given more rows than a block of the file, the newest first, of several lengths
    count = 20_000
    text = "time,a\n" + "".join(f"{NOON + n * 1000},{'0' * (n % 30)}{n}\n" for n in range(count, 0, -1))
    recording, found = taken(tmp_path, text)
    assert [value for *_, value in found] == list(range(1, count + 1))
    assert "the newest row is first: read from the end" in recording.about and recording.rows == count


@pytest.mark.parametrize(("text", "said"), [
    ("2026-10-25 02:30:00 CEST\n2026-10-25 02:30:00 CET\n", "zones as named in the times: CEST is +02:00, CET is +01:00"),
    ("2026-10-25T02:30:00+02:00\n2026-10-25 01:30:00\n", "1 time without a zone, taken as UTC"),
    ("2026-10-25 00:30:00\n2026-10-25T02:30:00+01:00\n", "1 time with a zone of their own"),
])  # fmt: skip
def test_zones_that_times_bring_are_said(tmp_path, text, said):
    recording, found = taken(tmp_path, "time,a\n" + text.replace("\n", ",1\n"))
    assert [iso(time)[11:16] for time, *_ in found] == ["00:30", "01:30"] and said in report(recording)


def test_an_hour_that_the_zone_skips_is_read_on_and_said(tmp_path):
    # Given a logger whose clock was not put forward
    clocks = ("01:30", "01:45", "02:00", "02:15", "03:00")
    recording, found = taken(tmp_path, "time,a\n" + "".join(f"2026-03-29 {clock},1\n" for clock in clocks), options=BERLIN)
    assert [iso(time)[11:16] for time, *_ in found] == ["00:30", "00:45", "01:00", "01:15", "01:00"]
    assert "2 times of an hour that Europe/Berlin skips" in report(recording) and "the first: 2026-03-29 02:00:00" in report(recording)


def test_a_column_that_says_utc_is_in_utc(tmp_path):
    recording, found = taken(tmp_path, "Time (UTC),a\n2026-07-01 12:00,1\n", options=BERLIN)
    assert iso(found[0][0])[11:16] == "12:00" and "taken as UTC" in recording.about[0]


@pytest.mark.parametrize(("head", "said"), [("Date Time, GMT+01:00", "UTC+01:00"), ("Timestamp (Europe/Berlin)", "Europe/Berlin"),
                                            ("Zeit [UTC+1]", "UTC+01:00"), ("time;a\nEurope/Berlin (+01:00)", "Europe/Berlin"),
                                            ])  # fmt: skip
def test_a_column_of_times_names_its_zone(tmp_path, head, said):
    # Given a zone in the name of the column, or in the row of units below it
    text = f"{head};{'V' if ';' in head else 'a'}\n2026-01-30 13:00;1,5\n2026-01-30 13:01;1,6\n"
    recording, found = taken(tmp_path, text)
    # Then the times are taken in that zone
    assert found == [(NOON, 0, 1.5), (NOON + 60_000, 0, 1.6)] and f"taken as {said}" in recording.about[0]


@pytest.mark.parametrize(("name", "cell", "ms"), [("time_ms", "1500", 1500), ("t [µs]", "1500000", 1500), ("millis", "0", 0),
                                                   ("uptime (min)", "2", 120_000), ("time", "1.5", 1500)])  # fmt: skip
def test_times_since_a_start_have_the_unit_of_their_name(tmp_path, name, cell, ms):
    recording, found = taken(tmp_path, f"{name},a\n{cell},1\n")
    assert found == [(ms, 0, 1)] and "from a start that is taken as 1970-01-01" in recording.about[0]


def test_whole_hours_beside_a_date(tmp_path):
    found = taken(tmp_path, "date,hour,a\n2026-01-30,0,1\n2026-01-30,9,2\n2026-01-30,24,3\n")[1]
    assert [iso(time)[:16] for time, *_ in found] == ["2026-01-30 00:00", "2026-01-30 09:00", "2026-01-31 00:00"]


def test_ten_digits_are_a_date_and_an_hour_where_all_of_them_can_be(tmp_path):
    # Given hours of a day, and seconds that look alike now and then
    assert iso(taken(tmp_path, "time,a\n2026013000,1\n2026013001,2\n")[1][1][0])[:16] == "2026-01-30 01:00"
    recording, found = taken(tmp_path, "time,a\n" + "".join(f"{2026013000 + n},1\n" for n in range(100)))
    assert "seconds since 1970" in recording.about[0] and found[1][0] - found[0][0] == 1000


def test_a_date_whose_order_nothing_says_costs_its_row(tmp_path):
    # Given a file of ISO 8601, and rows that have other dates
    recording, found = taken(tmp_path, "time,a\n2026-01-30 12:00,1\n2026-01-30 12:01,2\n03/02/2026 12:02,3\n30.01.2026 12:03,4\n")
    assert [value for *_, value in found] == [1, 2, 4] and "1 row left out, the first at line 4" in report(recording)
