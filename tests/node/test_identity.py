"""Whose data folder it is: files of two nodes, of older and newer CoreCs, and a node under another name."""

import shutil
import sqlite3
import struct

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.errors import ConfigError, ExitCode, StorageError
from corec.nucleus import CoreCNucleus
from corec.storage.snapshots import files as snapshot_files
from corec.storage.sqlite import schema as sqlite_schema
from corec.storage.sqlite.read import SqliteReader
from corec.streams.journal import files as journal_files
from corec.streams.sending.producer import Producer
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


@pytest.fixture
def two(tmp_path):
    """Two nodes that worked and stopped, of the same configuration."""
    for name in ("a", "b"):
        with running(small(), tmp_path / name) as nucleus:
            nucleus.submit(readings(range(50)), time=now_ms()).result(60)
            assert until(lambda: nucleus.engine.ledger["in"] == 50)
            nucleus.pipeline.take_snapshot()
    return tmp_path


def start(data, **options):
    """Start a node and stop it again."""
    nucleus = CoreCNucleus(small(**options), data=data, with_sources=False)
    nucleus.start()
    nucleus.stop()
    return nucleus


@pytest.mark.parametrize("part", ["journal", "snapshots", "store.db"])
def test_files_of_another_node_are_refused(two, part):
    # Given a folder of which one part was taken from another node
    victim, other = two / "a" / part, two / "b" / part
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    (shutil.copytree if other.is_dir() else shutil.copy)(other, victim)
    before = {path: path.read_bytes() for path in (two / "a").rglob("*") if path.is_file() and path.name != "lock"}
    # Then the node says so, with both ids, and touches nothing
    with pytest.raises(StorageError, match="expected the files of one node") as caught:
        start(two / "a")
    assert f"{SqliteReader(two / 'b' / 'store.db').node:016x}" in str(caught.value)
    assert before == {path: path.read_bytes() for path in before}


def test_one_spare_file_of_another_node_is_refused(two):
    spare = two / "a" / "journal" / f"{7:020d}.spare"
    shutil.copy(next((two / "b" / "journal").glob("*.log")), spare)
    with pytest.raises(StorageError, match="spare of node"):
        start(two / "a")


def as_of_before(data):
    """Make the files those of a CoreC that knew no ids."""
    for path in (data / "journal").glob("*.log"):
        content = path.read_bytes()
        magic, _, first, _, before = journal_files.FILE_HEADER.unpack(content[:28])
        header = journal_files.seal(journal_files.FILE_HEADER.pack(magic, 1, first, now_ms(), before))
        path.write_bytes(header + content[32:])
    for path in (data / "snapshots").glob("*.snap"):
        content = path.read_bytes()
        header = bytearray(content[: snapshot_files._HEADER.size])
        struct.pack_into("<I", header, 4, 1)
        struct.pack_into("<Q", header, 32, now_ms())
        path.write_bytes(header + snapshot_files._CHECKSUM.pack(snapshot_files.crc32c(bytes(header))) + content[56:])
    with sqlite3.connect(data / "store.db") as db:
        assert db.execute("DELETE FROM meta WHERE key = 'node'").rowcount == 1
    db.close()


def test_a_folder_of_before_there_were_ids_opens_and_gets_one(two):
    # Given the folder of an older CoreC
    as_of_before(two / "a")
    # When a node runs on it, Then it goes on where it was, and the folder has an id from then on
    nucleus = start(two / "a")
    assert nucleus.engine.ledger["in"] == 50
    node = SqliteReader(two / "a" / "store.db").node
    assert node
    start(two / "a")
    assert SqliteReader(two / "a" / "store.db").node == node


def test_a_lost_store_is_made_again_for_the_same_node(two):
    node = SqliteReader(two / "a" / "store.db").node
    (two / "a" / "store.db").unlink()
    assert start(two / "a").engine.ledger["in"] == 50
    assert SqliteReader(two / "a" / "store.db").node == node


