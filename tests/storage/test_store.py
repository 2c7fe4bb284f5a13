"""The store: a turn is there whole or not at all, every row is checked, and the file keeps its bounds."""

import logging
import math
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core.dtypes import AGGREGATE, ALERT
from corec._core.wire import decode_frames
from corec.errors import DamagedFile, DiskFull, FenceLost, InternalError, StorageError
from corec.storage.base import LateBatch, StoreBase, StoredBlock, StoreState
from corec.storage.moments import merge_windows
from corec.storage.sqlite.read import SqliteReader
from corec.storage.sqlite.recovery import open_store
from corec.storage.sqlite.retention import SqliteRetention
from corec.storage.sqlite.store import SqliteStore
from corec.storage.sqlite.verify import verify
from tests.support.faults.memory import memory_folder
from tests.support.paths import ROOT
from tests.support.stores import BLOCKS, START, fill, record, second, some_alerts, some_messages

pytestmark = pytest.mark.chaos

CHAOS = os.environ.get("COREC_CHAOS") == "1"


@pytest.fixture
def tmp_path():
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    store = SqliteStore(path, instance="corec1")
    store.set_blocks(BLOCKS)
    yield store
    store.close()


# -- turns


def test_a_turn_is_read_back_as_it_was_committed(store):
    aggregates, alerts = second(1), some_alerts(1)
    store.commit(record(1), aggregates=aggregates, alerts=alerts, ledger={"in": 5, "stored": 5})
    assert store.state == StoreState(1, 10, {"in": 5, "stored": 5})
    assert list(store.turns()) == [record(1)]
    np.testing.assert_array_equal(store.history()[list(AGGREGATE.names)].astype(AGGREGATE), aggregates)
    assert store.alerts().tobytes() == alerts[[1, 0]].tobytes()


def test_happening_without_a_fitness_is_kept(store, path):
    # Given something that happened to a block of which nothing was measured
    store.commit(record(1), events=[(START, 0, "fuse", 1, math.nan, 0.75, 0, 2, 0, "test", "")])
    # Then it is in the history, and NaN there
    reader = SqliteReader(path)
    (found,) = reader.happenings()
    reader.close()
    assert (found.what, found.host, found.host_fitness, math.isnan(found.fitness)) == ("fuse", 1, 0.75, True)


def test_it_goes_on_after_closing(path):
    first = SqliteStore(path)
    fill(first, 3)
    first.close()
    again = SqliteStore(path)
    assert again.state == StoreState(3, 30, {"in": 3})
    fill(again, 2)
    assert [r.turn for r in again.turns(after=2)] == [3, 4, 5]
    assert verify(path) == []


@pytest.mark.parametrize(
    "wrong", [{"turn": 3}, {"turn": 1}, {"from_offset": 9}, {"from_offset": 11}, {"to_offset": 9}], ids=str
)
def test_turns_follow_each_other_without_a_hole(store, wrong):
    fill(store, 1)
    with pytest.raises(InternalError, match="expected turn 2 from offset 10"):
        store.commit(record(2)._replace(**wrong))
    store.commit(record(2))


def test_a_second_owner_makes_the_first_one_stop(path):
    first = SqliteStore(path)
    fill(first, 1)
    second_owner = SqliteStore(path)
    with pytest.raises(FenceLost, match="another node took over"):
        first.commit(record(2))
    with pytest.raises(FenceLost):
        first.note_snapshot(1, 10, 1)
    fill(second_owner, 1)
    assert second_owner.state.turn == 2


def test_a_turn_that_fails_leaves_no_trace(store, path):
    fill(store, 1)
    twice = np.concatenate([second(2), second(2)])
    with pytest.raises(StorageError, match="UNIQUE"):
        store.commit(record(2), aggregates=twice, alerts=some_alerts(2), messages=some_messages(2))
    assert store.state.turn == 1
    assert verify(path) == []
    fill(store, 1)


def test_a_full_disk_is_said_and_the_turn_can_be_tried_again(store, path):
    fill(store, 1)
    store.db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(DiskFull, match="no room left to commit"):
        fill(store, 2_000)
    turn = store.state.turn
    store.db.execute("PRAGMA max_page_count = 100000")
    fill(store, 1)
    assert store.state.turn == turn + 1
    assert verify(path) == []


# -- rows


