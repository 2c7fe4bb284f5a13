"""A fleet whose shards several Celery workers fold, on a real Redis and a real PostgreSQL; workers and nodes are killed."""
import json
import signal
import time

import pytest

from corec.common.systemd import NotifyReceiver
from corec.control.client import ask
from corec.errors import CoreCError
from tests.support.celery_fleet import BLOCKS, SHARDS, CeleryFleet
from tests.support.crash import fleet_evidence as evidence
from tests.support.nodes import now_ms
from tests.support.servers.redis import running as running_redis

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.postgres]

#: A shard whose worker goes on commits at least this often, half a second apart as a rule.
PAUSE_MS = 2500
#: Within this long all shards of a worker that is gone are folded elsewhere.
MOVED_S = 3.0
#: What else a machine does only adds to a time, and one that stands still for as long as a lease lasts takes shards away.
TRIES = 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, postgres):
    name = postgres.new_database()
    database = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password, "dbname": name}
    with running_redis() as redis:
        fleet = CeleryFleet(tmp_path_factory.mktemp("fleet"), database, redis)
        fleet.connected, fleet.redis = lambda: postgres.connected(name), redis
        with fleet.with_two_workers(within=60):
            yield fleet


def test_two_workers_share_the_shards(fleet):
    # Given a node and two workers, then each has some of the shards
    counts = [len(lease.shards) for lease in fleet.leases.live().values()]
    assert sorted(counts) in ([3, 5], [4, 4])


def test_worker_that_comes_takes_shards_over(fleet):
    fleet.receiver = NotifyReceiver()
    fleet.worker("w3", "-I", "tests.support.faults.hanging", **fleet.receiver.environment(watchdog_s=1))
    fleet.wait(lambda: fleet.shared_by("w1", "w2", "w3"), 60)


def test_shards_of_a_killed_worker_move_and_the_others_go_on(fleet):
    for _ in range(TRIES):
        # Given three workers that commit, when one is killed
        seconds, moved, stayed = kill_w1(fleet)
        # Then its shards are folded elsewhere soon, and the others committed all the while
        print(f"ms between commits around the kill: moved shards up to {max(moved)}, others up to {max(stayed)}")
        if seconds < MOVED_S and max(stayed) < min(PAUSE_MS, min(moved)):
            return
        fleet.worker("w1")
        fleet.wait(lambda: fleet.shared_by("w1", "w2", "w3"), 60)
    raise AssertionError((seconds, moved, stayed))


def kill_w1(fleet):
    """Seconds until others fold its shards; the longest ms between two commits of each of these, and of each of the others."""
    fleet.wait(fleet.go_on(), 60)
    lost, killed = fleet.shards_of("w1"), now_ms()
    fleet.processes["w1"].kill()
    fleet.processes["w1"].wait()
    seconds = fleet.wait(lambda: fleet.folded_by(fleet.pid("w2", "w3")), 60)
    fleet.wait(fleet.go_on(), 60)
    with fleet.connected() as cursor:
        gaps = evidence.gaps(cursor, killed, killed + 1000 * MOVED_S)
    assert len(gaps) == SHARDS
    return seconds, *([gaps[shard] for shard in gaps if (shard in lost) is gone] for gone in (True, False))


def test_shards_of_a_stopped_worker_move_and_it_writes_nothing_when_it_goes_on(fleet):
    for _ in range(TRIES):
        # Given a worker that does not run for a while
        fleet.processes["w2"].send_signal(signal.SIGSTOP)
        seconds = fleet.wait(lambda: fleet.folded_by(fleet.pid("w3")), 60)
        # When it goes on, it finds that its shards have another owner, and is given some anew
        fleet.processes["w2"].send_signal(signal.SIGCONT)
        fleet.wait(lambda: fleet.shared_by("w2", "w3"), 60)
        if seconds < MOVED_S:
            return
    raise AssertionError(seconds)


def test_a_worker_whose_turn_stands_still_loses_its_shards_its_lease_and_its_supervisors_trust(fleet):
    # Given a worker that its supervisor hears
    name = next(lease.name for lease in fleet.leases.live().values() if lease.pid in fleet.pid("w3"))
    assert fleet.receiver.received()[:2] == ["READY=1", "WATCHDOG=1"]
    # When what folds stands still, and all its other threads go on
    fleet.processes["w3"].send_signal(signal.SIGUSR2)
    # Then its shards are folded elsewhere, and it is no worker any more
    fleet.wait(lambda: all(pids == list(fleet.pid("w2")) for shard, pids in fleet.owners().items()) and len(fleet.owners()) == SHARDS, 60)
    assert name not in fleet.leases.live()
    fleet.receiver.received()
    time.sleep(2)
    assert fleet.receiver.received() == []
    # When it goes on, then it writes nothing of what others have, and is given shards anew
    fleet.processes["w3"].send_signal(signal.SIGUSR1)
    fleet.wait(lambda: fleet.shared_by("w2", "w3"), 60)
    fleet.wait(lambda: "WATCHDOG=1" in fleet.receiver.received(), 60)


