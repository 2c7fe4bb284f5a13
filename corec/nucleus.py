"""CoreCNucleus: builds the parts of a node, starts them in order, stops them in reverse, and delegates to them."""
import gc
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corec.common.clock import MACHINE, Clock
from corec.common.systemd import Supervisor
from corec.config import Config
from corec.config.ram_price import admit
from corec.control.operations import answer
from corec.control.server import ControlServer
from corec.engine import Engine
from corec.engine.columns import check_moment, earliest_at, frame_bytes
from corec.node.acceptance import Acceptance
from corec.node.after_commit import AfterCommit
from corec.node.alert_log import AlertLog
from corec.node.block_ids import BlockIds
from corec.node.entity_names import EntityNames
from corec.node.lifecycle import Lifecycle
from corec.node.refused import Refused
from corec.node.source_runner import SourceRunner
from corec.node.status import NodeStatus
from corec.node.stop_signals import stop_signals
from corec.pipeline.recent_rows import WorkerTurn
from corec.pipeline.turns import Pipeline
from corec.plugin_api.embedded_redis import EmbeddedRedis
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.subscriptions import StreamEntry, Subscription, Subscriptions
from corec.plugins.loop_thread import short_turns
from corec.plugins.manager import PluginManager
from corec.plugins.runner import ExtensionRunner
from corec.storage.base import Store
from corec.storage.folder import DataFolder
from corec.streams.journal import Journal
from corec.streams.journal.group_commit import GroupCommitter
from corec.streams.sending.producer import Producer

if TYPE_CHECKING:
    from corec.node.redis_side import RedisSide

__all__ = ["CoreCNucleus", "PluginManager"]    # the original documentation has both names here

log = logging.getLogger(__name__)

#: Seconds between two rounds of `wait`.
LOOK_EVERY_S = 0.25


