"""One shard of a worker: its engine, streams, store and outputs, stepped by the worker's turns."""
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from corec.common.clock import MACHINE, Clock
from corec.common.units import MB
from corec.config import Config, parse
from corec.engine.commands import Reload
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, UsageError
from corec.pipeline.fusion_rule import FusionRule, log_fusion
from corec.pipeline.plugin_entries import Sent
from corec.pipeline.provisional import log_provisional, place_name
from corec.pipeline.recovery import Opened, recover
from corec.pipeline.redis_outputs import SENT, Outputs
from corec.pipeline.turns import Pipeline, PipelineListener
from corec.storage.base import Retention, StoreBase
from corec.storage.open_store import open_shard_snapshots, open_shard_store
from corec.streams.redis.intake import RedisIntake
from corec.streams.redis.link import Connect, RedisLink
from corec.workers.fleet_news import NewsWriter
from corec.workers.orders import Orders

#: Seconds between two proposals of fusions.
PROPOSE_EVERY_S = 1.0

log = logging.getLogger(__name__)


class Shard(PipelineListener):
    """Folds its streams until another process takes over the fence in the store."""

    def __init__(self, opened: Opened, config: Config, number: int, woken: threading.Event, *, clock: Clock = MACHINE,
                 connect: Connect | None = None) -> None:  # fmt: skip
        """woken: set when there is something to do.  connect: see `RedisLink`."""
        self.number, self._opened, self._clock = number, opened, clock
        self._name = f"{config.flota}.s{number:02d}"
        self._pipeline = Pipeline(opened, config, self, woken=woken, clock=clock)
        self._link = RedisLink(config.redis_config, connect=connect)
        self._orders, self._news = Orders(self._link, number, clock), NewsWriter(self._link, config.flota)
        self._counts = {"turns": 0, "block_turns": 0}   # block_turns: seconds in which a block had readings, over all blocks
        self._last_ticks = opened.engine.blocks["last_tick"].copy()
        self._before = opened.engine.ledger["in"]
        self._outputs = Outputs(config.redis_config, lambda: opened.store, lambda: opened.engine.block_ids,
                                folder=None, instance=self._name, shard=number,
                                position=int(opened.engine.cursor.get(SENT, 0)), clock=clock, connect=connect)  # fmt: skip
        self._outputs.take_accounts(opened.engine.marks.to_list())
        self._outputs.start()
        self._fusions = FusionRule(config.sincronizacion, lambda: opened.engine, fused=self._fused()) if _fuses(config) else None
        self._fusions_due = 0.0
        woken.set()

    def step(self) -> bool:
        """Fold and commit a bounded amount; returns whether there was anything to do."""
        busy = self._pipeline.has_work
        began = self._clock.steady_s()
        for order in self._orders.due():
            self._carry_out(order)
        self._propose_fusions()
        self._pipeline.step()
        self._pipeline.measure_load(self._clock.steady_s() - began if busy else 0.0, self._clock.steady_s() - began)
        return busy

    @property
    def passes(self) -> int:
        """A counter that grows with each step, and while a commit is tried again."""
        return self._pipeline.passes

    def give_up(self) -> None:
        """Have a commit that waits for the store fail; from any thread."""
        self._pipeline.stopping = True

    def counts(self) -> dict[str, int]:
        """Readings, turns, rows, block turns and alerts since it was opened."""
        totals = self._pipeline.totals
        readings = self._pipeline.ledger["in"] - self._before
        return {**self._counts, "readings": readings, "rows": totals["rows"], "alerts": totals["alerts"]}

    def reload(self, config: dict[str, Any]) -> None:
        """Take over a configuration from the coordinator, in the next turn; a wrong one is logged."""
        try:
            self._pipeline.command(Reload(parse(config, source="a reload")))
        except CoreCError as error:
            log.error("[Worker] shard %d: %s", self.number, error)

    def finish(self) -> None:
        """Commit the open turn; no step may follow."""
        self._pipeline.stopping = True
        self._pipeline.end_turn()

    def leave(self, by: float) -> None:
        """Take a snapshot of what `finish` committed, if it can be durable *by* this moment (s, monotonic); then `abandon`."""
        try:
            self._pipeline.checkpoints.end(by, whole=True)
        except CoreCError as error:     # another worker has the shard, or the store is away: the next owner has more to replay
            log.warning("[Worker] shard %d leaves no snapshot: %s", self.number, error)
        self.abandon()

    def abandon(self) -> None:
        """Close all connections.  From any thread, as the last call."""
        self._pipeline.give_up()    # puts waiting orders back while their connection is open
        self._opened.intake.close()
        self._outputs.stop()
        self._link.close()
        self._opened.store.close()

    def _carry_out(self, order: dict[str, Any]) -> None:
        try:
            done = self._pipeline.command(order["command"])
            done.add_done_callback(lambda turn: self._answer(order, turn))
        except CoreCError as error:
            self._orders.answer(order, refusal(error))

    def _answer(self, order: dict[str, Any], turn: "Future[int]") -> None:
        """Answer with the turn or the refusal; an order whose turn was cancelled goes to the next owner."""
        if turn.cancelled():
            self._orders.put_back(order)
        elif error := turn.exception():
            self._orders.answer(order, refusal(error))
        else:
            self._orders.answer(order, {"turn": turn.result()})

    def _fused(self) -> list[str]:
        engine = self._opened.engine
        return [engine.block_ids[fusion.block] for fusion in engine.fusions]

    def _propose_fusions(self) -> None:
        now = self._clock.steady_s()
        if self._fusions and now >= self._fusions_due:
            self._fusions_due = now + PROPOSE_EVERY_S
            self._fusions.see_fused(self._fused())
            self._fusions.propose(self._pipeline.load, now, self._ask)

    def _ask(self, block: str, host: str, why: str) -> bool:
        try:
            done = self._pipeline.command({"op": "fuse", "block": block, "host": host, "why": why})
        except UsageError:
            return False
        done.add_done_callback(lambda done: log_fusion(done, block, host, why))
        return True

    def cursor_notes(self) -> dict[str, str]:
        return {SENT: str(self._outputs.position)}

    def waits(self, pipeline: Pipeline, outcome: Outcome) -> None:
        """The store does not take this turn for now: its alerts are logged and sent as provisional."""
        log_provisional(log, f"Worker-{self._name}", outcome.alerts, lambda id: (place_name(self._opened.engine, id), ""))
        self._news.provisional(outcome)

    def committed(self, pipeline: Pipeline, outcome: Outcome, sent: list[Sent]) -> None:
        engine = self._opened.engine
        self._counts["turns"] += 1
        last_ticks = engine.blocks["last_tick"]
        self._counts["block_turns"] += int(np.count_nonzero(last_ticks != self._last_ticks))
        self._last_ticks = last_ticks.copy()
        self._news.committed(outcome)
        if self._fusions:
            self._fusions.judge(outcome.aggregates)
        self._outputs.committed(outcome, engine.cursor, self._opened.intake.reader.run, pipeline.changed_accounts)


