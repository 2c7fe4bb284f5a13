"""The first start with a db_config: what the embedded store holds moves over, once, whatever happens in the middle."""
import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from corec._core.dtypes import AGGREGATE
from corec.errors import CoreCError, StorageError
from corec.nucleus import CoreCNucleus
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.move import Move
from corec.storage.sqlite.read import SqliteReader
from corec.storage.sqlite.retention import SqliteRetention
from corec.storage.sqlite.store import SqliteStore
from tests.support.nodes import SMALL, now_ms, readings, running, small, until
from tests.support.paths import ROOT
from tests.support.postgres_nodes import folded, on, stored
from tests.support.postgres_stores import DAYS, assert_same, opened, server_of
from tests.support.servers.proxy import Proxy
from tests.support.stores import BLOCKS, START, fill, record

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres]

#: Between the exchanges at which the move is broken off.
STEP = 1 if os.environ.get("COREC_CHAOS") else 5
QUESTIONS = ("*",), ("enjambre_sensor/*", START + 2000, START + 9000), ("*", 0, 1 << 62, "minute")


@pytest.fixture
def server(database):
    found = server_of(database)
    postgres_schema.migrate(found)
    return found


@pytest.fixture
def embedded(tmp_path):
    """A store with windows, minutes, alerts, streams, late frames and happenings."""
    store = SqliteStore(tmp_path / "store.db", instance="corec1", node=7)
    store.set_blocks(BLOCKS)
    fill(store, 150)
    store.commit(record(151), events=[(START, 1, "repair", -1, 0.5, 0.25, 3, 4, 5, "why", "")], ledger={"in": 9})
    store.note_snapshot(100, 1000, 1)
    store.note_snapshot(151, 1510, 2)
    keeper = SqliteRetention(store, days=DAYS, roll_up_after_ms=0, slice_rows=50)
    for _ in range(9):  # one minute rolled up, the windows of the next on their way
        keeper.step(START + 125_000)
    yield store
    store.close()


def assert_moved(store, twin):
    """Both answer alike."""
    assert store.state == twin.state and store.totals == twin.totals
    assert list(store.turns(0)) == list(twin.turns(0)) and store.snapshots() == twin.snapshots()
    assert store.blocks() == twin.blocks() and store.happenings() == twin.happenings() and list(store.late()) == list(twin.late())
    assert store.outbox_behind(0, 10_000) == twin.outbox_behind(0, 10_000)
    for question in QUESTIONS:
        assert_same(store.history(*question), twin.history(*question))
    assert_same(np.sort(store.numbered_alerts(), order=["turn", "row"]), np.sort(twin.numbered_alerts(), order=["turn", "row"]))


def test_everything_moves(embedded, server):
    # Given an embedded store of every kind of row, some rolled up into minutes, when it moves, then both hold the same
    assert set(embedded.history()["span"]) == {0, 60_000}
    Move(embedded, server, "corec1", DAYS).run()
    store = opened(server)
    assert_moved(store, embedded)
    # And the store goes on where the other ended
    fill(store, 1)
    assert store.state.turn == 152
    store.close()


def test_a_second_time_finds_it_done(embedded, server):
    Move(embedded, server, "corec1", DAYS).run()
    Move(embedded, server, "corec1", DAYS).run()
    store = opened(server)
    assert_moved(store, embedded)
    store.close()


def test_results_that_are_there_already_are_not_mixed(embedded, server):
    # Given results of this instance from elsewhere, when an embedded store is to move there, then it is refused
    store = opened(server)
    fill(store, 1)
    store.close()
    with pytest.raises(StorageError, match="as well") as caught:
        Move(embedded, server, "corec1", DAYS).run()
    assert "--adopt" in caught.value.hint