class CoreCNucleus(Nucleus):
    """A node: sources, journal, engine and store on one data folder.

        with CoreCNucleus(corec.config.load("configs"), data=Path("data")) as nucleus:
            nucleus.submit(frames, time=1_700_000_000_000).result()    # returns when the readings are durable

    `with` is `start` and `stop`; without `stop` its threads keep the process, whatever the program raised.
    """

    def __init__(self, config: Config, *, data: Path | str, plugins: Path | str | None = None, with_sources: bool = True,
                 adopt: bool = False, clock: Clock = MACHINE) -> None:  # fmt: skip
        """adopt: take over a data folder that was used under another `instance_id`.  clock: what all its parts go by."""
        admit(config)
        self.config, self.data = config, Path(data)
        self._with_sources, self._clock = with_sources, clock
        self.runners: list[SourceRunner] = []
        self._names = EntityNames(self.runners)
        self.alerts, self.subscriptions = AlertLog(config.instance_id, self._names), Subscriptions()
        self._after = AfterCommit(self.alerts, self.subscriptions)
        self._life = Lifecycle(config, self.data, self._after, adopt=adopt, on_folding=self._begin_extensions, clock=clock)
        self._acceptance = Acceptance(config, lambda: self.pipeline, clock)
        self._block_ids = BlockIds(lambda: self.engine.running, self.command)
        self.redis_client: Any = EmbeddedRedis(lambda: self.pipeline)
        self._extensions = ExtensionRunner(self, self._block_ids, self.subscriptions, None if plugins is None else Path(plugins),
                                           shed=self._acceptance.count_shed, is_over=lambda: self.is_over)  # fmt: skip
        self._status = NodeStatus(config, self.data, self._life, self._acceptance, self.alerts, self.runners, self._extensions_status,
                                  clock)  # fmt: skip
        self._control: ControlServer | None = None

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Recover the data folder and begin to work.  Returns once readings are accepted."""
        self._life.open()
        try:
            self._begin()
        except BaseException:
            self._give_up()
            raise

    def _begin(self) -> None:
        redis = self._life.redis
        if redis:
            self.redis_client = redis.client(lambda: self.pipeline)
        self._acceptance.begin(self.journal, redis and redis.publisher, reads_redis=self._life.reads_redis)
        self._life.begin()
        self._control = ControlServer(self.data, lambda request: answer(self, request))
        self._life.takes_readings = True
        if self._with_sources:
            self._open_sources()

    def _begin_extensions(self) -> None:
        self._status.count_from_here()
        self._names.read(self.data, self.config)
        self._extensions.start()

    def _open_sources(self) -> None:
        from corec.sources.opening import open_sources  # psutil and the simulator only where a source is configured

        for source in open_sources(self.config, self.data):
            self.runners.append(SourceRunner(self.submit, source, self.config.instance_id, self._clock))
        for runner in self.runners:
            runner.start()

    def _give_up(self) -> None:
        """Stop what a failed start has already begun, so that the process can end."""
        self._life.state = "running"
        try:
            self.stop()
        except Exception as error:  # the error of the start is the one to raise
            log.error("[CoreCNucleus-%s] while giving up: %s", self.config.instance_id, error)

    def stop(self) -> None:
        """Stop cleanly: what was accepted is committed.  Raises the error that stopped the pipeline, if any."""
        if not self._life.begin_stop():
            return
        with short_turns() as shorten:  # each step of it waits for other threads, behind all that plugins left running
            for step in (self._stop_runners, self._extensions.stop, self._stop_control, self._acceptance.stop, self.report_refused,
                         self._life.close):  # fmt: skip
                shorten()
                step()

    def _stop_runners(self) -> None:
        for runner in self.runners:
            runner.stop()

    def _stop_control(self) -> None:
        if self._control:
            self._control.stop()

    def __enter__(self) -> "CoreCNucleus":
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def run(self, seconds: float | None = None) -> None:
        """Start, work for *seconds* (None: until SIGINT or SIGTERM), stop."""
        with short_turns() as shorten, stop_signals(lambda: (shorten(), self.ask_to_stop())):
            supervisor = Supervisor()
            self.start()
            gc.freeze()     # objects of the start live on: collecting them would delay a turn
            supervisor.send("READY=1")
            self.wait(seconds, meanwhile=lambda: supervisor.beat(self.progress))
            supervisor.send("STOPPING=1")
            self.stop()

    def wait(self, seconds: float | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until *seconds* have passed (None: no bound) or `is_over`; *meanwhile* is called about every LOOK_EVERY_S."""
        end = None if seconds is None else self._clock.steady_s() + seconds
        while not self.is_over and (end is None or self._clock.steady_s() < end):
            self.report_refused()
            meanwhile()
            self._clock.wait(self._life.over, LOOK_EVERY_S if end is None else min(LOOK_EVERY_S, max(0.0, end - self._clock.steady_s())))

    def ask_to_stop(self) -> None:
        """Have `wait` return; callable from any thread and more than once."""
        self._life.over.set()

    @property
    def is_over(self) -> bool:
        """Whether a stop was asked for, or the pipeline failed for good."""
        return self._life.over.is_set()

    @property
    def progress(self) -> int:
        """Progress counter for the watchdog: unchanged means stuck.  While recovering it always changes."""
        return self.pipeline.passes if self.state == "running" else round(1e9 * self._clock.steady_s())

    # --- what it works on; a recovery replaces these ---------------------------------------------

    @property
    def state(self) -> str:
        """new, recovering, waiting (for the store's server), running, stopping or stopped."""
        return self._life.state

    @property
    def engine(self) -> Engine:
        return self._life.engine

    @property
    def pipeline(self) -> Pipeline:
        return self._life.pipeline

    @property
    def store(self) -> Store:
        return self._life.opened.store

    @property
    def journal(self) -> Journal:
        return self._life.opened.journal

    @property
    def committer(self) -> GroupCommitter:
        return self._acceptance.committer

    @property
    def folder(self) -> DataFolder:
        return self._life.folder

    @property
    def redis(self) -> "RedisSide | None":
        return self._life.redis

    @property
    def store_turn(self) -> int:
        return self._life.turn

    @property
    def refused(self) -> Refused:
        """Counts of readings that were refused before they reached the journal."""
        return self._acceptance.refused

    @property
    def heals(self) -> int:
        """Damaged stores that this run replaced."""
        return self._life.heals.total()

    # --- readings ------------------------------------------------------------------------------

    def submit(self, frames: bytes, *, time: int, offsets: Any = None, producer: Producer | None = None) -> "Future[int]":
        """Hand in frames (n * 10 bytes) of *time* (ms, or a datetime); the future resolves once they are durable.

        offsets: integers[n], ms to *time*, or None.  Blocks while the journal is behind.  The future fails with DiskFull when there is
        no room: those readings count as shed.
        """
        return self._acceptance.submit(frame_bytes(frames), check_moment(time, earliest_at(self._clock.wall_ms())), offsets, producer)

    def shed(self, frames: bytes) -> None:
        self._acceptance.shed(frames)

    def report_refused(self) -> None:
        """Have a turn count the readings that were refused since the last report."""
        if self.state != "waiting":     # the first turn counts them then
            self._acceptance.report_refused()

    # --- asking --------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The document that `corec status --json` prints."""
        return self._status.document()

    def _extensions_status(self) -> dict[str, Any]:
        ejecucion = self.modulos.get("ejecucion")
        fleet = ejecucion.estado() if ejecucion and hasattr(ejecucion, "estado") else None
        return {"plugins": self.plugins.status(), "subscriptions": [each.status() for each in self.subscriptions.all()],
                **({"fleet": fleet} if fleet else {})}  # fmt: skip

    def command(self, command: dict[str, Any], timeout: float | None = 30.0) -> dict[str, Any]:
        """Apply a control command in the next turn; returns {"turn", "repairs"} once that is committed.

        timeout: s.  TimeoutError where the commit takes longer, CoreCError where the command is refused.
        """
        shard = self._shard_of(command)
        if shard != self.engine.shard:
            return {"repairs": 0, **self.modulos["ejecucion"].order(shard, command)}
        before = self.pipeline.totals["repairs"]
        turn = self.pipeline.command(command).result(timeout)
        return {"turn": turn, "repairs": self.pipeline.totals["repairs"] - before}

    def _shard_of(self, command: dict[str, Any]) -> int:
        """The shard of the block that a command names; this node's own where a worker has no part in it."""
        if self.config.celery_config is None or command.get("block") not in self.engine.block_ids:
            return self.engine.shard
        return int(self.engine.blocks["shard"][self.engine.block_ids.index(command["block"])])

    # --- what modules and plugins ask; see plugin_api/interface.py ---------------------------------

    @property
    def modulos(self) -> dict[str, Any]:
        return self._extensions.modulos

    @property
    def plugins(self) -> PluginManager:
        """The plugins that were found, and those that programs registered."""
        return self._extensions.manager

    @property
    def load(self) -> float:
        return self.pipeline.load

    def registrar_plugin(self, name: str, plugin: Any) -> None:
        self.plugins.register(name, plugin)

    def suscribir(self, stream: str, handler: Callable[[StreamEntry], Any]) -> Subscription:
        return self._extensions.subscribe(stream, handler)

    def claim_block(self, block: str, canal: int, names: Sequence[str]) -> np.ndarray:
        return self._block_ids.claim(block, canal, names)

    def release_block(self, block: str) -> None:
        self._block_ids.release(block)

    def block_names(self, block: str) -> Sequence[str]:
        return self._block_ids.names(block)

    def entity_name(self, id: int) -> tuple[str, str]:
        return self._names.of(self.engine, id)

    def note_repair(self, block: str, *, entities: int, inherited: int, why: str) -> None:
        self.pipeline.command({"op": "inherit", "block": block, "entities": entities, "inherited": inherited, "why": why})

    def fuse(self, block: str, host: str, why: str) -> "Future[int]":
        return self.pipeline.command({"op": "fuse", "block": block, "host": host, "why": why})

    def news(self, since: int) -> tuple[dict[str, Any], int]:
        return self._after.recent.behind(since)

    def take_worker_turn(self, turn: WorkerTurn) -> None:
        self._after.take_worker_turn(turn)
