"""corec.sources.recordings.replay and corec.common.times: recordings of every kind, good and bad."""

import os
import time

import numpy as np
import pytest

from corec._core.wire import HEADER, encode_frames, pack_envelope
from corec.common.times import clock, detect, iso, require_time
from corec.config import parse
from corec.engine import Engine
from corec.errors import FrameError, InputError, UsageError
from corec.sources.recordings.frames_recording import MAGIC, write_frames
from corec.sources.recordings.replay import fold, open_recording
from tests.support.paths import ROOT
from tests.support.recordings import NEW_YEAR, envelopes

RECORDING = ROOT / "examples" / "data" / "cold_room.csv"
CONFIG = parse(
    {
        "bloques": [
            {"id": "casa", "canal": 1, "entidades": 30, "entidades_por_bloque": 10},
            {
                "id": "calle",
                "canal": 2,
                "entidades": 5,
                "ids": {"device": [70, 90], "name": ["oven", ""], "unit": ["°C", ""]},
            },
        ]
    }
)
HOUR = 3_600_000


def written(tmp_path, text, name="recording.csv"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def opened(tmp_path, text, **options):
    return open_recording(written(tmp_path, text), CONFIG, **options)


def readings(recording, span=None):
    """(time, id, canal, value) of each reading, None for NaN."""
    rows = []
    for piece in recording.pieces(span):
        batch = piece.content
        times = batch.time + batch.offsets.astype(np.int64)
        values = [None if np.isnan(value) else round(value, 4) for value in batch.valores.tolist()]
        rows += zip(times.tolist(), batch.ids.tolist(), batch.canal.tolist(), values, strict=True)
    return rows


def replayed(recording):
    engine = Engine(CONFIG)
    for piece in recording.pieces():
        list(fold(engine, piece.content))
    engine.finish()
    return engine


# --- times -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    ("text", "about", "ms"),
    [
        ("2025-01-01T00:00:00Z", "with a zone", NEW_YEAR),
        ("2025-01-01T01:00:00+01:00", "with a zone", NEW_YEAR),
        ("2025-01-01 00:00:00", "taken as UTC", NEW_YEAR),
        ("2025-01-01T00:00:00.250", "taken as UTC", NEW_YEAR + 250),
        ("2025-01-01", "taken as UTC", NEW_YEAR),
        (" 1735689600 ", "seconds since 1970", NEW_YEAR),
        ("1735689600.5", "seconds since 1970", NEW_YEAR + 500),
        ("1735689600000", "milliseconds since 1970", NEW_YEAR),
        ("0", "seconds since 1970", 0),
    ],
)
def test_times_are_known_by_how_they_look(text, about, ms):
    format = detect(text)
    assert about in format.about
    assert format.read(text) == ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "31.12.2025", "1735689600000000000", "-5", "nan", "inf", "12:30", "1960-01-01"]
)
def test_what_is_no_time_is_none(text):
    assert detect(text) is None
    with pytest.raises(FrameError, match="expected a time"):
        require_time(text, "here")


def test_times_are_shown_in_utc():
    assert iso(NEW_YEAR + 61_005) == "2025-01-01 00:01:01.005"
    assert clock(NEW_YEAR + 61_005) == "00:01:01"
    assert iso(2**60) == str(2**60)


# --- columns of values -----------------------------------------------------------------------------


def test_one_column_is_the_first_entity(tmp_path):
    # Given the usual form of a recording
    recording = opened(tmp_path, "timestamp,value\n2025-01-01 00:00:00,1.5\n2025-01-01 00:05:00,2\n")
    # When it is read
    found = readings(recording)
    # Then both rows are readings of entity 0 at their own times, and the file says what it was taken for
    assert found == [(NEW_YEAR, 0, 1, 1.5), (NEW_YEAR + 300_000, 0, 1, 2.0)]
    assert "times in column timestamp, ISO 8601 without a zone, taken as UTC" in recording.about[0]
    assert recording.about[1] == "column value -> casa, wire id 0"
    assert (recording.rows, recording.notes(), recording.names) == (2, [], {0: "value"})


