"""CSVs in all dialects, times and shapes: what they are taken for, and what is left out."""
import gzip
import io
import os
import threading
import tracemalloc
from random import Random

import pytest
import zstandard

from corec.errors import FrameError, InputError
from corec.sources.names import NameTable
from corec.sources.recordings.replay import open_recording
from tests.support.csv_files import (
    CASES,
    FIRST,
    GOOD,
    HEADED,
    HOUSE,
    NOON,
    POINT,
    ROOMS,
    case_config,
    config_file,
    read_file,
    report,
    rows,  # fmt: skip
    taken,
)

# --- dialects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [
    HEADED.encode(), HEADED.replace("\n", "\r\n").encode(), HEADED.encode("utf-8-sig"), HEADED.encode("utf-16"), HEADED.encode("utf-16-le"),
    HEADED.encode("utf-16-be"), gzip.compress(HEADED.encode()), zstandard.compress(HEADED.encode()), gzip.compress(HEADED.encode("utf-16")),
    zstandard.compress(HEADED[:60].encode()) + zstandard.compress(HEADED[60:].encode()),
    HEADED.replace(",", ";").replace(".", ",").encode(), HEADED.replace(",", "\t").replace(".", ",").encode(),
    HEADED.replace(",", "|").encode(), ("sep=;\n" + HEADED.replace(",", ";")).encode(),
    ("Logger;7\n\n" + HEADED.replace(",", ";")).encode(),
    HEADED.replace("timestamp", "date time").replace(",", " ").encode(), HEADED.replace("\n", "\n\n").encode(),
    HEADED.replace("timestamp", '"time, local"').encode(), ("# a\n# b,c\n" + HEADED).encode(), ("# " + HEADED).encode(),
    HEADED.replace("2026-01-30 12:00:05", "# note, a\n2026-01-30 12:00:05").encode(),
    HEADED.replace(",a,b\n", ',"a",b\n"","°C",%\n').encode(), HEADED.replace("timestamp,a,b\n", "timestamp,a,b\n" * 2).encode(),
    HEADED.replace("\n", "\r").encode(), gzip.compress(HEADED.replace("\n", "\r").encode("utf-16")),
    gzip.compress(HEADED.encode()) + bytes(99),
    HEADED.replace("timestamp", "Küche").encode("utf-16-le"), ("sep=,\n" + HEADED.replace(",", ";").replace(".", ",")).encode(),
    ("Sep = ;\n" + HEADED.replace(",", ";")).encode(), ("".join(f"# {n}\n" for n in range(300)) + HEADED).encode(),
    ("\ufeff# a\n\ufeff" + HEADED + "\ufeff" + HEADED[:14]).encode(),
    ("exported,2026-02-01 10:00:00\n" + HEADED).encode(),
    HEADED.replace("\n", ",,\n").encode(),
    HEADED[HEADED.index("\n") + 1 :].encode(),
])  # fmt: skip
def test_dialects(tmp_path, packed):
    # Given the same readings written in many ways, When they are read, Then they are the same, and nothing is left out
    recording, found = taken(tmp_path, packed)
    assert found == GOOD, recording.about
    assert not recording.damaged


def test_a_pipe_is_read_once(tmp_path):
    # Given a pipe into which packed rows are written, the newest first
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "timestamp,a\n" + "".join(f"2026-01-30 12:00:{second:02d},{second}\n" for second in range(59, -1, -1)) * 1
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(text.encode())))
    writer.start()
    # When it is read, Then every row comes, in the order of time
    recording, found = read_file(pipe)
    writer.join()
    assert [value for *_, value in found] == list(range(60)) and recording.size == 0


def test_standard_input_is_a_file(monkeypatch):
    # Given a CSV on standard input, When `-` is read, Then it is that
    read, write = os.pipe()
    os.write(write, HEADED.encode())
    os.close(write)
    with open(read, "rb") as stream:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
        recording, found = read_file("-")
        assert found == GOOD and recording.about[0].startswith("standard input: times in column timestamp")


