"""The life of a fleet in a simulated world: workers whose shards change hands, nodes that coordinate them, and what befalls each.

    life = FleetLife(7, folder, rounds=30)
    life.run()
    life.check()

Workers fold the shards that a coordinator assigns, as Celery would make them; their stores are a model of PostgreSQL.
"""
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from corec.config import parse
from corec.errors import ServerError
from corec.node.router import Router
from corec.simulation import Killed, Process, SimulatedClock
from corec.storage.sqlite.read import SqliteReader
from corec.workers.coordinator import Coordinator
from corec.workers.leases import RENEW_S, Lease, Leases
from corec.workers.shard import open_shard
from corec.workers.shard_worker import ShardWorker
from tests.support.postgres_model import ModelPostgres
from tests.support.redis_life import CONFIG, START, RedisLife

SHARDS = 3
WORKERS = ("w1", "w2", "w3")
NODES = ("n1", "n2")
#: Length of a worker's turn, and until it looks for the next message, in s.
TURN_S, LOOK_S = 0.02, 0.05
FLEET = {**CONFIG, "flota": "fleet", "fragmentos": SHARDS, "celery_config": {}, "db_config": {"dbname": "corec"}, "modules": []}


class Worker:
    """A process that takes turns from its queue, as Celery gives them."""

    def __init__(self, life: "FleetLife", name: str, number: int) -> None:
        self.process = Process(life.machines[name])
        self.queue, self._queues = f"{name}.{number}", life.queues
        connect = life.network.connect(self.process.point)
        leases = [Leases(life.config.redis_config, "fleet", connect=connect) for _ in range(2)]

        def opened(shard: int, mapping: dict[str, Any], woken: Any) -> Any:
            return open_shard(life.config, shard, woken, clock=self.process, connect=connect,
                              snapshots_of=life.database.snapshots_of(self.process),
                              store_of=life.database.store_of(self.process))  # fmt: skip

        self.worker = ShardWorker(*leases, self.queue, self.queue, open_shard=opened, clock=self.process)
        self.worker.start()
        self._driver = self.process.drive(self._take, name=self.queue)
        self._driver.start()
        self._ends = False

    def _take(self) -> float | None:
        if self._ends:
            return None
        if not self._queues.get(self.queue):
            return LOOK_S
        if self._queues[self.queue].popleft() >= self.worker.began:  # else it was sent again
            self.worker.turn(TURN_S)
        return 0.0

    def stop(self) -> None:
        self._ends = True
        self._driver.join()
        self.worker.stop()


class Node:
    """A process that coordinates the workers, where it leads, and routes bare frames."""

    def __init__(self, life: "FleetLife", name: str) -> None:
        self.process, self._queues = Process(life.machines[name]), life.queues
        connect = life.network.connect(self.process.point)
        self._leases = Leases(life.config.redis_config, "fleet", connect=connect)
        self.coordinator = Coordinator(self._leases, name, shards=SHARDS, config={}, send=self._send, drop=self._drop, clock=self.process)
        self.router = Router(life.config, clock=self.process, connect=connect)
        self.process.drive(self._step, name=name).start()
        self.router.start()

    def _step(self) -> float:
        with suppress(ServerError):
            self.coordinator.step()
        return RENEW_S

    def _send(self, lease: Lease, number: int) -> None:
        self._queues.setdefault(lease.queue, deque()).append(number)

    def _drop(self, queue: str) -> None:
        """Messages are dropped; the next one makes the queue again."""
        self._queues.pop(queue, None)


class FleetLife(RedisLife):
    """One run."""

    rests, spans = (0.3, 1, 3, 6), (1, 5, 15)

    def __init__(self, number: int, folder: Path, rounds: int, **chances: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(number, folder, rounds, **chances)
        self.config = parse(FLEET)
        self.database = ModelPostgres(self.world, folder)
        self.machines = {name: SimulatedClock(self.world, wall_ms=START + self._random.randrange(-3_000, 3_000))
                         for name in WORKERS + NODES}  # fmt: skip
        self.queues: dict[str, deque[int]] = {}  # numbers of turns
        self.workers: dict[str, Worker] = {}
        self.nodes: dict[str, Node] = {}
        self._started = 0
        self._database_answers_again = 0.0
        self.events = [self._kill_worker, self._kill_worker, self._restart_worker, self._worker_stands, self._worker_stands,
                       self._kill_lead, self._restart_publisher, self._kill_publisher, self._refuse, self._server_away,
                       self._lose_answers, self._hang, self._database_away, self._database_loses_answers, self._step_clock]  # fmt: skip

    @property
    def shards(self) -> range:
        return range(SHARDS)

    def _pass(self, seconds: float) -> None:
        """Without idle time that is skipped: leases would end."""
        self.world.run_until(lambda: False, seconds)

    # --- processes -------------------------------------------------------------------------------

    def _start_node(self) -> None:
        for name in NODES:
            self.nodes[name] = Node(self, name)
        for name in WORKERS:
            self._start_worker(name)

    def _start_worker(self, name: str) -> None:
        self._started += 1
        self.workers[name] = Worker(self, name, self._started)

    def _submit(self) -> None:
        """No node has readings of its own."""

    def _bury(self) -> None:
        for name, worker in self.workers.items():
            if worker.process.is_gone:
                self.database.close_of(worker.process)
                self._start_worker(name)
        for name, node in self.nodes.items():
            if node.process.is_gone:
                self.nodes[name] = Node(self, name)
        self._bury_publisher()

    @property
    def _senders(self) -> list[Any]:
        return [self.publisher]

    @property
    def _killed_at_times(self) -> list[Process]:
        return [self.publisher_process, *(each.process for each in (*self.workers.values(), *self.nodes.values()))]

    # --- what happens ----------------------------------------------------------------------------

    def _some_worker(self) -> str:
        return self._random.choice(WORKERS)

    def _kill_worker(self) -> None:
        self.workers[self._some_worker()].process.kill_within(self._random.choice((3, 30, 200)))

    def _restart_worker(self) -> None:
        name = self._some_worker()
        with suppress(Killed):
            self.workers[name].stop()
            self._start_worker(name)

    def _worker_stands(self) -> None:
        self.workers[self._some_worker()].process.stand_still(self._random.choice((1, 3, 8, 30)))

    def _kill_lead(self) -> None:
        lead = next((node for node in self.nodes.values() if node.coordinator.leads), self.nodes["n1"])
        lead.process.kill_within(self._random.choice((3, 30)))

    def _database_away(self) -> None:
        self.database.away_until = self.world.now + self._span()

    def _database_loses_answers(self) -> None:
        self.database.lost_share, self._database_answers_again = 0.3, self.world.now + self._span()

    def _round(self) -> None:
        if self.world.now >= self._database_answers_again:
            self.database.lost_share = 0.0
        super()._round()

    def _heal(self) -> None:
        self.database.away_until = self.database.lost_share = 0.0
        super()._heal()

    def _let_windows_close(self) -> None:
        self.world.pass_time(80)
        self._rest(10)

    # --- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        rows, alerts, ledgers = [], [], []
        for worker in self.workers.values():
            worker.stop()
        for shard in self.shards:
            with closing(SqliteReader(self._folder / f"shard-{shard}.db")) as reader:
                rows.append(reader.history())
                alerts.append(reader.alerts())
                ledgers.append(reader.state.ledger)
        self._check_rows(np.concatenate(rows))
        self._check_alerts(np.concatenate(alerts))
        for ledger in filter(None, ledgers):
            self._check_ledger(ledger)
        self.publisher.close()