def test_columns_are_devices_by_name_and_others_get_entities(tmp_path):
    # Given columns with the name of a device, the id of another, and two that are neither
    recording = opened(tmp_path, "a,time,oven,b,90\n1,0,2,3,4\n")
    # Then the named ones go there, the others to free entities by the table of names
    assert readings(recording) == [(0, 0, 1, 1.0), (0, 70, 2, 2.0), (0, 1, 1, 3.0), (0, 90, 2, 4.0)]
    assert recording.about[1:] == (
        "columns oven, 90 -> the device of that name or id",
        "columns a, b -> casa, wire ids 0 to 1",
    )


@pytest.mark.parametrize(
    ("text", "block", "ids"),
    [("0,1,2\n", "casa", [0, 1]), ("0,1,2\n", "casa/2", [20, 21]), ("time,a,b\n0,1,2\n", "casa/2", [20, 21])]
)
def test_block_chooses_where_columns_go(tmp_path, text, block, ids):
    recording = opened(tmp_path, text, block=block)
    assert [id for _, id, *_ in readings(recording)] == ids


@pytest.mark.parametrize(
    ("text", "block", "message"),
    [
        ("0,1\n", "cosa", 'did you mean "casa"'),
        ("0,1\n", "casa/3", 'did you mean "casa"'),
        ("0,1\n", "x", "casa, calle"),
        ("0,1,2\n", "calle", "a first line with the names of the devices of calle"),
        ("time,oven,70\n0,1,2\n", "calle", "got wire id 70 for 'oven' and for '70'"),
        ("0" + ",1" * 31 + "\n", "casa", "at most 30 value columns, the entities of casa, got 31"),
        ("time" + ",a" * 31 + "\n0" + ",1" * 31 + "\n", "casa", "at most 30 value columns, the entities of casa, got 31"),
    ],
)
def test_columns_without_an_entity_are_refused(tmp_path, text, block, message):
    with pytest.raises(UsageError) as error:
        opened(tmp_path, text, block=block)
    assert message in str(error.value)


def test_empty_cells_are_skipped_and_text_is_a_failure(tmp_path):
    recording = opened(tmp_path, "time,a,b\n0,1,\n1,broken,2\n2,,\n3,4\n")
    assert readings(recording) == [(0, 0, 1, 1.0), (1000, 0, 1, None), (1000, 1, 1, 2.0), (3000, 0, 1, 4.0)]
    assert recording.notes() == ["1 cell of text counted as failed readings, most in column a", "4 empty cells skipped"]
    # and the engine takes the text for what it is
    assert replayed(recording).entity(0)["quality"] in ("warming", "good", "not finite")


def test_rows_that_cannot_be_read_are_counted_and_named(tmp_path):
    recording = opened(tmp_path, "time,a\n2025-01-01,1\nlater,2\n2025-01-02,3,4\n2025-01-03,5\n")
    assert [value for *_, value in readings(recording)] == [1.0, 5.0]
    assert recording.notes() == [
        "2 rows left out, the first at line 3: expected a time, ISO 8601 without a zone, taken as UTC, got 'later'",
        "  1 row without a time, the first at line 3: expected a time, ISO 8601 without a zone, taken as UTC, got 'later'",
        "  1 row with more cells than columns, the first at line 4: expected 2 values, got 3; decimals take a point",
    ]
    assert recording.damaged


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_known_by_what_they_separate(tmp_path, delimiter):
    text = "time,a,b\r\n0,1,2\r\n".replace(",", delimiter)
    assert len(readings(opened(tmp_path, "\ufeff" + text))) == 2


def test_file_without_a_header_numbers_its_columns(tmp_path):
    recording = opened(tmp_path, "1735689600000,1,2\n1735689600100,3,4\n")
    assert recording.names == {0: "column1", 1: "column2"}
    assert len(readings(recording)) == 4


def test_pieces_cover_no_more_than_a_span(tmp_path):
    # Given readings a second apart for a minute, and one a year later
    rows = "".join(f"{second},1\n" for second in [*range(60), 31_536_000])
    # When they are read in pieces of ten seconds, or without a bound
    short = list(opened(tmp_path, rows).pieces(10_000))
    whole = list(opened(tmp_path, rows).pieces())
    # Then no piece is longer, nor longer than its offsets can say
    assert [(piece.start, piece.time) for piece in short][:2] == [(0, 10_000), (11_000, 21_000)]
    assert [piece.readings for piece in whole] == [60, 1]
    assert whole[-1].position == (tmp_path / "recording.csv").stat().st_size