@pytest.mark.parametrize(("text", "values"), [
    ("t;a\n2026-01-30;1.200,5\n2026-01-31;1.201,5\n", [1200.5, 1201.5]),
    ('t,a\n2026-01-30,"1,200"\n2026-01-31,"1,201"\n', [1200, 1201]),
    ('t,a\n2026-01-30,"20,5"\n2026-01-31,"1,201"\n', [20.5, 1.201]),
    ("t;a\n2026-01-30;1 200,5\n2026-01-31;-1\u00a0201,5\n", [1200.5, -1201.5]),
    ("t;a\n2026-01-30;1'200.5\n2026-01-31;−3\n", [1200.5, -3]),
    ("t,a\n2026-01-30,45%\n2026-01-31,20.1 °C\n", [45, 20.1]),
    ("t,a\n2026-01-30,1\n2026-01-31,1_000\n", [1, None]),
    ("t,a\n2026-01-30,1\n2026-01-31,0x1F\n", [1, None]),
    ("t,a\n2026-01-30,1\n2026-01-31,1e39\n", [1, None]),
])  # fmt: skip
def test_numbers(tmp_path, text, values):
    # Given cells with decimal comma, thousands, units, and what only looks like a number
    assert [value for *_, value in taken(tmp_path, text)[1]] == pytest.approx(values)


@pytest.mark.parametrize(("bad", "cause"), [
    ('2026-01-30 12:00:05,"20.5,21.5\n', "expected quotes that close"),
    ("2026-01-30 12:00:05,20.5,21.5,7\n", "expected 3 values, got 4"),
    ("\x00\x002026-01-30 12:00:05,20.5,21.5\n", "expected text, got 2 NUL bytes"),
    ("x" * 3_000_000 + "\n", "expected lines of at most 1,048,576 bytes, got a line of more"),
    ("\x1b]0;evil\x07" * 50 + ",1,2\n", "expected a time"),
    ("2612-01-30 12:00:05,20.5,21.5\n", "got '2612-01-30 12:00:05'"),
])  # fmt: skip
def test_a_bad_line_costs_its_row(tmp_path, bad, cause):
    # Given ten rows, the sixth of which cannot be read
    recording, found = taken(tmp_path, "timestamp,a,b\n" + rows(POINT, 5) + bad + rows(POINT, 4, 6))
    # Then the nine others count, and the report names that one in printable words
    assert found == [row for row in GOOD if row[0] != NOON + 5000]
    assert recording.damaged and "1 row left out, the first at line 7: expected" in report(recording) and cause in report(recording)
    assert all(line.isprintable() and len(line) < 250 for line in report(recording).splitlines())


def test_bytes_of_names_are_shown_printable_and_short(tmp_path):
    recording, _ = taken(tmp_path, f"timestamp,\x1b[31mred,{'x' * 5000}\n".encode() + rows(POINT).encode())
    assert all(line.isprintable() and len(line) < 250 for line in recording.about)


def test_lines_in_latin_1_are_read(tmp_path):
    recording, found = taken(tmp_path, "Zeit;Küche\n".encode("latin-1") + rows("2026-01-30 12:00:{s};20,{d}\n").encode())
    assert found == FIRST and recording.names == {0: "Küche"}
    assert "1 line not in UTF-8, read as Latin-1" in recording.notes()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_junk_behind_packed_data_costs_no_row(tmp_path, pack):
    recording, found = taken(tmp_path, pack(HEADED.encode()) + b"junk")
    assert found == GOOD and recording.damaged and "data that ends early or is damaged" in report(recording)


@pytest.mark.parametrize(("begin", "what"), [(b"PK\x03\x04", "an Excel workbook"), (b"BZh91AY", "bunzip2"), (b"\xfd7zXZ\0", "unxz"),
                                             (b"SQLite format 3\0", "export its table")])  # fmt: skip
def test_files_of_other_kinds_are_named(tmp_path, begin, what):
    with pytest.raises(FrameError) as error:
        taken(tmp_path, begin + bytes(range(256)))
    assert what in str(error.value)


@pytest.mark.parametrize(("text", "said"), [
    ('time,a\n2026-01-30,"1\n', "expected quotes that close at the end of a cell and of a line, got ones that do not - at line 2"),
    ("time,level\n2026-01-30,INFO\n", "expected a column of numbers, got none beside the times in column time: level"),
])  # fmt: skip
def test_files_without_a_readable_row_say_why(tmp_path, text, said):
    with pytest.raises(FrameError) as error:
        taken(tmp_path, text)
    assert said in str(error.value)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_data_that_ends_early_says_so(tmp_path, pack):
    # Given a packed file without its end, When it is read, Then what comes out of it counts, and the report says so
    packed = pack(("timestamp,a\n" + "".join(f"{NOON + n},{n * 7919 % 10007}\n" for n in range(40_000))).encode())
    recording, found = taken(tmp_path, packed[:-2000])
    assert len(found) > 5_000 and recording.damaged
    assert "data that ends early or is damaged" in report(recording)


