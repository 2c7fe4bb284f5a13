"""corec.pipeline.recovery: what a start reads."""
import pytest

from corec.storage.sqlite.read import SqliteReader
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