def test_a_break_at_any_moment_loses_and_doubles_nothing(embedded, server, postgres):
    # Given a connection that breaks at the nth exchange, for each n, when the move is tried again until it stands
    broken = done = 0
    with Proxy(server.port, server.host) as proxy:
        through = server_of({"host": "127.0.0.1", "port": proxy.port, "user": server.user, "password": "", "dbname": server.dbname})
        while not done:
            proxy.lose_reply(STEP * broken + 1)
            before = proxy.replies_lost
            try:
                Move(embedded, through, "corec1", DAYS, slice_rows=1000).run()
                done = proxy.replies_lost == before
            except CoreCError:
                assert broken < 1000, "the move breaks for ever"
            broken += proxy.replies_lost > before
    # Then it stands once
    store = opened(server)
    assert broken > 20 // STEP
    assert_moved(store, embedded)
    store.close()


def test_a_node_moves_over_at_its_first_start_with_a_server(database, postgres, tmp_path):
    # Given a node that ran embedded, with readings in its journal that it did not fold
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([1, 2, 3]), time=now_ms()).result()
        nucleus.submit(readings([4], values=500.0), time=now_ms()).result()
        assert until(lambda: folded(nucleus) == 4)
        assert until(lambda: len(nucleus.store.history()) >= 1)
        for _ in range(2):
            nucleus.submit(readings([7], states=False), time=now_ms()).result()
        assert until(lambda: nucleus.store.happenings())
        happened, turn = nucleus.store.happenings(), nucleus.store.state.turn
    accept_without_folding(tmp_path)
    # When it starts with a db_config, then rows, ledger and turns go on there, and the journal's readings are folded
    with running(on(database), tmp_path) as nucleus:
        assert nucleus.store.state.turn >= turn and not (tmp_path / "store.db").exists()
        assert until(lambda: folded(nucleus) == 8)
        assert until(lambda: stored(database, postgres) == (8, 0), 60)
        assert nucleus.store.alerts()["id"].tolist() == [4, 7] and nucleus.store.happenings() == happened
    # And the next start finds it so
    with running(on(database), tmp_path) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result()
        assert until(lambda: folded(nucleus) == 9)
    with closing(SqliteReader(tmp_path / "store.db.moved")) as old:
        assert old.state.turn >= turn


def accept_without_folding(folder):
    """Two readings that are durable in the journal and nowhere else."""
    nucleus = CoreCNucleus(small(), data=folder, with_sources=False)
    nucleus.start()
    nucleus.pipeline.step = lambda *_: None
    nucleus.submit(readings([5, 6]), time=now_ms()).result()
    nucleus.pipeline.finish = lambda *_: None
    nucleus.stop()


def test_kill_in_the_middle_of_a_move(database, postgres, tmp_path):
    # Given an embedded store of many rows
    rows = 150_000
    (tmp_path / "data").mkdir()
    store = SqliteStore(tmp_path / "data" / "store.db", instance="test1")
    content = np.zeros(rows // 10, AGGREGATE)
    content["block"], content["canal"], content["count"] = np.arange(len(content)) % 5, 1, 1
    for turn in range(1, 11):
        content["window"] = now_ms() // 1000 * 1000 + np.arange(len(content)) * 200 + turn * 10
        store.commit(record(turn)._replace(from_offset=0, to_offset=0, commands=[]), aggregates=content, ledger={})
    store.close()
    (tmp_path / "corec_config.json").write_text(json.dumps({**SMALL, "db_config": database}))
    command = [sys.executable, "-m", "corec", "run", "--config", tmp_path, "--data", tmp_path / "data", "--for", "0.1"]
    # When the node is killed while it moves, and started again
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = []
    assert any("moved 50000 of 150000 rows" in (said.append(line) or line) for line in process.stderr), "".join(said)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert stored(database, postgres) == (0, 0) and (tmp_path / "data" / "store.db").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    # Then all rows are there, once
    assert stored(database, postgres) == (rows, 0)
    assert "150000 of 150000" in done.stderr and not (tmp_path / "data" / "store.db").exists()
