"""A fleet whose shards several Celery workers fold, on a real Redis and a real PostgreSQL; workers and nodes are killed."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from corec._core.wire import encode_frames
from corec.config import load
from corec.config.servers import RedisServer
from corec.errors import CoreCError
from corec.node.control import ask
from corec.publish import Publisher
from corec.workers.leases import Leases
from tests.servers.redis import running as running_redis

pytest_plugins = ["tests.servers.postgres"]
ROOT = Path(__file__).resolve().parent.parent
SHARDS, ENTITIES = 8, 16_000
#: Within this long all shards of a worker that is gone are folded elsewhere.
MOVED_S = 3.0


class Fleet:
    """Nodes and workers as processes, and one sender that goes on all the while."""

    def __init__(self, folder, database, redis):
        self.folder, self.database = folder, database
        self.processes = {}
        (folder / "configs").mkdir()
        self.config = {
            "instance_id": "corec1", "flota": "planta", "db_config": database, "redis_config": {"host": redis.host, "port": redis.port},
            "celery_config": {"worker_concurrency": 2}, "fragmentos": SHARDS, "modules": ["registro", "ejecucion"],
            "bloques": [{"id": "s", "canal": 1, "entidades": ENTITIES}],
        }  # fmt: skip
        self._write("configs", self.config)
        self.leases = Leases(RedisServer(host=redis.host, port=redis.port), "planta")
        self.sent, self._over = 0, threading.Event()
        self._sender = threading.Thread(target=self._send)

    def _write(self, name, config):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "corec_config.json").write_text(json.dumps(config))
        return folder

    def node(self, name):
        configs = self._write(f"configs-{name}", {**self.config, "instance_id": name})
        self._spawn(name, "-m", "corec", "run", "--config", str(configs), "--data", str(self.folder / name))

    def worker(self, name, **variables):
        self._spawn(name, "-m", "celery", "-A", "corec.core.celery_app", "worker", "-n", f"{name}@%h", **variables)

    def environment(self, **variables):
        return {**os.environ, "PYTHONPATH": str(ROOT), "COREC_CONFIG": str(self.folder / "configs"), **variables}

    def corec(self, *words):
        """What a command prints."""
        command = [sys.executable, "-m", "corec", *words, "--config", str(self.folder / "configs")]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _spawn(self, name, *words, **variables):
        environment = self.environment(**variables)
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen([sys.executable, *words], cwd=self.folder, env=environment, stdout=log, stderr=log)

    def start_sending(self):
        self._sender.start()

    def _send(self):
        """Every batch is numbered; what a crash makes it send again must not count again."""
        dice = np.random.default_rng(7)
        with Publisher(load(self.folder / "configs"), name="device", folder=self.folder / "tail") as publisher:
            while not self._over.is_set():
                ids = dice.integers(0, ENTITIES, 500).astype(np.uint32)
                publisher.publish(encode_frames(ids, 1, dice.normal(20, 1, 500).astype(np.float32), 1), time=time.time_ns() // 1_000_000)
                self.sent += 500
                time.sleep(0.02)
            publisher.flush(10)

    def stop_sending(self):
        self._over.set()
        self._sender.join()

    def held(self):
        """Shard -> pids of the workers that say they fold it."""
        held = {}
        for lease in self.leases.live().values():
            for shard in lease.held:
                held.setdefault(shard, []).append(lease.pid)
        return held

    def folded_by(self, pids):
        """Whether each shard is folded by exactly one worker, all of them among *pids*."""
        held = self.held()
        return len(held) == SHARDS and all(len(each) == 1 and each[0] in pids for each in held.values())

    def shared_by(self, *names):
        """The same, and none of these workers is without."""
        return self.folded_by(self.pid(*names)) and {pid for [pid] in self.held().values()} == self.pid(*names)

    def wait(self, done, seconds):
        """Seconds until *done*."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"after {seconds} s: {self.held()}\n" + self.logs()
            time.sleep(0.02)
        return time.monotonic() - began

    def pid(self, *names):
        return {self.processes[name].pid for name in names}

    def logs(self):
        return "\n".join(f"--- {name}\n{(self.folder / f'{name}.log').read_text()[-1500:]}" for name in self.processes)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.leases.close()


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