def test_rows_out_of_order_count(tmp_path):
    engine = replayed(opened(tmp_path, "time,a\n100,1\n50,2\n101,3\n"))
    assert (engine.ledger["in"], engine.ledger["late"]) == (3, 0)


def test_columns_on_several_channels_keep_their_order_in_time(tmp_path):
    # Given an hour of rows over two channels
    rows = "".join(f"{second},1,2\n" for second in range(0, 3600, 10))
    engine = replayed(opened(tmp_path, "time,a,oven\n" + rows))
    # Then no row is late for the other channel's sake
    assert engine.ledger["late"] == 0 and engine.ledger["in"] == 720


def test_value_too_large_for_a_frame_is_a_failure(tmp_path):
    assert replayed(opened(tmp_path, "0,1e300\n")).ledger["rejected"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("hello\n", "a column of times and columns of values"),
        ("time,a\n", "expected rows of readings"),
        ("time,a\nyesterday,1\n", "expected a time in column time, got 'yesterday' - at line 2"),
        ("a,b\n1,2\n", None),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe" * 50, "expected a CSV in UTF-8"),
        ("time,a\n46052.5,1\n46052.6,2\n", "expected a time in column time, got '46052.5' - at line 2"),
        ("date,a\n2612-01-30,1\n", "expected a time in column date, got '2612-01-30' - at line 2"),
        ("time,a\n03/04/2026,1\n", "--dates dmy"),
    ],
)
def test_what_is_no_csv_is_refused_with_a_reason(tmp_path, text, message):
    if message is None:  # times of a few seconds past 1970 are times
        assert readings(opened(tmp_path, text)) == [(1000, 0, 1, 2.0)]
        return
    with pytest.raises(InputError) as error:
        readings(opened(tmp_path, text))
    assert message in str(error.value) and "recording.csv" in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(UsageError, match="expected a recording"):
            open_recording(path, CONFIG)


# --- frames ----------------------------------------------------------------------------------------


def frames_file(tmp_path, content):
    return written(tmp_path, MAGIC + b"".join(content), "recording.frames")


def test_batches_of_frames_are_folded_as_they_were_sent(tmp_path):
    # Given five batches, one of them twice
    sent = envelopes()
    file = tmp_path / "recording.frames"
    assert write_frames(file, [*sent, sent[2]]) == 6
    # When they are replayed
    recording = open_recording(file, CONFIG)
    ledger = replayed(recording).ledger
    # Then the repeat is dropped, as in a node
    assert (ledger["in"], ledger["rejected_repeated"]) == (600, 100)
    assert (recording.rows, recording.damaged, recording.notes()) == (6, False, [])


