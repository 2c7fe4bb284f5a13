"""Opens the parts a node works on, waits for the store's server, replaces a damaged store, and closes everything."""
import logging
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from corec.common.clock import Clock
from corec.common.text import counted, duration
from corec.common.times import iso
from corec.common.units import DAY_S
from corec.config import Config
from corec.engine import Engine
from corec.errors import CoreCError, DamagedFile, FenceLost, ServerAway, UnfoldableEntry
from corec.node.after_commit import AfterCommit
from corec.node.pipeline_thread import PipelineThread
from corec.node.store_wait import StoreWait
from corec.pipeline.recovery import Opened, open_node, open_without_store, require_reach
from corec.pipeline.turns import Pipeline
from corec.storage.away import AwayStore
from corec.storage.folder import DataFolder
from corec.storage.open_store import probe
from corec.streams.journal import Journal

if TYPE_CHECKING:
    from corec.node.redis_side import RedisSide
    from corec.streams.redis.link import Connect

log = logging.getLogger("corec.nucleus")

#: Errors that one run recovers from -> how often, before it ends with the error.
MOST_HEALS = {DamagedFile: 3, UnfoldableEntry: 100}
#: A warning is logged where the engine's clock is ahead by more than `max_adelanto` and this.
AHEAD_S = 60
#: States in which `begin_stop` has something to stop.
STOPPABLE = ("running", "recovering", "waiting")