def test_packed_data_with_its_newest_row_first_that_ends_early_says_so(tmp_path):
    text = "timestamp,a\n" + "".join(f"{NOON + n * 1000},{n * 7919 % 10007}\n" for n in range(20_000, 0, -1))
    recording, found = taken(tmp_path, gzip.compress(text.encode())[:-2000])
    assert len(found) > 5_000 and found == sorted(found) and "data that ends early or is damaged" in report(recording)


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_files_give_readings_or_a_reason(tmp_path, seed):
    # Given files of all kinds, in each of which something was changed, left out or put in
    random, files = Random(seed), [file.read_bytes()[:2000] for file in sorted(CASES.glob("*.csv"))]
    pieces = [b",", b";", b'"', b"\n", b"\r", b"\0", b"\xff", b"#", b"9" * 5000, b"1e999", b"time,", b"value", b"\xef\xbb\xbf", b"\t",
              b"sep=", b"\x1b[2J", b""]  # fmt: skip
    for _ in range(100):
        text = bytearray(random.choice(files))
        for _ in range(random.randrange(1, 10)):
            start, end = sorted(random.choices(range(len(text) + 1), k=2))
            others = [bytes(text[start:end][:200]), random.choice(files)[start:end]]
            text[start : min(end, start + 40)] = random.choice([*pieces, *others])
        # When they are read, Then the report, or the reason why they are none, is printable and short
        try:
            recording, _ = taken(tmp_path, bytes(text))
            said = report(recording)
        except InputError as error:
            said = str(error)
        assert all(line.isprintable() and len(line) < 1000 for line in said.splitlines()), bytes(text)


@pytest.mark.parametrize(("end", "left"), [("2026-01-30 12:00:10,2", 1), ("2026-01-30 12:00:10,21.0,2", 1), ("2026-01-30 12:0", 1),
                                            ("2026-01-30 12:00:10,21.0,22.0", 0)])  # fmt: skip
def test_a_last_row_that_is_cut_is_left_out(tmp_path, end, left):
    recording, found = taken(tmp_path, HEADED + end)
    assert (len(found), recording.damaged) == (22 - 2 * left, bool(left))


def test_names_over_two_lines(tmp_path):
    recording, found = taken(tmp_path, '"Time","Temp\n(°C)","Hum\n(%)"\n' + rows(POINT))
    assert found == GOOD and recording.names == {0: "Temp (°C)", 1: "Hum (%)"}


def test_quotes_hold_a_row_of_several_lines_together(tmp_path):
    # Given rows with remarks of two lines, and one quote that never closes before a row, and one at the end
    text = "time,a,note\n" + rows('2026-01-30 12:00:{s},20.{d},"first\n""second"" line"\n')
    assert taken(tmp_path, text)[1] == FIRST
    spoiled = text.replace('20.4,"first\n""second"" line"', '20.4,"first').replace('20.9,"first\n""second"" line"\n', '20.9,"first\nsecond')
    recording, found = taken(tmp_path, spoiled)
    # Then each of the two costs its row, and none beside it
    assert found == [row for row in FIRST if row[2] not in (20.4, 20.9)] and "quotes that close" in report(recording)


def test_each_column_has_the_decimal_mark_that_it_shows(tmp_path):
    text = "time;a;b;c\n2026-01-30;20,5;21.5;1.234\n2026-01-31;20,25;21.625;1.234.567\n"
    assert [value for *_, value in taken(tmp_path, text)[1]] == [20.5, 21.5, 1234, 20.25, 21.625, 1234567]
    # and where the first rows show none, a cell that can be read in one way only is read so
    text = "time;a\n" + "2026-01-30;20\n" * 300 + "2026-01-31;20,5\n"
    assert taken(tmp_path, text)[1][-1][2] == 20.5


def test_a_sign_of_money_makes_no_other_separator(tmp_path):
    with pytest.raises(FrameError, match="expected a column of numbers, got none beside the times in column time: price"):
        taken(tmp_path, "time;price\n2026-01-30 12:00;€ 20,5\n2026-01-30 12:01;€ 20,6\n")


def test_rows_of_names_and_units_of_a_data_logger(tmp_path):
    # Given a file as loggers write it: their own name, names, units, and what was done to the values
    head = '"TOA5","X","X","1"\n"TIMESTAMP","RECORD","a","b"\n"TS","RN","Volts","Deg C"\n"","","Min","Avg"\n'
    recording, found = taken(tmp_path, head + rows('"2026-01-30 12:00:{s}",{n},20.{d},21.{d}\n'))
    assert found == GOOD and not recording.damaged
    assert "units in the line below the names: a Volts, b Deg C" in recording.about