def test_what_sqlite_does_not_keep_bit_for_bit_still_matches_its_checksum(store, path):
    odd = second(1)
    odd["mean"][0] = -0.0
    odd["min"][0] = math.nan
    odd["max"] = np.array([0x7FC00001, 0xFFC00000, 0x7F800000], "<u4").view("<f4")
    odd["std"][1] = math.inf
    odd["count"][2] = 0xFFFFFFFF
    store.commit(record(1), aggregates=odd)
    found = store.history()
    assert verify(path) == []
    assert np.isnan(found["min"][0]) and np.isnan(found["max"][:2]).all() and found["max"][2] == math.inf
    assert found["count"][2] == 0xFFFFFFFF
    assert store.db.execute('SELECT "min" FROM windows WHERE block = 0').fetchone() == (None,)


def test_history_is_chosen_by_block_and_time(store):
    fill(store, 30)
    one = store.history("nodo/0", START + 5_000, START + 9_000)
    assert (one["window"] - START).tolist() == [5_000, 6_000, 7_000, 8_000] and set(one["block"]) == {2}
    both = store.history("enjambre_sensor/*", START + 5_000, START + 9_000)
    assert both["block"].tolist() == [0, 1] * 4 and set(both["span"]) == {0}
    assert len(store.history("none/*")) == 0
    assert len(store.history()) == 90


def test_history_of_many_blocks_is_the_same_as_of_each(store):
    store.set_blocks([StoredBlock(i, f"b/{i}", 1, 10) for i in range(3, 80)])
    for turn in range(1, 6):
        store.commit(record(turn), aggregates=second(turn, 80))
    many = store.history("b/*")
    each = np.concatenate([store.history(f"b/{i}") for i in range(3, 80)])
    np.testing.assert_array_equal(many, each[np.lexsort((each["block"], each["window"]))])


def test_alerts_are_chosen_by_time(store):
    fill(store, 9)
    found = store.alerts(START + 3_000, START + 6_000)
    assert found["id"].tolist() == [3, 4, 5] and found.dtype == ALERT


def test_messages_and_alerts_go_to_their_streams_as_frames(store):
    fill(store, 2)
    entries = store.outbox("corec:messages:1")
    assert [(seq, time) for seq, time, _ in entries] == [(1, START), (4, START)]
    ids, canales, valores, estados = decode_frames(entries[1][2])
    assert (ids.tolist(), canales.tolist(), valores.tolist(), estados.tolist()) == ([2, 6], [1, 1], [1.5, 3.5], [1, 1])
    alert_ids, _, _, alive = decode_frames(store.outbox("corec:alerts", after=3)[0][2])
    assert (alert_ids.tolist(), alive.tolist()) == ([2, 2], [1, 0])
    assert store.outbox("corec:messages:2", after=2, limit=1)[0][0] == 5


def test_output_streams_are_bounded_and_what_goes_is_counted(path):
    store = SqliteStore(path, messages_bytes=1_000)
    fill(store, 60)
    totals = store.totals
    assert totals["outbox_bytes"] <= 1_000
    streams = ("corec:messages:1", "corec:messages:2", "corec:alerts")
    held = sum(len(frames) for stream in streams for *_, frames in store.outbox(stream))
    assert held == totals["outbox_bytes"]
    assert totals["outbox_frames_dropped"] == 60 * 5 - held // 10
    assert store.outbox("corec:alerts")[-1][0] == totals["outbox_seq"] == 180
    assert verify(path) == []


def test_no_messages_are_kept_when_none_are_wanted(path):
    store = SqliteStore(path, messages_bytes=0)
    fill(store, 3)
    assert store.outbox("corec:messages:1") == [] and verify(path) == []


def test_late_frames_are_put_aside_within_a_bound(path):
    store = SqliteStore(path, late_bytes=2_000)
    fill(store, 40)
    late = list(store.late())
    assert sum(len(batch.frames) for batch in late) <= 2_000
    assert late[-1] == LateBatch(0, START + 40, b"frames" * 40, "skew")
    assert store.totals["late_frames_dropped"] > 0 and verify(path) == []


def test_documented_view_of_blocks(store):
    fill(store, 1)
    columns = "id, canal, num_entidades, fitness, timestamp, instance_id, count"
    found = store.db.execute(f"SELECT {columns} FROM bloques ORDER BY id").fetchall()
    expected = second(1)
    assert found[2][:3] == ("nodo/0", 1, 500) and found[2][5:] == ("corec1", int(expected["count"][2]))
    assert found[0][4] == "2023-11-14T22:13:01.000Z"


