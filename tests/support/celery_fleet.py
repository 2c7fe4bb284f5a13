"""A fleet for tests and benchmarks: nodes and Celery workers as processes, on servers of its own."""
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np

from corec._core.wire import encode_frames
from corec.config import load
from corec.config.servers import RedisServer
from corec.publish import Publisher
from corec.workers.leases import Leases
from tests.support.paths import ROOT

SHARDS, ENTITIES = 8, 16_000
#: Of a critical channel: their readings travel on streams of their own, and end a turn.
URGENT, URGENT_EVERY = 800, 16
BLOCKS = [{"id": "s", "canal": 1, "entidades": ENTITIES}, {"id": "p", "canal": 2, "entidades": URGENT, "entidades_por_bloque": 100}]


class CeleryFleet:
    """Nodes and workers as processes, and one sender that goes on all the while."""

    def __init__(self, folder, database, redis, **keys):
        self.folder, self.database = folder, database
        self.processes = {}
        (folder / "configs").mkdir()
        self.config = {
            "instance_id": "corec1", "flota": "planta", "db_config": database, "redis_config": {"host": redis.host, "port": redis.port},
            "celery_config": {"worker_concurrency": 2}, "fragmentos": SHARDS, "modules": ["registro", "ejecucion"],
            "bloques": BLOCKS, "conservar_diario_mb": 4096, **keys,
        }  # fmt: skip
        self._write("configs", self.config)
        self.leases = Leases(RedisServer(host=redis.host, port=redis.port), "planta")
        self.sent, self._batch, self._over = 0, 200, threading.Event()
        self._sender = None

    def _write(self, name, config):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "corec_config.json").write_text(json.dumps(config))
        return folder

    @contextmanager
    def with_two_workers(self, within):
        """A node and two workers that have come to share the shards, *within* seconds, and a sender; all stop at the end."""
        try:
            self.node("corec1")
            self.worker("w1")
            self.worker("w2")
            self.wait(lambda: self.shared_by("w1", "w2"), within)
            self.start_sending()
            yield
        finally:
            self._over.set()
            self.stop()

    def node(self, name):
        configs = self._write(f"configs-{name}", {**self.config, "instance_id": name})
        plugins = self.folder / f"plugins-{name}"
        plugins.mkdir(exist_ok=True)
        self._spawn(name, "-m", "corec", "run", "--config", str(configs), "--data", str(self.folder / name), "--plugins", str(plugins))

    def worker(self, name, *options, **variables):
        self._spawn(name, "-m", "celery", "-A", "corec.core.celery_app", "worker", "-n", f"{name}@%h", *options, **variables)

    def environment(self, **variables):
        return {**os.environ, "PYTHONPATH": str(ROOT), "COREC_CONFIG": str(self.folder / "configs"), **variables}

    def corec(self, *words):
        """Run a `corec` command; returns what it printed."""
        command = [sys.executable, "-m", "corec", *words, "--config", str(self.folder / "configs")]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _spawn(self, name, *words, **variables):
        environment = self.environment(**variables)
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen([sys.executable, *words], cwd=self.folder, env=environment, stdout=log, stderr=log)

    def start_sending(self):
        self._over.clear()
        self._sender = threading.Thread(target=self._send)
        self._sender.start()

    def _send(self):
        """Every batch is numbered; what a crash makes it send again must not count again."""
        dice = np.random.default_rng(7)
        with Publisher(load(self.folder / "configs"), name="device", folder=self.folder / "tail") as publisher:
            for number in itertools.count():
                if self._over.is_set():
                    break
                first, count, canal = (ENTITIES, URGENT, 2) if number % URGENT_EVERY == 0 else (0, ENTITIES, 1)
                ids = first + dice.integers(0, count, self._batch).astype(np.uint32)
                values = dice.normal(20, 1, self._batch).astype(np.float32)
                publisher.publish(encode_frames(ids, canal, values, 1), time=time.time_ns() // 1_000_000)
                self.sent += self._batch
                time.sleep(0.02)
            assert publisher.flush(60)

    def stop_sending(self):
        self._over.set()
        self._sender.join()

    def owners(self):
        """Shard -> pids of the workers that say they fold it."""
        owners = {}
        for lease in self.leases.live().values():
            for shard in lease.shards:
                owners.setdefault(shard, []).append(lease.pid)
        return owners

    def turns(self):
        """Shard -> its last committed turn."""
        with self.connected() as cursor:
            cursor.execute("SELECT shard, turn FROM shards WHERE instance_id = 'planta' AND shard < %s", (self.config["fragmentos"],))
            return dict(cursor.fetchall())

    def go_on(self, by=2):
        """A function that tells whether every shard has committed so many turns since now."""
        before = self.turns()
        return lambda: all(turn >= before[shard] + by for shard, turn in self.turns().items())

    def folded_by(self, pids):
        """Whether each shard is folded by exactly one worker, all of them among *pids*."""
        return self._is_folded_by(pids, self.owners())

    def _is_folded_by(self, pids, owners):
        return len(owners) == self.config["fragmentos"] and all(len(each) == 1 and each[0] in pids for each in owners.values())

    def shared_by(self, *names):
        """The same, and none of these workers is without."""
        owners, pids = self.owners(), self.pid(*names)      # of one moment
        return self._is_folded_by(pids, owners) and {pid for [pid] in owners.values()} == pids

    def wait(self, done, seconds, detail=lambda: ""):
        """Wait until *done*; returns seconds.  It fails after *seconds*, with *detail* and the logs."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"after {seconds} s: {detail()} {self.owners()}\n" + self.logs()
            time.sleep(0.02)
        return time.monotonic() - began

    def shards_of(self, name):
        """Those that a worker folds."""
        return {shard for shard, pids in self.owners().items() if pids == [self.processes[name].pid]}

    def pid(self, *names):
        return {self.processes[name].pid for name in names}

    def logs(self):
        """How each process ended (None: it runs), and the last lines of its log but those on the status."""
        lines = {name: [line for line in (self.folder / f"{name}.log").read_text().splitlines() if "[Status-" not in line]
                 for name in self.processes}
        return "\n".join(f"--- {name}: {self.processes[name].poll()}\n" + "\n".join(each[-40:]) for name, each in lines.items())

    def all_logs(self):
        return "\n".join((self.folder / f"{name}.log").read_text() for name in self.processes)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        self.leases.close()
