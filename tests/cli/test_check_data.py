"""`corec check --data`: what is damaged, what is missing, what a start does about it; it changes nothing itself."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.cli.check_fit import misfits
from corec.errors import ExitCode, FolderInUse
from corec.storage.base import StoreState
from corec.storage.folder import Layout, undisturbed
from corec.storage.snapshots.files import Head
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


def check(data, *options):
    done = CliRunner().invoke(main, ["check", "--data", str(data), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def content(folder):
    return {path: (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def work(data, **changes):
    """A node that commits turns with alerts, windows and messages, with a snapshot in the middle, and stops."""
    with running(small(**changes), data) as nucleus:
        for k in range(6):
            values = [150.0 if k == 3 and n < 5 else 20.0 + k for n in range(200)]
            nucleus.submit(readings(range(200), values=values), time=now_ms()).result(60)
            time.sleep(0.12)
            if k == 2:
                nucleus.pipeline.take_snapshot()
        totals = nucleus.pipeline.totals
        assert until(lambda: totals["rows"] >= 2 and totals["alerts"] == 5 and not nucleus.pipeline.pending)
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 1201)
    return nucleus


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    data = tmp_path_factory.mktemp("check") / "data"
    return work(data), data


@pytest.fixture
def data(worked, tmp_path):
    return shutil.copytree(worked[1], tmp_path / "data")


def test_a_sound_folder_is_left_as_it_is(data):
    before = content(data)
    code, text = check(data)
    assert (code, text.count(": sound")) == (0, 4) and "store, journal and snapshots fit, a start folds 4 batches: sound" in text
    assert content(data) == before


def test_the_folder_of_a_killed_node_is_read_without_a_trace(tmp_path):
    # Given a node that was killed, its last commits in the WAL
    program = (
        "import sys, time; from corec.nucleus import CoreCNucleus; from tests.support.nodes import *\n"
        "n = CoreCNucleus(small(), data=sys.argv[1], with_sources=False); n.start()\n"
        "n.submit(readings(range(50)), time=now_ms()).result(60); until(lambda: n.store_turn)\n"
        "print('committed', flush=True); time.sleep(60)"
    )
    node = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True)
    assert node.stdout.readline() == "committed\n"
    node.send_signal(signal.SIGKILL)
    node.wait()
    before = content(tmp_path / "data")
    assert (tmp_path / "data" / "store.db-wal").stat().st_size
    # When it is checked, Then it is seen as it was left, up to the last commit
    code, text = check(tmp_path / "data")
    assert code == 0 and "up to turn 1" in text and "a start folds 1 batch: sound" in text, text
    assert content(tmp_path / "data") == before
    assert not list((tmp_path / "data").glob("store.db-shm.*"))


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root may become somebody else")
def test_a_folder_that_may_only_be_read_can_be_checked(data):
    # Given a folder of somebody else
    for path in (data, *data.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    place = shutil.copytree(data, data.parent / "visible")
    for parent in place.relative_to(tempfile.gettempdir()).parents[:-1]:
        (tempfile.gettempdir() / parent).chmod(0o755)
    child = os.fork()
    if not child:  # in a process of its own, that may not write there
        code = 99
        try:
            os.setuid(65534)
            with pytest.raises(OSError):
                (place / "new").touch()
            code = check(place)[0]
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_no_data_folder_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    before = content(tmp_path)
    for folder in (tmp_path, tmp_path / "nothing"):
        code, text = check(folder)
        assert code == ExitCode.DATA and f"expected a data folder of a node, got {folder}" in text
    assert content(tmp_path) == before


def without_journal(data):
    shutil.rmtree(data / "journal")


def without_snapshots(data):
    shutil.rmtree(data / "snapshots")


def without_both(data):
    without_journal(data)
    without_snapshots(data)


def without_store(data):
    (data / "store.db").unlink()


def without_store_and_snapshots(data):
    without_store(data)
    without_snapshots(data)


@pytest.mark.parametrize(
    ("lose", "said", "kept"),
    [
        (without_journal, "the journal is missing, the store has folded up to batch {offset}: a start goes on behind that one", "ledger"),
        (without_snapshots, "the store stands at turn {turn}: a start folds batches 1 to {offset} again; nothing is lost", "entities"),
        (without_both, "a start begins with fresh entities there; rows and ledger stay", "ledger"),
        (without_store, "the store is missing, the newest snapshot is of turn", "count"),
        (without_store_and_snapshots, "a start makes a new one and folds batches 1 to {offset} of the journal again", "count"),
    ],
)
def test_what_is_missing_is_told_and_what_a_start_does(worked, data, lose, said, kept):
    # Given a folder that has lost a part
    nucleus, _ = worked
    lose(data)
    # Then check tells what is missing, and what a start would do
    code, text = check(data)
    state = nucleus.store.state
    assert code == ExitCode.DATA and said.format(turn=state.turn, offset=state.offset) in text, text
    assert "sound\n" in text
    # And a start does that
    with running(small(), data) as again:
        assert until(lambda: again.engine.ledger["in"] >= 1201)
        if kept != "count":  # turns that were not committed may be cut in another way
            assert again.engine.ledger == nucleus.engine.ledger
        if kept == "entities":
            assert bytes(again.engine.entities) == bytes(nucleus.engine.entities)
    assert (data / "store.db").exists()
    code, text = check(data)
    assert code == 0, text


def test_a_snapshot_ahead_of_the_store_is_told(worked, data):
    # Given a store that was put back from an older copy
    with running(small(), data) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 1301)
        nucleus.pipeline.take_snapshot()
    shutil.copy(worked[1] / "store.db", data / "store.db")
    code, text = check(data)
    assert code == ExitCode.DATA
    assert f"is ahead of the store, which ends at turn {worked[0].store.state.turn}: a start puts it aside" in text
    # Then a start does that, and folds what the journal has
    with running(small(), data) as again:
        assert until(lambda: again.engine.ledger["in"] == 1301)
    assert list((data / "snapshots").glob("*.damaged"))
    assert check(data)[0] == 0


def rows_of(data, table):
    with closing(sqlite3.connect(data / "store.db")) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.mark.parametrize("table", ["windows", "alerts", "outbox"])
def test_damaged_rows_are_named_until_they_are_repaired(worked, data, table, caplog):
    # Given a store in which one row does not match its checksum any more
    nucleus, _ = worked
    column = {"windows": "mean", "alerts": "valor", "outbox": "time"}[table]
    with sqlite3.connect(data / "store.db") as db:
        held = rows_of(data, table)
        key = "seq" if table == "outbox" else "turn"
        # of a turn up to the last snapshot: later ones are made again
        assert db.execute(f"UPDATE {table} SET {column} = {column} + 1 WHERE {key} = (SELECT min({key}) FROM {table})").rowcount >= 1
        damaged = db.execute(f"SELECT count(*) FROM {table} WHERE {key} = (SELECT min({key}) FROM {table})").fetchone()[0]
    db.close()
    # When it is checked, Then the row is named, and the command that helps
    code, text = check(data)
    assert code == ExitCode.DATA and f"of {table} does not match its checksum" in text
    assert f"corec check --data {data} --repair" in text
    # And a start alone does not help, as the hint says
    with running(small(), data):
        pass
    assert check(data)[0] == ExitCode.DATA
    # When it is repaired and started
    code, text = check(data, "--repair")
    assert code == 0 and "the next start builds it anew" in text
    with running(small(), data) as again:
        assert again.engine.ledger == nucleus.engine.ledger
        # Then the damaged rows are gone, counted in the log, and the others are there, some once time goes on
        assert f"left out as damaged: {damaged} {table}" in caplog.text
        assert until(lambda: rows_of(data, table) >= held - damaged)
    code, text = check(data)
    assert code == 0, text
    assert held - damaged <= rows_of(data, table) <= held
    assert len(list(data.glob("store.db.damaged-*[0-9]"))) == 1


def test_a_log_on_a_server_is_not_looked_for_in_the_folder():
    # Given a node that read its batches from Redis: its journal never was
    store, snapshot = StoreState(7, 900, {}), Head(3, 7, 900, 1)
    assert list(misfits(store, None, [snapshot], on_server=True)) == []
    assert "journal is missing" in "".join(misfits(store, None, [snapshot]))
    # Then only what lies in the folder is missed
    assert "begins with fresh entities" in "".join(misfits(store, None, [], on_server=True))


def test_no_node_starts_while_a_folder_is_checked(data):
    # Given a check in the middle of its work
    with undisturbed(Layout(data)):
        # Then a node does not start meanwhile, and none seems to run
        assert "no node runs" in CliRunner().invoke(main, ["status", "--data", str(data)]).output
        with pytest.raises(FolderInUse, match="another process is using"), running(small(), data):
            pass
    with running(small(), data):
        pass


def test_check_keeps_a_node_out_and_is_kept_out(data):
    with running(small(), data):
        code, text = check(data)
        assert code == ExitCode.IN_USE and f"process {os.getpid()} is using" in text
        assert check(data, "--repair")[0] == ExitCode.IN_USE
