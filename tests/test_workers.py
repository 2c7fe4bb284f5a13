"""A fleet whose shards several Celery workers fold, on a real Redis and a real PostgreSQL; workers and nodes are killed."""
import json
import signal
import time

import pytest

from corec.errors import CoreCError
from corec.node.control import ask
from tests.celery_fleet import SHARDS, Fleet
from tests.servers.redis import running as running_redis

pytest_plugins = ["tests.servers.postgres"]
#: Within this long all shards of a worker that is gone are folded elsewhere.
MOVED_S = 3.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, postgres):
    name = postgres.new_database()
    database = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password, "dbname": name}
    with running_redis() as redis:
        fleet = Fleet(tmp_path_factory.mktemp("fleet"), database, redis)
        fleet.connected = lambda: postgres.connected(name)
        try:
            fleet.node("corec1")
            fleet.worker("w1")
            fleet.worker("w2")
            fleet.wait(lambda: fleet.folded_by(fleet.pid("w1", "w2")), 30)
            fleet.start_sending()
            yield fleet
        finally:
            fleet._over.set()
            fleet.stop()


def test_two_workers_share_the_shards(fleet):
    # Given a node and two workers, then each has some of the shards
    counts = [len(lease.held) for lease in fleet.leases.live().values()]
    assert sorted(counts) in ([3, 5], [4, 4])


def test_worker_that_comes_takes_shards_over(fleet):
    fleet.worker("w3")
    fleet.wait(lambda: fleet.shared_by("w1", "w2", "w3"), 20)


def test_shards_of_a_killed_worker_move(fleet):
    fleet.processes["w1"].kill()
    fleet.processes["w1"].wait()
    assert fleet.wait(lambda: fleet.folded_by(fleet.pid("w2", "w3")), 10) < MOVED_S


def test_shards_of_a_stopped_worker_move_and_it_writes_nothing_when_it_goes_on(fleet):
    # Given a worker that does not run for a while
    fleet.processes["w2"].send_signal(signal.SIGSTOP)
    assert fleet.wait(lambda: fleet.folded_by(fleet.pid("w3")), 10) < MOVED_S
    # When it goes on, it finds that its shards have another owner, and is given some anew
    fleet.processes["w2"].send_signal(signal.SIGCONT)
    fleet.wait(lambda: fleet.shared_by("w2", "w3"), 15)


def test_another_node_coordinates_when_the_first_is_killed(fleet):
    fleet.node("corec2")
    fleet.wait(lambda: "Inicializado" in (fleet.folder / "corec2.log").read_text(), 15)
    fleet.processes["corec1"].kill()
    fleet.wait(lambda: "coordina" in (fleet.folder / "corec2.log").read_text(), MOVED_S)
    turns = {lease.name: lease.began for lease in fleet.leases.live().values()}
    # Then turns go on under the other
    fleet.wait(lambda: all(lease.began > turns.get(lease.name, 0) + 3 for lease in fleet.leases.live().values()), 10)


def test_commands_reach_the_worker_that_has_the_block(fleet):
    # Given a block of a shard that some worker folds, when a node is asked to repair it
    done = ask(fleet.folder / "corec2", {"op": "fuse", "block": "s/1", "host": "s/9", "force": True})
    # Then the worker did so in a turn of its own, and says what cannot be
    assert done["turn"] > 0
    with pytest.raises(CoreCError, match="shard"):
        ask(fleet.folder / "corec2", {"op": "fuse", "block": "s/2", "host": "s/9", "force": True})


def test_a_reload_reaches_the_workers(fleet):
    # Given limits in the node's file, when it reads it again
    path = fleet.folder / "configs-corec2" / "corec_config.json"
    config = json.loads(path.read_text())
    config["bloques"][0]["limites"] = {"alto": 23.5}     # one reading in four thousand
    path.write_text(json.dumps(config))
    assert ask(fleet.folder / "corec2", {"op": "reload"})["changed"] == ["bloques.s.limites"]
    # Then readings above them raise alerts wherever they are folded
    with fleet.connected() as cursor:
        fleet.wait(lambda: cursor.execute("SELECT count(DISTINCT shard) FROM alerts WHERE kind = 1") or cursor.fetchone()[0] == SHARDS, 30)


def test_nodes_hear_what_workers_commit(fleet):
    status = ask(fleet.folder / "corec2", {"op": "status"})
    assert status["fleet"]["leads"] and {worker["pid"] for worker in status["fleet"]["workers"]} == fleet.pid("w2", "w3")
    assert sum(worker["readings"] for worker in status["fleet"]["workers"]) > 0


def test_long_work_is_done_by_workers_without_shards(fleet):
    # Given a worker for analysis
    fleet.worker("w4", COREC_ROL="analisis")
    # When windows are to be judged anew, and old months compacted
    judged = json.loads(fleet.corec("rescore", "--since", "10m", "--umbral", "0"))
    assert judged["windows"] > 100
    assert json.loads(fleet.corec("compact", "--days", "0")) == {}
    # Then it did so, and has no shard
    assert fleet.folded_by(fleet.pid("w2", "w3"))


def test_query_reads_the_whole_fleet(fleet):
    rows = fleet.corec("query", "--since", "10m")
    assert "s/0" in rows and "s/15" in rows


def test_nothing_is_lost_and_nothing_doubled(fleet):
    # Given all that was sent while workers came and went
    fleet.stop_sending()
    time.sleep(3.5)     # windows close
    with fleet.connected() as cursor:
        cursor.execute("SELECT ledger FROM shards WHERE instance_id = 'planta'")
        ledgers = [json.loads(row[0]) for row in cursor.fetchall()]
        cursor.execute("SELECT sum(count), count(*), count(DISTINCT (id, timestamp)) FROM bloques WHERE instance_id = 'planta'")
        folded, rows, distinct = cursor.fetchone()
    # Then each reading was folded once, or refused as a repeat of one that was
    total = {name: sum(ledger[name] for ledger in ledgers) for name in ledgers[0]}
    assert len(ledgers) == SHARDS and rows == distinct
    assert total["in"] - total["rejected_repeated"] == fleet.sent
    assert int(folded) + total["late"] == fleet.sent