#: Notes which blocks it hears of, and has one of its own with Python functions.
PLUGIN = """
from pathlib import Path
from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad

class Plugin:
    heard = set()
    def __init__(self, nucleus, file):
        self.nucleus, self.file = nucleus, Path(file)
    async def inicializar(self):
        bloque = BloqueSimbiotico("propio", 4, [crear_entidad(f"m{i}", 4, lambda: 1.5) for i in range(10)])
        self.nucleus.modulos["registro"].bloques["propio"] = bloque
    async def procesar(self, datos, carga):
        self.heard |= {int(block) for block in datos["bloques"]["block"]}
        self.file.write_text(" ".join(map(str, sorted(self.heard))))

def inicializar(nucleus, config):
    nucleus.registrar_plugin("oyente", Plugin(nucleus, config["file"]))
"""


def write_plugin(fleet, node):
    folder = fleet.folder / f"plugins-{node}" / "oyente"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(PLUGIN)
    (folder / "config.json").write_text(json.dumps({"file": str(fleet.folder / "heard")}))


def test_another_node_coordinates_when_the_first_is_killed(fleet):
    write_plugin(fleet, "corec2")
    start_node(fleet, "corec2")
    for _ in range(TRIES):
        owners, killed = fleet.owners(), now_ms()
        follow(fleet, "corec1", "corec2")
        # Then turns go on under the other, and no shard has moved or rested for long
        fleet.wait(fleet.go_on(3), 60)
        with fleet.connected() as cursor:
            gap = max(evidence.gaps(cursor, killed, now_ms()).values())
        if fleet.owners() == owners and gap < 1000 * MOVED_S:
            return
        start_node(fleet, "corec1")
        follow(fleet, "corec2", "corec1")
        start_node(fleet, "corec2")
    raise AssertionError((owners, fleet.owners(), gap))


def start_node(fleet, name):
    fleet.node(name)
    fleet.wait(lambda: "Inicializado" in (fleet.folder / f"{name}.log").read_text(), 60)


def follow(fleet, first, other):
    """Kill one node; the other coordinates."""
    fleet.processes[first].kill()
    fleet.wait(lambda: "coordina" in (fleet.folder / f"{other}.log").read_text(), 60)


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
    config["bloques"][0]["limites"] = {"alto": 23}     # one reading in seven hundred
    path.write_text(json.dumps(config))
    assert ask(fleet.folder / "corec2", {"op": "reload"})["changed"] == ["bloques.s.limites"]
    # Then readings above them raise alerts wherever they are folded
    with fleet.connected() as cursor:
        fleet.wait(lambda: cursor.execute("SELECT count(DISTINCT shard) FROM alerts WHERE kind = 1") or cursor.fetchone()[0] == SHARDS, 60)


def test_nodes_hear_what_workers_commit(fleet):
    status = ask(fleet.folder / "corec2", {"op": "status"})
    assert status["fleet"]["leads"] and {worker["pid"] for worker in status["fleet"]["workers"]} == fleet.pid("w2", "w3")
    assert sum(worker["readings"] for worker in status["fleet"]["workers"]) > 0


def test_plugins_and_their_blocks_stay_in_the_node_and_plain_shards_travel(fleet):
    # Given a node with a plugin that has a block with functions, while workers fold the shards
    blocks = set(range(sum(entry["entidades"] // entry.get("entidades_por_bloque", 1000) for entry in BLOCKS)))
    # Then the plugin hears what the workers commit, every block of it, and of its own
    heard = fleet.folder / "heard"
    fleet.wait(lambda: heard.exists() and set(map(int, heard.read_text().split())) == blocks | {len(blocks)}, 60)
    # And its block is stored by its node alone, those of the shards by no node
    with fleet.connected() as cursor:
        cursor.execute("SELECT instance_id, array_agg(DISTINCT block) FROM bloques GROUP BY 1 ORDER BY 1")
        assert cursor.fetchall() == [("corec2", [len(blocks)]), ("planta", sorted(blocks))]


def test_long_work_is_done_by_workers_without_shards(fleet):
    # Given a worker for analysis
    fleet.worker("w4", COREC_ROL="analisis")
    # When windows are to be judged anew, and old months compacted
    judged = json.loads(fleet.corec("rescore", "--since", "10m", "--umbral", "0"))
    assert judged["windows"] > 100
    assert json.loads(fleet.corec("compact", "--days", "0")) == {}
    assert json.loads(fleet.corec("train", "--since", "10m"))["auditoria"]["umbral"] >= 0
    done = json.loads(fleet.corec("plan", "--since", "10m"))
    assert done["windows"] > 100 and done["fusions"] == done["silent"] == []
    # Then it did so, and has no shard
    assert fleet.folded_by(fleet.pid("w2", "w3"))


def test_query_reads_the_whole_fleet(fleet):
    for block in ("s/0", "s/15"):
        assert f"  {block} " in fleet.corec("query", "--since", "10m", "--blocks", block)


def test_nothing_is_lost_and_nothing_doubled(fleet):
    # Given all that was sent while workers came and went
    fleet.stop_sending()
    # Then each reading was folded once, or refused as a repeat of one that was, and is in one row
    evidence.assert_all_there(fleet)
    assert len(evidence.ledgers(fleet)) == SHARDS


def test_rows_are_what_the_oracle_makes_of_the_streams(fleet):
    # Given all that was read, as turn records of each shard say, then its rows are the oracle's: none more, none less
    with fleet.connected() as cursor:
        assert sum(evidence.compare(cursor, fleet.redis.client(), fleet.config, shard) for shard in range(SHARDS)) > 300