# -- other processes


def test_other_processes_read_while_the_node_commits(store, path):
    fill(store, 5)
    program = (
        "import sys; from pathlib import Path; from corec.storage.sqlite.read import SqliteReader\n"
        "reader = SqliteReader(Path(sys.argv[1])); print(reader.state.turn, len(reader.history()), reader.instance)\n"
        "reader.db.execute('BEGIN'); print(reader.state.turn, flush=True); sys.stdin.readline(); print(reader.state.turn)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reader = subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, env=environment)  # fmt: skip
    assert reader.stdout.readline() == "5 15 corec1\n" and reader.stdout.readline() == "5\n"
    fill(store, 3)
    assert reader.communicate("go on\n", timeout=120)[0] == "5\n"
    assert store.state.turn == 8


def test_a_reader_of_nothing_says_what_to_do(path):
    with pytest.raises(StorageError, match="corec run"):
        SqliteReader(path)


def test_a_stopped_node_can_be_read(path):
    store = SqliteStore(path)
    fill(store, 2)
    store.close()
    assert not path.with_name("store.db-wal").exists()
    reader = SqliteReader(path)
    assert (reader.state.turn, len(reader.history())) == (2, 6)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.db.execute("DELETE FROM turns")


# -- retention


def run_all(retention: SqliteRetention, now: int, **options) -> int:
    slices = 0
    while retention.step(now, **options):
        slices += 1
        assert slices < 20_000
    return slices


@settings(max_examples=100 if CHAOS else 30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), min_size=1, max_size=12), st.sampled_from([0.0, 101_325.0, -3e7]))
def test_merged_windows_have_the_moments_of_all_readings_together(windows, level):
    windows = [[level + value / 1e5 for value in window] for window in windows]
    array = np.zeros(len(windows), AGGREGATE)
    for row, readings in zip(array, windows, strict=True):
        row["count"], row["score"], row["errors"] = len(readings), len(readings), 1
        of = (statistics.fmean, statistics.pstdev, min, max)
        row["mean"], row["std"], row["min"], row["max"] = (f(readings) if readings else math.nan for f in of)
    (merged,) = merge_windows(array, 60_000)
    everything = [value for window in windows for value in window]
    assert (merged["count"], merged["errors"]) == (len(everything), len(windows))
    if everything:
        assert merged["mean"] == pytest.approx(statistics.fmean(everything), rel=1e-12, abs=1e-9)
        assert merged["std"] == pytest.approx(statistics.pstdev(everything), rel=1e-6, abs=1e-6)
        assert (merged["min"], merged["max"]) == (np.float32(min(everything)), np.float32(max(everything)))
    else:
        assert math.isnan(merged["mean"]) and math.isnan(merged["std"])


@pytest.mark.parametrize("slice_rows", [2, 7, 1_000])
def test_windows_become_minutes_and_nothing_is_counted_twice(store, path, slice_rows):
    fill(store, 200)
    whole = store.history(resolution="minute")
    retention = SqliteRetention(store, roll_up_after_ms=60_000, slice_rows=slice_rows)
    # At every step of the housekeeping, history by the minute is the same
    now = START + 200_000
    while retention.step(now):
        between = store.history(resolution="minute")
        for name in AGGREGATE.names:
            np.testing.assert_allclose(between[name], whole[name], rtol=1e-6, err_msg=name)
        assert store.db.execute('SELECT sum("count") FROM bloques').fetchone()[0] == whole["count"].sum()
    spans = store.history()["span"]
    assert (spans == 60_000).sum() == 6 and (spans == 0).sum() == 3 * 81
    assert verify(path) == []


def test_windows_that_come_after_their_minute_join_it(store, path):
    fill(store, 130)
    retention = SqliteRetention(store, roll_up_after_ms=0)
    run_all(retention, START + 200_000)
    before = store.history(resolution="minute")
    behind = second(3)
    behind["window"] = START + 500
    turn = store.state.turn + 1
    store.commit(record(turn), aggregates=behind)
    run_all(retention, START + 200_000)
    after = store.history(resolution="minute")
    assert after["count"].sum() == before["count"].sum() + behind["count"].sum()
    assert len(after) == len(before) and verify(path) == []


