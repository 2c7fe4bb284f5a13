"""CoreCNucleus: builds everything, starts it in order, stops it in reverse."""
import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corec.common.systemd import Supervisor
from corec.common.text import counted
from corec.config import Config
from corec.config.ram_price import admit
from corec.config.registered import FIRST_ID, name_at
from corec.control.operations import answer
from corec.control.server import ControlServer
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, DamagedFile, DiskFull, ServerAway
from corec.node.alert_log import AlertLog
from corec.node.block_ids import Places
from corec.node.pipeline_thread import PipelineLoop
from corec.node.rates import Rates
from corec.node.refused import FLOOD, Shed
from corec.node.source_runner import SourceRunner
from corec.node.status import begin, clock_ahead, status_of
from corec.node.stop_signals import stop_signals
from corec.node.store_wait import StoreWait
from corec.pipeline.provisional import place_name
from corec.pipeline.recent_rows import News, Told
from corec.pipeline.recovery import Opened, open_node, open_without_store
from corec.pipeline.turns import Pipeline, wall_ms
from corec.plugin_api.embedded_redis import EmbeddedRedis
from corec.plugin_api.interface import PluginDoor
from corec.plugin_api.subscriptions import Subscriptions
from corec.plugins.manager import PluginManager  # noqa: F401  the seed has its name here
from corec.plugins.runner import Organism
from corec.sources.names import NameTable
from corec.storage.away import AwayStore
from corec.storage.folder import DataFolder
from corec.streams.journal import Journal
from corec.streams.journal.group_commit import GROUP_BYTES, GroupCommitter
from corec.streams.redis.keys import CRITICAL_CHANNELS
from corec.streams.sending.producer import Producer

if TYPE_CHECKING:
    from corec.node.redis_side import RedisSide

log = logging.getLogger(__name__)

#: Damaged stores that one run replaces before it gives up.
MOST_HEALS = 3
#: Readings of these channels are committed at once: security, AI, alerts.
CRITICAL = np.array(CRITICAL_CHANNELS, np.int8)


