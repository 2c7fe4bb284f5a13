"""corec.pipeline.recovery: what a start reads."""
import msgspec
import pytest

from corec.storage.snapshots import files as form
from corec.storage.sqlite.read import SqliteReader
from corec.streams.journal.read import Reader
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


def test_clean_start_reads_no_turns_but_those_behind_its_snapshots(tmp_path, monkeypatch):
    # Given a node with many turns, two snapshots behind them, and a clean stop
    with running(small(), tmp_path) as nucleus:
        for turn in range(40):
            nucleus.submit(readings([2500], canal=2), time=now_ms()).result(60)
            assert until(lambda turn=turn: nucleus.store_turn > turn, 60)
        for _ in range(2):
            nucleus.pipeline.take_snapshot()
    # When it starts again
    read, turns = [], SqliteReader.turns
    monkeypatch.setattr(SqliteReader, "turns", lambda store, after=0: (read.append(each.turn) or each for each in turns(store, after)))
    with running(small(), tmp_path) as nucleus:
        # Then it reads the turns behind its snapshots alone
        assert nucleus.store_turn >= 40 and all(turn >= 40 for turn in read)


def test_a_start_reads_the_journal_once_however_many_turns_it_folds_again(tmp_path, monkeypatch):
    # Given a node that committed many small turns since its last snapshot
    with running(small(), tmp_path) as nucleus:
        for turn in range(40):
            nucleus.submit(readings([2500], 20.0 + turn, canal=2), time=now_ms()).result(60)
            assert until(lambda turn=turn: nucleus.store_turn > turn, 60)
        ledger, turn = nucleus.engine.ledger, nucleus.store_turn
    # When it starts again
    opened, open_file = [], Reader._open
    monkeypatch.setattr(Reader, "_open", lambda reader, file: (opened.append(file), open_file(reader, file))[1])
    with running(small(), tmp_path) as nucleus:
        # Then it goes through its journal once for what is folded again, and once from where new turns begin
        assert nucleus.engine.ledger == ledger and nucleus.store_turn >= turn
    assert len(opened) <= 2


def test_forged_snapshot_is_put_aside_and_the_one_before_serves(tmp_path, caplog):
    # Given a node with two snapshots, in the newer of which somebody gave a segment an owner that is not there
    with running(small(), tmp_path) as nucleus:
        for value in (20.0, 21.0):
            nucleus.submit(readings([2500], value, canal=2), time=now_ms()).result(60)
            nucleus.pipeline.take_snapshot()
        ledger = nucleus.engine.ledger
    newest = max((tmp_path / "snapshots").glob("*.snap"))
    generation = form.read(newest)
    state = msgspec.msgpack.decode(generation.meta)
    meta = msgspec.msgpack.encode(state | {"owners": bytes([99]) + state["owners"][1:]})
    whole = newest.read_bytes()
    newest.write_bytes(form.pack_header(generation.head, meta) + meta + whole[form.HEADER_BYTES + len(meta):])
    # When it starts again, Then it says so, keeps the file, and goes on from the one before without losing a reading
    with running(small(), tmp_path) as nucleus:
        assert nucleus.engine.ledger == ledger
    assert "blocks of another configuration; kept as" in caplog.text
    assert newest.with_name(newest.name + ".damaged").exists()
