"""A fleet for tests and benchmarks: nodes and Celery workers as processes, on servers of its own."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from corec._core.wire import encode_frames
from corec.config import load
from corec.config.servers import RedisServer
from corec.publish import Publisher
from corec.workers.leases import Leases

ROOT = Path(__file__).resolve().parent.parent
SHARDS, ENTITIES = 8, 16_000


class Fleet:
    """Nodes and workers as processes, and one sender that goes on all the while."""

    def __init__(self, folder, database, redis, **keys):
        self.folder, self.database = folder, database
        self.processes = {}
        (folder / "configs").mkdir()
        self.config = {
            "instance_id": "corec1", "flota": "planta", "db_config": database, "redis_config": {"host": redis.host, "port": redis.port},
            "celery_config": {"worker_concurrency": 2}, "fragmentos": SHARDS, "modules": ["registro", "ejecucion"],
            "bloques": [{"id": "s", "canal": 1, "entidades": ENTITIES}], **keys,
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
        return len(held) == self.config["fragmentos"] and all(len(each) == 1 and each[0] in pids for each in held.values())

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