class CoreCNucleus(PluginDoor):
    """One node: sources, journal, engine and store on one data folder.

        with CoreCNucleus(corec.config.load("configs"), data=Path("data")) as nucleus:
            nucleus.submit(frames, time=1_700_000_000_000).result()    # returns when the readings are durable

    `with` is `start` and `stop`; without `stop` its threads keep the process, whatever the program raised.
    """

    def __init__(self, config: Config, *, data: Path | str, plugins: Path | str | None = None, with_sources: bool = True,
                 adopt: bool = False) -> None:  # fmt: skip
        """*adopt*: take over a data folder that was used under another `instance_id`."""
        admit(config)
        self.config, self.data = config, Path(data)
        self.state, self.started = "new", time.monotonic()
        self.rates, self.alerts = Rates(), AlertLog(self)
        self.runners: list[SourceRunner] = []
        self.redis_client: Any = EmbeddedRedis(lambda: self.pipeline)
        self.redis: RedisSide | None = None
        self._news = News()
        self.subscriptions = Subscriptions()
        self._organism = Organism(self, None if plugins is None else Path(plugins))
        self._with_sources, self._adopt = with_sources, adopt
        self.refused = Shed()
        self.over = threading.Event()
        self.heals = 0
        self.control: ControlServer | None = None
        self._waiting: StoreWait | None = None
        self._names: dict[int, tuple[str, str]] = {}
        self._places = Places(self)

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Recover what the data folder holds and begin to work; returns when the node takes readings."""
        self.state = "recovering"
        for warning in self.config.warnings:
            log.warning("[CoreCNucleus-%s] %s", self.config.instance_id, warning)
        self.folder = DataFolder(self.data)
        try:
            self.folder.note(self.state)
            opened = self._open_first()
        except BaseException:
            if self.redis:
                self.redis.close()
            self.folder.close()
            raise
        self.take(opened)
        try:
            self._begin(opened)
        except BaseException:
            self._give_up()
            raise

    def __enter__(self) -> "CoreCNucleus":
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def _give_up(self) -> None:
        """The start failed half way: stop what runs already, so that the process can end."""
        self.state = "running"
        try:
            self.stop()
        except Exception as error:  # the reason that the start failed for is the one to tell
            log.error("[CoreCNucleus-%s] while giving up: %s", self.config.instance_id, error)

    def _open_first(self) -> Opened:
        """What the node begins with: all of it, or what takes readings until the server of the store comes."""
        if self.config.redis_config:
            self._connect_redis()
        journal = self.redis.publisher.tail.journal if self._reads_redis else None
        try:
            return self.open(journal)
        except ServerAway as problem:
            return open_without_store(self.folder, self.config, problem, journal=journal, adopt=self._adopt)

    @property
    def _reads_redis(self) -> bool:
        """Whether this node folds what comes through Redis; workers do where it has any, and its own blocks live by its journal."""
        return self.redis is not None and self.config.celery_config is None

    def _connect_redis(self) -> None:
        from corec.node.redis_side import RedisSide  # redis only where it is configured

        self.redis = RedisSide(self.folder.path, self.config, given_up=self.over.is_set)
        self.redis_client = self.redis.client(lambda *entry: self.pipeline.put_out(*entry))

    def open(self, journal: Journal | None = None) -> Opened:
        """Recover the node, on a *journal* that is open already or on its own."""
        intake = self.redis.new_intake() if self._reads_redis else None
        return open_node(self.folder, self.config, journal=journal, intake=intake, adopt=self._adopt)

    def _begin(self, opened: Opened) -> None:
        if self._reads_redis:
            self.committer = self.redis.publisher.tail.committer
        else:
            self.committer = GroupCommitter(self.journal, on_commit=lambda _: self.pipeline.accepted(), instance=self.config.instance_id,
                                            group_bytes=min(GROUP_BYTES, self.config.max_disk_mb << 17))  # fmt: skip
        self.committer.stretch = lambda: self.pipeline.flash.stretch
        self._producer = Producer(f"{self.config.instance_id}/submit")
        if isinstance(opened.store, AwayStore):
            self.state = "waiting"
            self._waiting = StoreWait(self, opened.store.problem)
            self._waiting.start()
        else:
            self.fold(opened)
        self.control = ControlServer(self.data, lambda request: answer(self, request))
        if self._with_sources:
            self._open_sources()

    def fold(self, opened: Opened) -> None:
        """What was accepted is folded from here on."""
        begin(self)
        self._loop.start()
        self.state = "running"
        self.folder.note(self.state)
        ahead = clock_ahead(self)
        if ahead:
            log.warning("[CoreCNucleus-%s] %s", self.config.instance_id, ahead)
        if opened.replayed:
            log.info("[CoreCNucleus-%s] %s replayed, at turn %d", self.config.instance_id, counted(opened.replayed, "turn"),
                     self.store.state.turn)  # fmt: skip
        self._names = NameTable(self.data, self.config).names()
        self._organism.start()
        log.info("[CoreCNucleus-%s] Inicializado", self.config.instance_id)

    def take(self, opened: Opened) -> None:
        """Work on these from here on."""
        self.engine, self.journal, self.store = opened.engine, opened.journal, opened.store
        self.pipeline = Pipeline(opened, self.config)
        self.pipeline.on_outcome, self.pipeline.on_held = self._tell, self._tell_early
        self.pipeline.on_folded, self.pipeline.on_sent = self.subscriptions.folded, self.subscriptions.committed
        self._loop = PipelineLoop(self.pipeline, instance=self.config.instance_id, on_failure=self._pipeline_failed)
        if self.redis:
            self.redis.attend(self)

    def _pipeline_failed(self, error: BaseException) -> None:
        """A damaged store is replaced while readings go on being accepted; anything else ends the node."""
        if isinstance(error, DamagedFile) and self.heals < MOST_HEALS and self.state != "stopping":
            threading.Thread(target=self._heal, name="heal").start()
        else:
            self.over.set()

    def _heal(self) -> None:
        self.state, self.heals = "recovering", self.heals + 1
        try:
            self.store.close()
            self.take(self.open(self.journal))
            self._loop.start()
            self.state = "running"
            log.warning("[CoreCNucleus-%s] recovered from a damaged store, at turn %d", self.config.instance_id, self.store_turn)
        except CoreCError as error:
            log.error("[CoreCNucleus-%s] no recovery: %s", self.config.instance_id, error)
            self.over.set()

    def _open_sources(self) -> None:
        from corec.sources.opening import open_sources  # psutil and the simulator only where a source is configured

        sources = open_sources(self.config, self.data)
        self.runners = [SourceRunner(self, source) for source in sources]
        for runner in self.runners:
            runner.start()

    def stop(self) -> None:
        """Stop cleanly: what was accepted is committed.  Raises what stopped the pipeline, if anything did."""
        if self.state not in ("running", "recovering", "waiting"):
            return
        if self._waiting:
            self.over.set()
            self._waiting.stop()
        self.state = "stopping"
        self.folder.note(self.state)
        for runner in self.runners:
            runner.stop()
        self._organism.stop()
        if self.control:
            self.control.stop()
        self.committer.stop()
        self._tell_shed()
        if self.redis:
            self.redis.stop_reading(self.pipeline)
        self._loop.stop()
        if self.redis:
            self.redis.close()
        self.store.close()
        self.journal.close()
        self.folder.close()
        self.state = "stopped"
        log.info("[CoreCNucleus-%s] stopped at turn %d", self.config.instance_id, self.store_turn)
        failure = (self._waiting and self._waiting.failure) or self._loop.failure
        if failure and not isinstance(failure, DamagedFile):    # which the next start recovers from
            raise failure

    def run(self, seconds: float | None = None) -> None:
        """Start, work for *seconds* (None: until SIGINT or SIGTERM), stop."""
        with stop_signals(self.ask_to_stop):
            supervisor = Supervisor()
            self.start()
            gc.freeze()     # what a start makes stays: looking through it again would hold a turn up
            supervisor.tell("READY=1")
            self.wait(seconds, meanwhile=lambda: supervisor.beat(self._moves()))
            supervisor.tell("STOPPING=1")
            self.stop()

    def _moves(self) -> int:
        """A number that stands still when the pipeline does; a recovery goes on by itself."""
        return self.pipeline.passes if self.state == "running" else time.monotonic_ns()

    def wait(self, seconds: float | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until *seconds* have passed, somebody asked for the end, or the pipeline failed; *meanwhile* is called now and then."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.over.is_set() and (end is None or time.monotonic() < end):
            self._tell_shed()
            meanwhile()
            self.over.wait(0.25 if end is None else min(0.25, max(0.0, end - time.monotonic())))

    def ask_to_stop(self) -> None:
        """Let `wait` return."""
        self.over.set()

    @property
    def is_over(self) -> bool:
        """Whether somebody asked for the end, or the pipeline failed for good."""
        return self.over.is_set()

    @property
    def store_turn(self) -> int:
        """The last committed turn."""
        return self.store.state.turn

    # --- readings ------------------------------------------------------------------------------

    def submit(self, frames: bytes, *, time: int, offsets: Any = None, producer: Producer | None = None) -> "Future[int]":
        """Hand in frames (n * 10 bytes) of *time* ms; the future resolves once they are durable.

        Blocks while the journal is behind.  The future fails with DiskFull when there is no room: those readings
        count as shed.
        """
        if self.redis and not self._is_own(frames):
            return self.redis.publisher.submit(frames, time, offsets, refused=self.refused.add_frames)
        readings = len(frames) // 10
        urgent = bool(np.isin(np.frombuffer(frames, np.int8)[4::10], CRITICAL).any())
        ticket = (producer or self._producer).send(frames, time, offsets, lambda envelope: self.committer.submit(
            envelope, wall_ms(), readings=readings, urgent=urgent))  # fmt: skip
        ticket.add_done_callback(lambda done: self._settled(done, frames, urgent))
        return ticket

    def _is_own(self, frames: bytes) -> bool:
        """Whether these are of blocks that programs registered here, while workers have all others."""
        return bool(self.config.celery_config and frames) and frames[0] >= FIRST_ID >> 24

    def _settled(self, ticket: "Future[int]", frames: bytes, urgent: bool) -> None:
        problem = ticket.exception()
        if urgent and not problem:
            self.pipeline.accepted(urgent=True)
        if isinstance(problem, DiskFull):
            self.refused.add_frames(frames)

    def shed(self, frames: bytes) -> None:
        """Count readings of a plugin that floods, refused before they reached the journal."""
        self.refused.add_frames(frames, FLOOD)

    def _tell_shed(self) -> None:
        if self.state == "waiting":     # counted in the first turn there is
            return
        if command := self.refused.take():
            self.pipeline.command(command).add_done_callback(partial(self.refused.settle, command))

    # --- what is committed ----------------------------------------------------------------------

    def _tell(self, outcome: Outcome) -> None:
        self.alerts.take(outcome)
        if self.redis:
            self.redis.committed(outcome, self.engine.cursor)
        self._news.keep(outcome.aggregates, outcome.alerts)

    def _tell_early(self, outcome: Outcome) -> None:
        """The store does not take a turn for now: its alerts need not wait for that."""
        self.alerts.hold(outcome)
        self.subscriptions.held(outcome)

    def hear(self, told: Told) -> None:
        """What a worker of the fleet committed, or cannot commit for now: plugins and the status see it as the node's own."""
        if not told.provisional:
            self._news.keep(told.rows, told.alerts)
        if not told.before:
            self.subscriptions.alerted(told.alerts, provisional=told.provisional)

    # --- asking --------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the node does now, as plain numbers; `corec status --json` prints it."""
        return status_of(self)

    def command(self, command: dict[str, Any], timeout: float | None = 30.0) -> dict[str, Any]:
        """Have a control command applied in the next turn; returns once that is committed."""
        shard = self._shard_of(command)
        if shard != self.engine.shard:
            return {"repairs": 0, **self.modulos["ejecucion"].order(shard, command)}
        before = self.pipeline.totals["repairs"]
        turn = self.pipeline.command(command).result(timeout)
        return {"turn": turn, "repairs": self.pipeline.totals["repairs"] - before}

    def _shard_of(self, command: dict[str, Any]) -> int:
        """The shard that a command is for; this node's own where it names no block of a worker."""
        if self.config.celery_config is None or command.get("block") not in self.engine.block_ids:
            return self.engine.shard
        return int(self.engine.blocks["shard"][self.engine.block_ids.index(command["block"])])

    def entity_name(self, id: int) -> tuple[str, str]:
        """(name, unit) of an entity by its wire id; its block and place where it has no name."""
        for names in (self._names, *(runner.source.names for runner in self.runners)):
            if id in names:
                return names[id]
        segment, _ = self.engine.locate(id)
        entry = self.engine.config.bloques[int(self.engine.arena.segments["policy"][segment])]
        own = name_at(entry, id - entry.first_id) if entry.registrado else ""
        return own or place_name(self.engine, id), ""