# --- columns ---------------------------------------------------------------------------------------


def test_columns_go_to_devices_by_name(tmp_path):
    # Given devices with names, and columns with a name, one but for case and unit, an id, a misspelt one, and one in another unit
    text = "time,CELLAR  Temp (°C),9,Ovne,oven (°F)\n" + rows("2026-01-30 12:00:{s},1,2,3,4\n", 2)
    recording, found = taken(tmp_path, text, HOUSE)
    # Then none goes anywhere by its place, and what matches nothing is left out and said
    assert {(id, value) for _, id, value in found} == {(8, 1), (9, 2)}
    assert "column 9 -> the device of that name or id" in recording.about
    assert "column CELLAR Temp (°C) -> the device of that name, but for its case or a unit in brackets" in recording.about
    assert 'column Ovne left out: no device has that name or id; did you mean "Oven"?' in recording.about
    assert "column oven (°F) left out: it is in °F, and the device of that name in °C" in recording.about
    assert recording.damaged and "4 cells left out, of columns without an entity: Ovne, oven (°F)" in recording.notes()


def test_an_exact_name_wins_over_a_near_one(tmp_path):
    recording, found = taken(tmp_path, "time,oven,Oven\n2026-01-30,1,2\n", HOUSE)
    assert [(id, value) for _, id, value in found] == [(7, 2)]
    assert "column oven left out: another column is wire id 7" in recording.about


def test_a_name_of_two_tables_needs_the_block(tmp_path):
    # Given two entries with a device of the same name
    other = HOUSE | {"id": "garage", "ids": {"device": [17], "name": ["Oven"]}}
    text = "time,Oven\n2026-01-30,1\n"
    # Then the chosen entry decides; where it has no such device, the column goes nowhere
    assert taken(tmp_path, text, HOUSE, other, block="garage")[1][0][1] == 17
    assert taken(tmp_path, text, HOUSE, other)[1][0][1] == 7
    recording, found = taken(tmp_path, "time,Oven,a\n2026-01-30,1,2\n", ROOMS, HOUSE, other)
    assert [id for _, id, _ in found] == [100] and "several devices have that name: 7, 17" in report(recording)


def test_names_keep_their_entities_from_file_to_file(tmp_path):
    # Given a table of names, and two files with the same columns in another order, and a new one
    config, names = config_file(tmp_path, ROOMS), NameTable(tmp_path, config_file(tmp_path, ROOMS))
    for head, expected in (("a,b", {"a": 100, "b": 101}), ("b,c,a", {"a": 100, "b": 101, "c": 102})):
        (tmp_path / "x.csv").write_text(f"time,{head}\n2026-01-30,1,2{',3' * head.count('c')}\n")
        recording, _ = read_file(tmp_path / "x.csv", config, names=names)
        assert {name: id for id, name in recording.names.items()} == expected


def test_sensors_beyond_the_room_of_an_entry_are_left_out_and_counted(tmp_path):
    text = "time,device,value\n" + "".join(f"2026-01-30 12:00:00,d{n},{n}\n" for n in range(20))
    recording, found = taken(tmp_path, text, ROOMS)
    assert sorted(id for _, id, _ in found) == list(range(100, 108))
    assert "12 cells left out" in report(recording) and "rooms has 8 entities, and all of them are taken" in report(recording)


def test_a_header_in_the_middle_with_another_order(tmp_path):
    turned = "timestamp,b,a\n" + rows("2026-01-30 12:01:{s},21,20\n", 2) + "timestamp,b,a\n"
    recording, found = taken(tmp_path, HEADED + turned)
    assert {(id, value) for time, id, value in found if time >= NOON + 60_000} == {(1, 21), (0, 20)}
    assert "line 12: another header, the same columns in another order" in report(recording) and not recording.damaged


def test_numbers_as_names_are_wire_ids(tmp_path):
    # Given columns named by numbers, one of which is no wire id of the entry
    recording, found = taken(tmp_path, "time,103,3\n2026-01-30,1,2\n", ROOMS)
    assert [(id, value) for _, id, value in found] == [(103, 1)]
    assert "column 3 left out: rooms has the wire ids 100 to 107" in recording.about and recording.damaged