def test_minutes_with_few_windows_are_rolled_up_together(store, path):
    # Given twenty minutes with a window each, When they are rolled up
    for turn in range(1, 21):
        windows = second(turn)
        windows["window"] = START // 60_000 * 60_000 + 60_000 * turn
        store.commit(record(turn), aggregates=windows)
    whole = store.history(resolution="minute")
    now = START + 30 * 60_000
    slices = run_all(SqliteRetention(store, roll_up_after_ms=0), now)
    # Then that takes a few transactions, not three for each, and the minutes are what they were
    assert slices < 10 and (store.history()["span"] == 60_000).all()
    assert_same_rows(store.history(), whole)
    # When a window comes late to a minute in the middle, Then only that minute changes
    behind = second(3)[:1]
    behind["window"] = whole["window"][30]
    store.commit(record(21), aggregates=behind)
    run_all(SqliteRetention(store, roll_up_after_ms=0), now)
    changed = store.history()["count"].astype(np.int64) - whole["count"]
    assert changed.sum() == behind["count"][0] and (changed != 0).sum() == 1 and verify(path) == []


def assert_same_rows(one, other):
    for name in one.dtype.names:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_minute_waits_for_company_before_it_is_rolled_up(store):
    # Given a minute that is over for long enough, Then it is rolled up a while later, with those behind it
    fill(store, 200)
    retention = SqliteRetention(store, roll_up_after_ms=600_000)
    begun = [late for late in range(0, 400_000, 1_000) if retention.step(START + 600_000 + late)]
    assert begun and begun[0] > 100_000 + 40_000


def test_housekeeping_goes_on_where_a_crash_left_it(path, tmp_path):
    store = SqliteStore(path)
    store.set_blocks(BLOCKS)
    fill(store, 130)
    whole = store.history(resolution="minute")["count"].sum()
    retention, step = SqliteRetention(store, roll_up_after_ms=0, slice_rows=20), 0
    while retention.step(START + 200_000):
        step += 1
        copy = tmp_path / f"crash{step}"
        copy.mkdir()
        for name in ("store.db", "store.db-wal"):
            shutil.copy(path.with_name(name), copy / name)
        recovered = SqliteStore(copy / "store.db")
        run_all(SqliteRetention(recovered, roll_up_after_ms=0, slice_rows=20), START + 200_000)
        assert recovered.history(resolution="minute")["count"].sum() == whole
        recovered.close()
        assert verify(copy / "store.db") == []


def test_old_rows_go(store, path):
    fill(store, 120)
    now = START + 31 * 86_400_000
    run_all(SqliteRetention(store, days=30, roll_up_after_ms=0), now)
    assert len(store.history()) == len(store.alerts()) == len(list(store.late())) == 0
    assert store.outbox("corec:messages:1") == [] and verify(path) == []
    assert store.state.turn == 120


@pytest.mark.slow
def test_the_file_stays_within_its_bound(path):
    # Given a store of at most 4 MB and five times as much to keep
    bound = 4 << 20
    store = SqliteStore(path, messages_bytes=50_000, late_bytes=50_000)
    store.set_blocks([StoredBlock(i, f"b/{i}", 1, 10) for i in range(200)])
    retention = SqliteRetention(store, max_bytes=bound, slice_rows=500)
    largest = 0
    for turn in range(1, 1_200):
        store.commit(record(turn), aggregates=second(turn, 200))
        retention.run(START + 1000 * turn, budget_s=0.02)
        largest = max(largest, path.stat().st_size)
    # Then it kept to that, with the newest as windows and the older as minutes
    assert largest <= bound
    kept = store.history()
    assert kept["window"].max() == START + 1_199_000
    assert (kept["span"] == 60_000).any() and (kept["span"] == 0).sum() > 10_000
    assert verify(path) == []


def test_a_smaller_bound_gives_disk_space_back(path):
    store = SqliteStore(path)
    for turn in range(1, 150):
        store.commit(record(turn), aggregates=second(turn, 200))
    store.checkpoint()
    assert path.stat().st_size > 2 << 20
    run_all(SqliteRetention(store, max_bytes=1 << 20, days=0.001), START + 86_400_000)
    store.close()
    assert path.stat().st_size < 1 << 20


