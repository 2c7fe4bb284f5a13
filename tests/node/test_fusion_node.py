"""Fusion in a running node: the control socket, the store's history, restarts, the commands that users type."""
import json
import sqlite3

import numpy as np
import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.control.client import ask
from corec.errors import ExitCode, UsageError
from corec.storage import historia
from corec.storage.sqlite import schema as sqlite_schema
from corec.storage.sqlite.read import SqliteReader
from corec.storage.sqlite.store import SqliteStore
from corec.storage.sqlite.verify import verify
from tests.support.nodes import now_ms, patient, readings, running, small, until

pytestmark = pytest.mark.slow

FUSE = {"op": "fuse", "block": "sensores/1", "host": "sensores/0", "force": True, "why": "a test"}


def corec(*arguments):
    result = CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)
    return result.exit_code, result.output


def happenings(data, pattern="*"):
    reader = SqliteReader(data / "store.db")
    try:
        return reader.happenings(pattern)
    finally:
        reader.close()


def counted(data):
    """Good and failed readings by block, over all rows."""
    with sqlite3.connect(data / "store.db") as db:
        return dict(db.execute('SELECT block, sum("count") + sum(errors) FROM windows GROUP BY block'))


def test_fusion_is_in_the_history_and_survives_restarts(tmp_path):
    # Given a node with readings for two blocks, failing ones among them
    data = tmp_path / "data"
    with running(patient(), data) as nucleus:
        nucleus.submit(readings(range(900, 1100)), time=now_ms()).result()
        for _ in range(3):
            nucleus.submit(readings(range(1000, 1020), states=False), time=now_ms()).result()
        until(lambda: nucleus.pipeline.ledger["in"] == 260)
        # When one is fused into the other while readings arrive
        assert ask(data, FUSE)["turn"] > 0
        nucleus.submit(readings(range(900, 1100)), time=now_ms()).result()
        assert nucleus.status()["blocks"]["fused"] == {"sensores/1": "sensores/0"}
    # Then the store tells of it, with figures
    events = happenings(data, "sensores/1")
    fused = next(each for each in events if each.what == "fuse")
    assert (fused.block, fused.host, fused.failing, fused.entities, fused.inherited, fused.reason) == (1, 0, 20, 1000, 20, "a test")
    assert [(each.block, each.entities) for each in events if each.what == "restart"] == [(1, 20)]
    # And a node started again has it still, and can undo it
    with running(patient(), data) as nucleus:
        assert nucleus.status()["blocks"]["fused"] == {"sensores/1": "sensores/0"}
        ask(data, {"op": "undo", "block": "sensores/1"})
        assert nucleus.engine.blocks["entities"].tolist()[:2] == [1000, 1000]
        nucleus.submit(readings(range(900, 1100)), time=now_ms()).result()
    assert happenings(data, "sensores/1")[-1].what == "undo"
    # And every reading is in one row
    with running(patient(), data) as nucleus:
        nucleus.command({"op": "finish"})
    assert counted(data) == {0: 200 + 200 + 100 - 100, 1: 100 + 60 + 100}
    assert verify(data / "store.db") == []


def test_commands_that_users_type(tmp_path):
    data = tmp_path / "data"
    with running(small(), data):
        # Given a running node, when a block is fused, looked at and given back
        assert corec("fuse", "sensores/1", "sensores/0", "--force", "--data", data)[0] == 0
        code, said = corec("history", "sensores/1", "--data", data)
        assert code == 0 and "fuse" in said and "sensores/0" in said
        assert "sensores/1 into sensores/0" in corec("status", "--data", data)[1]
        assert corec("query", "--data", data)[0] == 0
        code, said = corec("undo", "sensores/1", "--why", "enough", "--data", data)
        assert (code, said.startswith("sensores/1 stands by itself again")) == (0, True)
        # Then errors end with the code of a command that cannot be carried out, and say what to do
        for words, text in (
            (("undo", "sensores/1"), "is not fused"), (("fuse", "sensores/1", "sensores/1"), "into itself"),
            (("fuse", "sensores/1", "puertas/0", "--force"), "expected a host on channel 1"),
            (("fuse", "sensores/1", "sensores/0"), "below its min_fitness"), (("history", "nix"), "there is no block 'nix'"),
        ):  # fmt: skip
            code, said = corec(*words, "--data", data)
            assert (code, "Traceback" in said) == (ExitCode.USAGE, False)
            assert text in said and "HINT" in said
    # And the history is read without a node
    lines = corec("history", "sensores/*", "--json", "--data", data)[1].splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["fuse", "undo"]
    assert json.loads(lines[1])["reason"] == "enough"
    assert corec("history", "puertas/0", "--data", data) == (0, "nothing happened to puertas/0\n")


def test_command_that_another_made_impossible_is_refused_when_its_turn_comes(tmp_path):
    # Given two commands that were both possible when they were given
    with running(small(), tmp_path / "data") as nucleus:
        one, other = nucleus.pipeline.command(FUSE), nucleus.pipeline.command(FUSE | {"block": "sensores/2"})
        # Then the first is carried out, the second refused: together they are too many
        assert one.result(60) > 0
        with pytest.raises(UsageError, match="expected at most 2,000 entities"):
            other.result(60)
        assert not nucleus.is_over


def test_fusions_are_undone_when_the_blocks_change(tmp_path):
    # Given a node with a fusion
    with running(small(), tmp_path / "data") as nucleus:
        nucleus.submit(readings(range(900, 1100)), time=now_ms()).result()
        nucleus.command(FUSE)
    # When it is started with one more entry
    more = small(bloques=[*small().to_mapping()["bloques"], {"id": "nueva", "canal": 1, "entidades": 5}])
    with running(more, tmp_path / "data") as nucleus:
        # Then every block is what the configuration says, and the history tells why
        assert nucleus.engine.fusions == []
        assert nucleus.engine.blocks["entities"].tolist() == [1000, 1000, 500, 25, 25, 5]
        assert nucleus.engine.blocks["heard"].tolist()[:2] == [100, 100]
    assert happenings(tmp_path / "data")[-1].reason == "the configuration has other blocks"


def test_store_of_format_1_is_brought_forward(tmp_path):
    # Given a store as it was before there was a history
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE historia")
        db.execute("PRAGMA user_version = 1")
    reader = SqliteReader(path)
    assert reader.happenings() == []
    reader.close()
    # When a node opens it, then it has one, and is sound
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == sqlite_schema.FORMAT
        assert db.execute("SELECT sql FROM sqlite_master WHERE name = 'historia'").fetchone()[0] == historia.DECLARATION
    assert verify(path) == []


def test_damaged_row_of_the_history_is_left_out_and_found(tmp_path):
    # Given a history of which a row was changed
    data = tmp_path / "data"
    with running(small(), data) as nucleus:
        nucleus.command(FUSE)
        nucleus.command({"op": "undo", "block": "sensores/1"})
    with sqlite3.connect(data / "store.db") as db:
        db.execute("UPDATE historia SET entities = 7 WHERE what = 'fuse'")
    # Then the other is shown, and a check names it
    assert [each.what for each in happenings(data)] == ["undo"]
    assert any("historia" in problem for problem in verify(data / "store.db"))
    assert np.isfinite(happenings(data)[0].fitness)