class Lifecycle:
    """Holds the engine, journal, store and pipeline of a node.  A recovery replaces them, so do not keep references.

    state: new, recovering, waiting (for the store's server; readings are accepted), running, stopping, stopped.
    """

    folder: DataFolder
    opened: Opened
    pipeline: Pipeline

    def __init__(self, config: Config, data: Path, after: AfterCommit, *, adopt: bool, on_folding: Callable[[], None],
                 clock: Clock, connect: "Connect | None" = None) -> None:  # fmt: skip
        """adopt: take over a folder that was used under another `instance_id`.
        on_folding: called once, when the first turn may begin.  connect: see `RedisLink`.
        """
        self._config, self._data, self._after, self._adopt, self._on_folding = config, data, after, adopt, on_folding
        self._name, self._clock, self._connect = f"CoreCNucleus-{config.instance_id}", clock, connect
        self.state = "new"
        self.takes_readings = False  # also those that other programs send
        self.over = threading.Event()  # set when a stop is asked for, or the pipeline cannot go on
        self.heals: Counter[type[BaseException]] = Counter()
        self.redis: RedisSide | None = None
        self.shed_before: dict[str, dict[str, int]] | None = None  # what earlier starts counted as shed; None while waiting
        self._waiting: StoreWait | None = None
        self._thread: PipelineThread | None = None
        self._fence: FenceLost | None = None

    # --- the start -----------------------------------------------------------------------------

    def open(self) -> None:
        """Recover the data folder.  Where the store's server is away, open only what accepts readings."""
        self.state = "recovering"
        for warning in self._config.warnings:
            log.warning("[%s] %s", self._name, warning)
        self.folder = DataFolder(self._data)
        try:
            self.folder.note(self.state)
            if self._config.redis_config:
                self._connect_redis()
            self._take(self._open_first())
        except BaseException:
            if self.redis:
                self.redis.close()
            self.folder.close()
            raise
        if self.redis:
            self.redis.start(lambda: self.opened)

    def begin(self) -> None:
        """Begin to fold: now, or once the store's server answers."""
        if not isinstance(self.opened.store, AwayStore):
            self._fold()
            return
        self.state = "waiting"
        last = self.opened.journal.last  # where the journal ended before anything was accepted
        self._waiting = StoreWait(self._config.instance_id, self.opened.store.problem, lambda: self._open_at_last(last),
                                  trouble=self.pipeline.trouble, on_failure=self.over.set, clock=self._clock)  # fmt: skip
        self._waiting.start()

    @property
    def reads_redis(self) -> bool:
        """Whether this node itself folds readings from Redis.  With workers it does not: it folds only its own blocks, from its journal."""
        return self.redis is not None and self._config.celery_config is None

    def _connect_redis(self) -> None:
        from corec.node.redis_side import RedisSide  # redis only where it is configured

        self.redis = RedisSide(self.folder.path, self._config, given_up=self.over.is_set, clock=self._clock, connect=self._connect)
        self._after.send_to(self.redis)
        if self.reads_redis:
            self.redis.claim(self._fenced)

    def _fenced(self, error: FenceLost) -> None:
        """Another node reads the streams: fold nothing more, and end."""
        self._fence = error
        if self._thread:
            self._thread.fail(error)
        self.over.set()

    def _open_first(self) -> Opened:
        journal = self.redis.publisher.unsent.journal if self.reads_redis else None
        try:
            return self._open(journal)
        except ServerAway as problem:
            return open_without_store(self.folder, self._config, problem, journal=journal, adopt=self._adopt, clock=self._clock)

    def _open(self, journal: Journal | None) -> Opened:
        """Recover the node.  journal: one that is open already, or None to open the node's own."""
        intake = self.redis.new_intake() if self.reads_redis else None
        return open_node(self.folder, self._config, journal=journal, intake=intake, adopt=self._adopt, clock=self._clock)

    def _open_at_last(self, last: int) -> None:
        """Try to open the store; CoreCError where that fails.  last: the journal's newest offset at the start."""
        trouble = self.pipeline.trouble
        probe(self._config)
        opened = self._open(self.opened.journal)
        require_reach(self._config, opened, last)
        trouble.recovered()
        self._take(opened)
        self._fold()

    def _take(self, opened: Opened) -> None:
        """Use *opened* from here on, with a new pipeline."""
        self.opened = opened
        if self.shed_before is None and not isinstance(opened.store, AwayStore):
            self.shed_before = opened.engine.shed_by
        self.pipeline = Pipeline(opened, self._config, self._after, clock=self._clock, held_back=self._held_back)
        self._thread = PipelineThread(self.pipeline, instance=self._config.instance_id, on_failure=self._pipeline_failed,
                                      clock=self._clock)  # fmt: skip
        if self._fence:
            self._thread.fail(self._fence)

    def _fold(self) -> None:
        self._thread.start()
        self.state = "running"
        self.folder.note(self.state)
        if ahead := clock_ahead(self.engine, self._config, self._clock.wall_ms()):
            log.warning("[%s] %s", self._name, ahead)
        if self.opened.replayed:
            log.info("[%s] %s replayed, at turn %d", self._name, counted(self.opened.replayed, "turn"), self.turn)
        self._on_folding()
        log.info("[%s] Inicializado", self._name)

    # --- at work -------------------------------------------------------------------------------

    def _held_back(self) -> str:
        """What this node sees holding readings back, beside what its pipeline sees; "" where nothing does."""
        if not self.takes_readings:
            return "the node does not take readings of other programs yet"
        return self.redis.holds_back() if self.redis and self.reads_redis else ""

    @property
    def engine(self) -> Engine:
        return self.opened.engine

    @property
    def turn(self) -> int:
        return self.opened.store.state.turn

    def _pipeline_failed(self, error: BaseException) -> None:
        """Replace a damaged store, or an engine that an entry has spoilt, while readings are accepted; else end the node."""
        bound = next((bound for kind, bound in MOST_HEALS.items() if isinstance(error, kind)), 0)
        if self.heals[type(error)] < bound and self.state != "stopping":
            self.heals[type(error)] += 1
            self._clock.drive(partial(self._heal, error), name="heal", daemon=False).start()
        else:
            self.over.set()

    def _heal(self, cause: BaseException) -> None:
        self.state = "recovering"
        try:
            self.opened.store.close()
            self._take(self._open(self.opened.journal))
            self._thread.start()
            self.state = "running"
            what = "an entry that could not be folded" if isinstance(cause, UnfoldableEntry) else "a damaged store"
            log.warning("[%s] recovered from %s, at turn %d", self._name, what, self.turn)
        except CoreCError as error:
            log.error("[%s] no recovery: %s", self._name, error)
            self.over.set()

    # --- the stop ------------------------------------------------------------------------------

    def begin_stop(self) -> bool:
        """Stop waiting for the store.  Returns False where nothing runs."""
        if self.state not in STOPPABLE:
            return False
        if self._waiting:
            self.over.set()
            self._waiting.stop()
        self.state = "stopping"
        self.folder.note(self.state)
        return True

    def close(self) -> None:
        """Commit what was accepted and close everything.  Raises the error that stopped the pipeline, if any."""
        if self.redis:
            self.redis.stop_reading(self.pipeline)
        self._thread.stop()
        if self.redis:
            self.redis.close()
        self.opened.store.close()
        self.opened.journal.close()
        self.folder.close()
        self.state = "stopped"
        log.info("[%s] stopped at turn %d", self._name, self.turn)
        failure = (self._waiting and self._waiting.failure) or self._thread.failure or self._fence
        if failure and not isinstance(failure, DamagedFile):    # which the next start recovers from
            raise failure


def clock_ahead(engine: Engine, config: Config, now: int) -> str | None:
    """A warning where readings from the far future have moved the engine's clock ahead; else None."""
    ahead = (engine.clock - now) / 1000
    if ahead <= config.max_adelanto + AHEAD_S:
        return None
    days = ahead / DAY_S
    span = f"{days:,.0f} days" if days >= 2 else duration(ahead)
    return (f"the node's clock stands at {iso(engine.clock)[:-4]} UTC, {span} ahead of this machine's; readings will be late until then\n"
            "HINT: set this machine's clock right if that is what is wrong, else go on in a new folder (--data): this one can still be"
            " queried")  # fmt: skip