@pytest.mark.slow
def test_turn_records_are_kept_as_long_as_they_can_be_replayed(store, path):
    fill(store, 3_000)
    store.note_snapshot(1_000, 10_000, 1)
    store.note_snapshot(2_900, 29_000, 2)
    retention = SqliteRetention(store, roll_up_after_ms=1 << 50, days=1e6)
    run_all(retention, START, log_first=100)
    assert next(store.turns()).turn == 1
    run_all(retention, START, log_first=29_000)
    assert 1 < next(store.turns()).turn <= 1_000
    assert verify(path) == []


# -- damage


def test_every_kind_of_problem_is_named(store, path):
    fill(store, 10)
    changes = {
        "UPDATE windows SET mean = mean + 1 WHERE block = 1 AND turn = 3": "row (1700000000000|169999998.*) of windows",
        "UPDATE alerts SET valor = 1 WHERE turn = 2": "of alerts does not match",
        "UPDATE turns SET load_q = 8 WHERE turn = 4": "row 4 of turns",
        "UPDATE late SET cause = 'x' WHERE turn = 4": "row 4 of late",
        "UPDATE outbox SET time = 0 WHERE seq = 4": "row 4 of outbox",
        "UPDATE meta SET value = 'other' WHERE key = 'instance'": "row instance of meta",
        "UPDATE blocks SET canal = 9 WHERE block = 0": "row 0 of blocks",
        "DELETE FROM turns WHERE turn = 5": "turn 4 up to offset 40 is followed by turn 6",
        "DELETE FROM windows WHERE turn = 7": "turn 7 committed 3 rows to windows, 0 are there",
        "DELETE FROM late WHERE turn = 7": "expected 10 rows in late, got 9",
        "DROP VIEW bloques": "the definition of bloques",
    }
    store.close()
    for change, problem in changes.items():
        damaged = shutil.copy(path, path.with_name("damaged.db"))
        with closing(sqlite3.connect(damaged)) as db, db:
            db.execute(change)
        found = verify(damaged)
        assert any(problem.split("|")[0].removeprefix("row (1700000000000") in text for text in found), (change, found)
    assert verify(path) == []


def _small(path: Path) -> tuple[bytes, list]:
    """A store of a few pages without a WAL, and what it says."""
    store = SqliteStore(path, page_bytes=512)
    store.set_blocks(BLOCKS)
    fill(store, 70)
    store.note_snapshot(60, 600, 1)
    run_all(SqliteRetention(store, roll_up_after_ms=0, days=1e6), START + 130_000)
    store.close()
    return path.read_bytes(), _content(path)