def test_every_flipped_byte_is_found(tmp_path):
    sent = envelopes(3, each=10)
    whole = b"".join(sent)
    for position in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[position] ^= 0x10
        recording = open_recording(frames_file(tmp_path, [bytes(spoiled)]), CONFIG)
        left = [piece.content for piece in recording.pieces()]
        assert left == [one for n, one in enumerate(sent) if n != position // len(sent[0])], position
        assert recording.damaged
        assert recording.damaged_bytes == len(sent[0])


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_torn_end_and_garbage_between_are_left_out(tmp_path, cut):
    sent = envelopes(3)
    recording = open_recording(frames_file(tmp_path, [sent[0], b"CB\x01garbage", sent[1], sent[2][:-cut]]), CONFIG)
    assert [piece.readings for piece in recording.pieces()] == [100, 100]
    assert f"the first at byte {len(MAGIC) + len(sent[0]):,}" in recording.notes()[0]


def test_a_batch_that_covers_days_is_folded_whole(tmp_path):
    # Given a batch as `corec send` makes it of an old file: its time is that of its first row, and it goes on for a week
    hours = np.arange(168, dtype=np.int32) * 3_600_000
    frames = encode_frames(np.zeros(168, np.uint32), 1, np.arange(168.0), True)
    file = tmp_path / "x.frames"
    write_frames(file, [pack_envelope(frames, producer=3, epoch=1, sequence=0, time=NEW_YEAR, offsets=hours)] * 2)
    # When it is replayed, Then every reading counts at its own time, and once
    ledger = replayed(open_recording(file, CONFIG)).ledger
    assert (ledger["in"], ledger["rejected_skew"], ledger["late"], ledger["rejected_repeated"]) == (336, 0, 0, 168)


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("age", [0, 5])
@pytest.mark.parametrize("offsets", [False, True])
def test_envelopes_of_every_form_are_found(tmp_path, count, age, offsets):
    # Given batches with and without offsets and an age, packed and not, behind damage
    frames, times = encode_frames(np.zeros(count, np.uint32), 1, np.arange(count) * 1.0, True), np.arange(count) if offsets else None
    sent = [pack_envelope(frames, producer=3, epoch=1, sequence=n * count, time=NEW_YEAR, offsets=times, age=age) for n in range(3)]
    recording = open_recording(frames_file(tmp_path, [b"CB\x01", *sent[:2], b"damage", sent[2]]), CONFIG)
    # Then all are read
    assert [piece.content for piece in recording.pieces()] == sent
    assert recording.damaged_bytes == 9


def test_frames_that_are_cut_short_while_they_are_read_end_there(tmp_path):
    # Given a recording that somebody empties while it is read
    file = tmp_path / "x.frames"
    write_frames(file, envelopes(2000))
    recording = open_recording(file, CONFIG)
    pieces = recording.pieces()
    assert next(pieces).readings == 100
    os.truncate(file, 100)
    # Then what was there is read, the rest is counted, and no signal ends the process
    assert sum(piece.readings for piece in pieces) < 199_900
    assert recording.damaged


def test_damaged_frames_are_read_quickly(tmp_path):
    # Given 4 MB of what looks like heads of large batches, with sound ones before and behind it
    first, last = envelopes(2)
    head = HEADER.pack(b"CB", 1, 1, 1_000_000, 1, 1, 1, NEW_YEAR, 2_000_000, 0)
    began = time.process_time()
    recording = open_recording(frames_file(tmp_path, [first, head * 100_000, last]), CONFIG)
    # Then both sound ones are found
    assert [piece.content for piece in recording.pieces()] == [first, last]
    # and where even their content looks right, the search ends, and what it did not look through is counted
    recording = open_recording(frames_file(tmp_path, [first, (head + b"\x28\xb5\x2f\xfd") * 100_000, last]), CONFIG)
    assert [piece.content for piece in recording.pieces()] == [first]
    assert recording.damaged_bytes == 5_200_000 + len(last) and time.process_time() - began < 10


def test_bare_frames_have_the_time_that_is_given(tmp_path):
    # Given frames, one with a last byte that is neither 0 nor 1
    frames = encode_frames([1, 2, 3], 1, [1.0, 2.0, 3.0], True)[:-1] + b"\x07"
    file = written(tmp_path, frames, "bare.frames")
    # When they are replayed at a time
    recording = open_recording(file, CONFIG, at=NEW_YEAR)
    engine = replayed(recording)
    # Then they are judged as they came
    assert (engine.ledger["in"], engine.ledger["rejected_malformed"], engine.clock) == (3, 1, NEW_YEAR)
    assert (recording.unit, recording.rows) == ("frame", 3)
    assert "2025-01-01 00:00:00" in recording.about[0]


@pytest.mark.parametrize(
    ("content", "at", "message"),
    [
        (b"0123456789", None, "needs --at TIME"),
        (b"012345678", NEW_YEAR, "whole frames of 10 bytes, got 9 bytes"),
        (MAGIC, None, "at least one batch"),
        (b"", NEW_YEAR, "an empty file"),
    ],
)
def test_what_are_no_frames_is_refused_with_a_reason(tmp_path, content, at, message):
    with pytest.raises(InputError) as error:
        open_recording(written(tmp_path, content, "x.frames"), CONFIG, at=at)
    assert message in str(error.value)


# --- a recording whole ------------------------------------------------------------------------------


def test_recording_of_the_examples_is_folded_whole():
    # Given the recording that the examples use, when it is read, then each of its lines is a reading
    recording = open_recording(RECORDING, CONFIG)
    lines = len(RECORDING.read_text().splitlines())
    assert sum(piece.readings for piece in recording.pieces()) % recording.rows == 0 and recording.rows == lines - 1
    engine = replayed(open_recording(RECORDING, CONFIG))
    assert engine.ledger["in"] >= recording.rows
    assert engine.ledger["in"] == engine.ledger["stored"] + engine.ledger["filtered"] + engine.ledger["late"] + engine.ledger["rejected"]