def test_another_instance_id_is_refused_unless_adopted(two, monkeypatch):
    with pytest.raises(ConfigError, match="'test1', got 'other'") as caught:
        start(two / "a", instance_id="other")
    assert "--adopt" in caught.value.hint
    # When it is forced, by the command, Then the folder has the new name for good
    monkeypatch.chdir(two)
    folder = two / "configs"
    folder.mkdir()
    (folder / "corec_config.json").write_text('{"instance_id": "other", "bloques": [{"id": "x", "canal": 1, "entidades": 10}]}')
    assert CliRunner().invoke(main, ["run", "--data", "a", "--for", "0"]).exit_code == ExitCode.CONFIG
    done = CliRunner().invoke(main, ["run", "--data", "a", "--for", "0", "--adopt"])
    assert done.exit_code == 0, done.output
    assert SqliteReader(two / "a" / "store.db").instance == "other"
    with pytest.raises(ConfigError, match="'other', got 'test1'"):
        start(two / "a")


def a_newer_store(data):
    with sqlite3.connect(data / "store.db") as db:
        db.execute(f"PRAGMA user_version = {sqlite_schema.FORMAT + 1}")
    db.close()


def a_newer_journal(data):
    path = next((data / "journal").glob("*.log"))
    content = path.read_bytes()
    fields = journal_files.FILE_HEADER.unpack(content[:28])
    path.write_bytes(journal_files.seal(journal_files.FILE_HEADER.pack(fields[0], 3, *fields[2:])) + content[32:])


def a_newer_snapshot(data):
    path = sorted((data / "snapshots").glob("*.snap"))[-1]
    content = path.read_bytes()
    header = bytearray(content[: snapshot_files._HEADER.size])
    struct.pack_into("<I", header, 4, 3)
    path.write_bytes(header + snapshot_files._CHECKSUM.pack(snapshot_files.crc32c(bytes(header))) + content[56:])


@pytest.mark.parametrize("change", [a_newer_store, a_newer_journal, a_newer_snapshot])
def test_files_of_a_newer_corec_are_refused_and_left_alone(two, change):
    # Given a folder on which a newer CoreC worked
    change(two / "a")
    names = sorted(path.name for path in (two / "a").rglob("*"))
    # Then it is no damage: the node does not start, and puts nothing aside
    with pytest.raises(StorageError, match="a newer CoreC wrote it") as caught:
        start(two / "a")
    assert caught.value.exit_code == ExitCode.DATA and "this is CoreC" in caught.value.hint
    shown = CliRunner().invoke(main, ["check", "--data", str(two / "a")])
    assert shown.exit_code == ExitCode.DATA and "a newer CoreC wrote it" in shown.output
    assert names == sorted(path.name for path in (two / "a").rglob("*"))


def test_committed_ledger_is_kept_when_the_journal_is_lost(tmp_path, caplog, monkeypatch):
    # Given a node that committed more than its last snapshot holds
    monkeypatch.setattr("corec.pipeline.checkpoints.FEW_READINGS", 1 << 60)
    with running(small(), tmp_path) as nucleus:
        for _ in range(4):
            nucleus.submit(readings(range(100)), time=now_ms()).result(60)
        nucleus.submit(readings([99_999]), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 401)
    committed = nucleus.engine.ledger
    # When its journal is gone
    shutil.rmtree(tmp_path / "journal")
    with running(small(), tmp_path) as nucleus:
        # Then what was counted stays counted; the log names what replay lacks, and nothing else
        assert nucleus.engine.ledger == committed
        line = next(record.getMessage() for record in caplog.records if "gone from the log" in record.getMessage())
        assert "-401 in" in line and "late" not in line
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 402)


def test_a_clock_in_the_future_is_put_right(tmp_path, caplog):
    # Given a node whose log was stamped in 2099
    with running(small(), tmp_path) as nucleus:
        assert nucleus.status()["clock"]["ahead"] is None
        moment = 4_070_908_800_000
        Producer("device").send(readings([1]), moment, None, lambda batch: nucleus.committer.submit(batch, moment)).result(60)
        # Then it says so, and goes on at the present within a few seconds
        assert until(lambda: abs(nucleus.engine.clock - now_ms()) < 5_000 and "the node's clock stood" in caplog.text)
        # And what is measured now is in time
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 2)
    # And so it is after a restart
    with running(small(), tmp_path) as nucleus:
        assert abs(nucleus.engine.clock - now_ms()) < 10_000
        assert (nucleus.engine.ledger["in"], nucleus.engine.ledger["late"], nucleus.engine.ledger["rejected"]) == (2, 0, 0)
