"""One shard as a worker has it: engine, streams, store and outputs, stepped by the worker's turns."""
import logging
import threading
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from corec.config import Config
from corec.engine.outcome import Outcome
from corec.errors import CoreCError
from corec.node.outputs import Outputs
from corec.node.pipeline import Pipeline
from corec.node.recovery import Opened, recover
from corec.storage.opening import open_shard_snapshots, open_shard_store
from corec.streams.redis_intake import RedisIntake
from corec.workers.news import Teller
from corec.workers.orders import Orders
from corec.workers.planner import Planner

log = logging.getLogger(__name__)


class Shard:
    """Folds what its streams bring; whoever takes the fence over in the store ends that."""

    def __init__(self, opened: Opened, config: Config, number: int, woken: threading.Event) -> None:
        """woken: set when there is something to do."""
        self.number, self._opened = number, opened
        self._name = f"{config.flota}.s{number:02d}"
        self._pipeline = Pipeline(opened, config)
        self._pipeline.woken = woken
        self._pipeline.on_outcome = self._committed
        self._orders, self._news = Orders(config.redis_config, number), Teller(config.redis_config, config.flota)
        self._counts = {"turns": 0, "block_turns": 0}   # a block's turn: it was folded in a second in which it was not yet
        self._heard = opened.engine.blocks["last_tick"].copy()
        self._outputs = Outputs(config.redis_config, lambda: opened.store, lambda: opened.engine.block_ids,
                                folder=Path(mkdtemp(prefix=f"{self._name}-")), instance=self._name, shard=number)  # fmt: skip
        self._outputs.start()
        self._planner = Planner(opened, config, self._pipeline) if "sincronizacion" in config.modules else None
        opened.intake.reader.on_rows = self._pipeline.accepted
        woken.set()

    def step(self) -> bool:
        """Fold and commit a bounded amount; whether there was anything to do."""
        busy = self._pipeline.has_work
        began = time.monotonic()
        for order in self._orders.due():
            self._obey(order)
        if self._planner:
            self._planner.plan()
        self._pipeline.step()
        self._pipeline.measure_load(time.monotonic() - began if busy else 0.0, time.monotonic() - began)
        return busy

    def counts(self) -> dict[str, int]:
        """What was done since it was opened."""
        totals = self._pipeline.totals
        return {**self._counts, "readings": self._pipeline.ledger["in"], "rows": totals["rows"], "alerts": totals["alerts"]}

    def reload(self, config: dict[str, Any]) -> None:
        """Take over a configuration that the fleet has taken over."""
        try:
            self._pipeline.command({"op": "reload", "config": config})
        except CoreCError as error:
            log.error("[Worker] shard %d: %s", self.number, error)

    def finish(self) -> None:
        """Commit the open turn, as the last thing."""
        self._pipeline.stopping = True
        self._pipeline.end_turn()

    def abandon(self) -> None:
        """Let go of all connections; from any thread, once nothing else is asked of the shard."""
        self._pipeline.give_up()
        self._opened.intake.close()
        self._outputs.stop()
        self._orders.close()
        self._news.close()
        self._opened.store.close()

    def _obey(self, order: dict[str, Any]) -> None:
        try:
            done = self._pipeline.command(order["command"])
            done.add_done_callback(lambda turn: self._orders.answer(order, {"turn": turn.result()} if not turn.cancelled() else None))
        except CoreCError as error:
            self._orders.answer(order, {"error": error.text, "hint": error.hint})

    def _committed(self, outcome: Outcome) -> None:
        engine = self._opened.engine
        self._counts["turns"] += 1
        heard = engine.blocks["last_tick"]
        self._counts["block_turns"] += int(np.count_nonzero(heard != self._heard))
        self._heard = heard.copy()
        self._news.tell(outcome)
        if self._planner:
            self._planner.committed(outcome)
        self._outputs.committed(outcome, engine.cursor, self._opened.intake.reader.run)


def open_shard(config: Config, number: int, woken: threading.Event) -> Shard:
    """Recover a shard and take its fence; whoever had it stops at its next commit."""
    intake = RedisIntake(config.redis_config, shard=number, instance=config.flota, lead_s=config.retraso_max / 2)
    opened = recover(config, open_shard_snapshots(config, number), lambda base: open_shard_store(config, number, base),
                     lambda offset: (None, intake), shard=number)  # fmt: skip
    opened.snapshots.epoch = opened.store.epoch
    return Shard(opened, config, number, woken)