@pytest.mark.slow
def test_a_file_that_becomes_shorter_while_it_is_followed_ends(tmp_path):
    # Given a file that is followed, and emptied after its first rows
    file = tmp_path / "x.csv"
    file.write_text(HEADED)
    recording = open_recording(file, case_config(), follow=lambda: True)
    pieces = recording.pieces()
    assert next(pieces).readings == 20
    file.write_text("")
    # Then the recording ends, and says that the file is to be opened again
    assert list(pieces) == [] and not recording.damaged
    assert "it was cut short" in recording.replaced


def test_names_without_an_entity_take_no_memory(tmp_path, monkeypatch):
    # Given a long file with a name of its own in each row, none of them known, and few that are kept
    monkeypatch.setattr("corec.sources.recordings.columns.MOST_UNKNOWN", 100)
    monkeypatch.setattr("corec.sources.recordings.csv_recording.CELLS", 100)
    config = config_file(tmp_path, HOUSE)
    file = tmp_path / "x.csv"
    peaks = []
    for count in (1_000, 4_000):
        file.write_text("time,device,value\n" + "".join(f"{NOON + n},unknown-device-of-row-{n},1\n" for n in range(count)))
        tracemalloc.start()
        assert read_file(file, config)[1] == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Then four times the rows take no more
    assert peaks[1] < 1.3 * peaks[0]


def test_a_logger_that_starts_again_writes_names_and_units_again(tmp_path):
    # Given a file into which names and units were written again, and then names of which two are one device
    text = ("time,Oven,9\ns,°C,\n2026-01-30 12:00:00,1,2\n# restart\ntime,Oven,9\ns,°C,\n2026-01-30 12:00:01,3,4\n"
            "time,9,7,Oven\n2026-01-30 12:00:02,5,6,7\n")  # fmt: skip
    recording, found = taken(tmp_path, text, HOUSE)
    # Then the first of the two counts, and the other is left out and named
    assert [(id, value) for _, id, value in found] == [(7, 1), (9, 2), (7, 3), (9, 4), (9, 5), (7, 6)]
    assert recording.notes()[-2:] == ["1 cell left out, of columns without an entity", "  Oven: another column is wire id 7"]


@pytest.mark.parametrize(("name", "number"), [("", "{n}"), ("no", "{n}"), ("Unnamed: 0", "{n}"), ("#", "{n}"), ("entry_id", "1{n}"),
                                              ("Record", "{n}{n}")])  # fmt: skip
def test_numbers_of_rows_are_no_sensor(tmp_path, name, number):
    recording, found = taken(tmp_path, f"{name},time,a\n" + rows(number + ",2026-01-30 12:00:{s},20.{d}\n"))
    assert found == FIRST and "left out: row numbers" in report(recording)


@pytest.mark.parametrize("word", ["", "-", "NULL", "nan", "N/A", "#N/A", "unavailable", "off", "true", "sin datos",
                                  "--.-", "*****", "no_data", "-1.#IND",
                                  "nicht verfügbar", "'n.a.'"])  # fmt: skip
def test_words_for_no_value_are_no_failures(tmp_path, word):
    recording, found = taken(tmp_path, f"time,a\n2026-01-30,1\n2026-01-31,{word}\n")
    assert len(found) == 1 and "skipped" in report(recording) and not recording.damaged


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["", "time,a\n"])
def test_a_file_is_followed_from_before_its_first_row(tmp_path, begin):
    # Given a file that is empty or has its names only
    file = tmp_path / "x.csv"
    file.write_text(begin)
    going_on = threading.Event()
    writer = threading.Timer(0.5, lambda: file.open("a").write("time,a\n"[len(begin) :] + "2026-01-30 12:00,1\n"))
    writer.start()
    # When it is followed, Then its first row is waited for
    recording = open_recording(file, case_config(), follow=lambda: not going_on.is_set())
    pieces = recording.pieces()
    assert next(pieces).readings == 1
    going_on.set()
    assert list(pieces) == []


def test_a_packed_line_without_end_takes_no_memory(tmp_path):
    # Given 100 MB of NUL bytes in one line, packed
    packed = zstandard.ZstdCompressor(1).compress(b"time,a\n2026-01-30,1\n" + bytes(100_000_000) + b"\n2026-01-31,2\n")
    tracemalloc.start()
    recording, found = taken(tmp_path, packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Then it costs its row, and no more memory than a part of it
    assert [value for *_, value in found] == [1, 2] and peak < 60_000_000
    assert "1 row left out, the first at line 3: expected lines of at most 1,048,576 bytes" in report(recording)