def _fuses(config: Config) -> bool:
    return "sincronizacion" in config.modules


def refusal(error: BaseException) -> dict[str, Any]:
    """The answer to an order that failed."""
    return {"error": getattr(error, "text", str(error)), "hint": getattr(error, "hint", None)}


def open_shard(config: Config, number: int, woken: threading.Event, *, clock: Clock = MACHINE,
               connect: Connect | None = None, snapshots_of: Callable[[Config, int], Any] = open_shard_snapshots,
               store_of: Callable[[Config, int, StoreBase, Clock], tuple[Any, Retention]] = open_shard_store) -> Shard:  # fmt: skip
    """Recover a shard and take its fence, which ends an earlier owner at its next commit.

    snapshots_of, store_of: where the fleet's are; in PostgreSQL by default.
    """
    intake = RedisIntake(config.redis_config, shard=number, instance=config.flota, keep_bytes=config.conservar_diario_mb * MB,
                         lead_s=config.retraso_max / 2, clock=clock, connect=connect)  # fmt: skip
    opened = recover(config, snapshots_of(config, number), lambda base: store_of(config, number, base, clock),
                     lambda store: (None, intake), shard=number)  # fmt: skip
    opened.snapshots.epoch = opened.store.epoch
    return Shard(opened, config, number, woken, clock=clock, connect=connect)