def _content(path: Path) -> list:
    """Every row of every table as SQLite gives it to us, and the views."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")]
        dump = [(name, db.execute(f"SELECT * FROM {name}").fetchall()) for name in names]
    db.close()
    return dump


@pytest.mark.slow
def test_every_flipped_byte_is_found_or_changes_nothing(path, tmp_path):
    content, truth = _small(path)
    rng = random.Random(5)
    positions = range(len(content)) if CHAOS else sorted({*range(100), *rng.sample(range(len(content)), 700)})
    place = tmp_path / "flipped.db"
    harmless = 0
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.randrange(8) if position % 2 else 0xFF
        place.write_bytes(damaged)
        if not verify(place):
            assert _content(place) == truth, position
            harmless += 1
        for leftover in tmp_path.glob("flipped.db-*"):
            leftover.unlink()
    assert harmless < len(positions) / 2


def test_a_damaged_store_is_put_aside_and_nothing_accepted_is_lost(path, caplog):
    # Given a store of 40 turns, a snapshot of turn 30, and damage in a turn record behind it
    store = SqliteStore(path)
    store.set_blocks(BLOCKS)
    fill(store, 40)
    truth = store.history()
    store.close()
    _damage(path, "UPDATE turns SET to_offset = to_offset + 1 WHERE turn = 38")
    # When it is opened with the snapshot's turn and offset
    store = open_store(path, base=StoreBase(30, 300, {"in": 30}))
    # Then a new one begins there, with the rows that can be trusted and are not made again by the journal
    assert store.state == StoreState(30, 300, {"in": 30})
    kept = store.history()
    np.testing.assert_array_equal(kept, truth[truth["window"] <= START + 30_000])
    assert len(store.alerts()) == 60 and len(list(store.late())) == 30
    # And the turn records behind it, up to the damage, can be folded again as they were
    assert store.salvaged == [record(turn) for turn in range(31, 38)]
    assert "[Store-corec1]" in caplog.text and "a new store begins at turn 30, offset 300" in caplog.text
    assert len(list(path.parent.glob("store.db.damaged-*[0-9]"))) == 1
    fill(store, 3)
    # And consumers of the output streams are never given a number again
    assert store.outbox("corec:alerts")[-1][0] == 120 + 9
    store.close()
    assert verify(path) == []


def _damage(path: Path, change: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()


@pytest.mark.parametrize("damage", ["header", "truncated", "empty", "middle"])
def test_a_store_with_broken_pages_gives_what_can_still_be_read(path, damage, caplog):
    caplog.set_level(logging.CRITICAL)
    store = SqliteStore(path, page_bytes=1024)
    store.set_blocks(BLOCKS)
    fill(store, 400)
    store.close()
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    if damage == "header":
        content[:16] = bytes(16)
    elif damage == "middle":
        content[half : half + 20_000] = random.Random(3).randbytes(20_000)
    path.write_bytes({"truncated": content[:half], "empty": b""}.get(damage, content))
    if damage == "middle":
        path.with_name("store.db.distrusted").touch()
    store = open_store(path, base=StoreBase(350, 3_500, {}))
    assert store.state == StoreState(350, 3_500, {})
    if damage in ("middle", "truncated"):
        assert 100 < len(store.history()) < 1_050
    fill(store, 5)
    store.close()
    assert verify(path) == [] and not path.with_name("store.db.distrusted").exists()


def test_damage_met_while_running_is_remembered(path, monkeypatch):
    # Given a store whose pages are damaged where opening does not look
    store = SqliteStore(path)
    fill(store, 2)
    monkeypatch.setattr(store, "_insert", _corrupt)
    # When a commit comes upon it
    with pytest.raises(DamagedFile, match="put it aside|damaged"):
        fill(store, 1)
    store.close()
    # Then the next start does not trust the file
    store = open_store(path, base=StoreBase(1, 10))
    assert store.state == StoreState(1, 10, {})
    store.close()
    store = open_store(path)
    assert store.state.turn == 1


def _corrupt(*_):
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


def test_commits_cut_off_by_a_bad_byte_in_the_wal_are_noticed(path, tmp_path, caplog):
    # Given ten turns that are in the WAL only
    store = SqliteStore(path)
    fill(store, 10)
    wal = path.with_name("store.db-wal").read_bytes()
    content = path.read_bytes()
    store.close()
    # When a byte of it is wrong
    for number, position in enumerate((40, 5_000, len(wal) // 2, len(wal) - 30_000)):
        caplog.clear()
        place = tmp_path / f"wal{number}"
        place.mkdir()
        damaged = bytearray(wal)
        damaged[position] ^= 4
        (place / "store.db").write_bytes(content)
        (place / "store.db-wal").write_bytes(damaged)
        store = SqliteStore(place / "store.db")
        # Then the store stands at an earlier turn, whole, and says so
        assert store.state.turn < 10 and store.state.offset == 10 * store.state.turn
        assert store.lost_commits > 1 and "damage in the WAL" in caplog.text
        assert verify(place / "store.db") == []
        store.close()


def test_the_journal_may_be_trimmed_only_once_the_turns_are_out_of_the_wal(store, path):
    fill(store, 3)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM turns").fetchone()
    fill(store, 1)
    assert store.note_snapshot(3, 30, 1) is False
    reader.close()
    assert store.note_snapshot(4, 40, 2) is True
    assert store.snapshots() == [(4, 40, 2), (3, 30, 1)]
    store.note_snapshot(4, 40, 3)
    assert store.snapshots() == [(4, 40, 3), (3, 30, 1)]


def test_a_store_that_ends_before_its_snapshot_is_not_trusted(path):
    store = SqliteStore(path)
    fill(store, 5)
    store.note_snapshot(5, 50, 1)
    store.close()
    _damage(path, "DELETE FROM turns WHERE turn > 3")
    with pytest.raises(DamagedFile, match="ends before turn 5"):
        SqliteStore(path)


def test_files_of_an_unfinished_start_are_no_hindrance(path):
    for suffix in (".new", ".new-journal"):
        path.with_name("store.db" + suffix).write_bytes(b"half")
    path.with_name("store.db-wal").write_bytes(b"of another store")
    store = SqliteStore(path)
    fill(store, 1)
    assert sorted(p.name for p in path.parent.iterdir()) == ["store.db", "store.db-shm", "store.db-wal"]
