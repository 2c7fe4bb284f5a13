"""The work of one worker process: it opens, folds and closes the shards that are assigned to it."""
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.errors import CoreCError, FenceLost, ServerError
from corec.workers.lease_keeper import STILL_S, LeaseKeeper
from corec.workers.leases import RENEW_S, Assignment, Lease, Leases
from corec.workers.shard import Shard

log = logging.getLogger(__name__)

#: Seconds that a worker waits for the earlier owner of a shard; then it opens the shard, and the fence decides.
HANDOVER_S = 1.0
#: Seconds for the last snapshot of a shard that goes to another worker, and of one whose worker ends.  The lease names the
#: shard until then.
LEAVE_S, END_S = 0.7, 3.0
#: Seconds after which a shard that failed is opened again.
AGAIN_S = 1.0
#: Shards that are opened at the same time.
OPENERS = 4
#: Seconds between two looks at the streams while nothing is to fold; readings wake the worker at once.
REST_S = 0.005


class ShardWorker:
    """Keeps its shards open between turns, so that their state stays in memory.

    leases, beat: connections for the turns and for the thread that keeps the lease.
    open_shard: (shard, config, woken) -> Shard; called in a thread of its own, so that the other shards are folded meanwhile.
    still_s: after so many seconds without progress the lease is not renewed.
    """

    def __init__(self, leases: Leases, beat: Leases, name: str, queue: str, *,
                 open_shard: Callable[[int, dict[str, Any], threading.Event], Shard], still_s: float = STILL_S,
                 clock: Clock = MACHINE) -> None:  # fmt: skip
        self._clock = clock
        self._leases, self.name, self.queue, self._open_shard = leases, name, queue, open_shard
        self.shards: dict[int, Shard] = {}
        self._opening: dict[int, Future[Shard]] = {}
        self._leaving: dict[int, Future[None]] = {}
        self._wanted_since: dict[int, float] = {}
        self._not_before: dict[int, float] = {}
        self._pool = clock.pool(OPENERS, "open-shard")
        self._closing = clock.pool(OPENERS, "close-shard")
        self._woken = threading.Event()
        self.began = 0  # turns
        self._rounds = self._steps = 0
        self._in_turn = False
        self._busy_s = 0.0
        self._gone: Counter[str] = Counter()    # counts of shards that were closed
        self._counting = threading.Lock()
        self._config: dict[str, Any] = {}
        self._looked = 0.0
        self._trouble = Trouble(log, f"Worker-{name}", clock=clock)
        self._keeper = LeaseKeeper(beat, name, moves=self.moves, lease=self._lease, still_s=still_s, clock=clock)

    def start(self) -> None:
        """Begin to renew the lease; shards are assigned to this worker from now on."""
        self._keeper.start()

    def turn(self, seconds: float) -> dict[str, Any]:
        """Fold and commit for *seconds*; returns the counts of this turn, and the shards."""
        self.began += 1
        before, self._looked = self.counts(), 0.0
        self._in_turn = True
        try:
            self._work(self._clock.steady_s() + seconds)
        finally:
            self._in_turn = False
        return {name: count - before[name] for name, count in self.counts().items()} | {"shards": sorted(self.shards)}

    def _work(self, end: float) -> None:
        while self._clock.steady_s() < end:
            self._look_in_time()
            self._rounds += 1
            began = self._clock.steady_s()
            if self._fold():
                self._busy_s += self._clock.steady_s() - began
            else:
                self._clock.wait(self._woken, REST_S)
                self._woken.clear()

    def give_up(self) -> None:
        """End the wait of a turn for a server that is away; from any thread."""
        for shard in list(self.shards.values()):
            shard.give_up()

    def stop(self) -> None:
        """Commit what is folded, close all shards, then give up the lease."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._adopt()
        for number in list(self.shards):
            self._close(number, END_S)
        self._closing.shutdown(wait=True)
        self._keeper.stop()
        with suppress(ServerError):
            self._leases.give_up(self.name)
        self._leases.close()

    # --- its lease -------------------------------------------------------------------------------

    def moves(self) -> int:
        """Progress counter: unchanged means that a turn stands still.  It grows while a commit is tried again."""
        if not self._in_turn:
            return round(1e9 * self._clock.steady_s())
        return self._rounds + self._steps + sum(shard.passes for shard in list(self.shards.values()))

    def _lease(self) -> Lease:
        shards = [*self.shards, *(number for number, leaving in list(self._leaving.items()) if not leaving.done())]
        return Lease(self.name, self.queue, os.getpid(), socket.gethostname(), self.began, self._steps, tuple(sorted(shards)),
                     tuple(sorted(list(self._opening))), {**self.counts(), "busy_s": round(self._busy_s, 3)})  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Readings, turns, rows, block turns and alerts since the worker began; from any thread."""
        total = Counter({"readings": 0, "turns": 0, "rows": 0, "block_turns": 0, "alerts": 0})
        with self._counting:
            for counts in (self._gone, *(shard.counts() for shard in self.shards.values())):
                total.update(counts)
        return dict(total)

    # --- shards come and go ----------------------------------------------------------------------

    def _look_in_time(self) -> None:
        if self._clock.steady_s() - self._looked < RENEW_S:
            return
        self._looked = self._clock.steady_s()
        try:
            self._follow(self._leases.assignment())
            self._trouble.recovered()
        except ServerError as error:    # it keeps its shards: no other worker gets an assignment either
            self._trouble.failed("nobody tells who has which shard", error)

    def _follow(self, assignment: Assignment) -> None:
        if not assignment.shards:   # Redis lost it, or no lease was current: keep the shards, the fence protects the store
            return
        mine = assignment.of(self.name)
        self._take_config(assignment.config)
        for number in [number for number in self.shards if number not in mine]:
            self._close(number, LEAVE_S)
        self._adopt()
        self._open(mine, assignment.config)

    def _open(self, mine: set[int], config: dict[str, Any]) -> None:
        now, elsewhere = self._clock.steady_s(), self._shards_elsewhere()
        for number in mine - self.shards.keys() - self._opening.keys():
            since = self._wanted_since.setdefault(number, now)
            if (number not in elsewhere or now - since > HANDOVER_S) and now >= self._not_before.get(number, 0.0):
                self._opening[number] = self._pool.submit(self._open_shard, number, config, self._woken)
        self._wanted_since = {number: since for number, since in self._wanted_since.items() if number in mine}

    def _take_config(self, config: dict[str, Any]) -> None:
        if self._config and config and config != self._config:
            for shard in self.shards.values():
                shard.reload(config)
        self._config = config or self._config

    def _shards_elsewhere(self) -> set[int]:
        return {shard for lease in self._leases.live().values() if lease.name != self.name for shard in lease.shards}

    def _adopt(self) -> None:
        for number, opening in list(self._opening.items()):
            if opening.cancelled():
                del self._opening[number]
            elif opening.done():
                del self._opening[number]
                self._take(number, opening)

    def _take(self, number: int, opening: "Future[Shard]") -> None:
        try:
            self.shards[number] = opening.result()
            log.info("[Worker-%s] shard %d is open", self.name, number)
        except Exception as error:
            self._failed(number, "does not open", error)

    def _failed(self, number: int, what: str, error: Exception) -> None:
        """Log why a shard failed, and try it again after AGAIN_S; the other shards go on."""
        self._not_before[number] = self._clock.steady_s() + AGAIN_S
        log.error("[Worker-%s] shard %d %s: %s", self.name, number, what, error, exc_info=not isinstance(error, CoreCError))

    def _close(self, number: int, seconds: float) -> None:
        """Commit its open turn; its last snapshot and closing it take longer and run in another thread."""
        try:
            self.shards[number].finish()
            leave = partial(self.shards[number].leave, self._clock.steady_s() + seconds)
        except CoreCError as error:
            log.warning("[Worker-%s] shard %d: %s", self.name, number, error)
            leave = self.shards[number].abandon
        self._drop(number, leave)
        log.info("[Worker-%s] shard %d is let go", self.name, number)

    def _drop(self, number: int, leave: Callable[[], None]) -> None:
        self._leaving = {each: leaving for each, leaving in self._leaving.items() if not leaving.done()}
        self._leaving[number] = self._closing.submit(leave)
        with self._counting:
            self._gone.update(self.shards.pop(number).counts())

    # --- folding ---------------------------------------------------------------------------------

    def _fold(self) -> bool:
        """Step every shard once; returns whether any of them had something to do."""
        busy = False
        for number, shard in list(self.shards.items()):
            self._steps += 1
            try:
                busy = shard.step() or busy
            except FenceLost as error:
                log.warning("[Worker-%s] shard %d: %s", self.name, number, error)
                self._drop(number, shard.abandon)
            except Exception as error:
                self._failed(number, "stops and is opened anew", error)
                self._drop(number, shard.abandon)
        return busy
