"""One process that folds the shards it was given, a turn at a time."""
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from corec.errors import CoreCError, FenceLost, ServerError
from corec.workers.leases import RENEW_S, Assignment, Lease, Leases
from corec.workers.shard import Shard

log = logging.getLogger(__name__)

#: A worker that is to have a shard waits this long for the one that still has it; then the fence decides.
HANDOVER_S = 1.0
#: Shards opened side by side.
OPENERS = 4
#: With nothing to fold, the streams are looked at again after this long, or at once when something comes.
REST_S = 0.005


class ShardWorker:
    """Keeps its shards open between turns: state stays warm.

    leases, beat: connections for the turns and for the thread that keeps the lease.
    open_shard: (shard, config, woken) -> Shard; it may take a while and runs in a thread of its own, so that the other
    shards are folded meanwhile.
    """

    def __init__(self, leases: Leases, beat: Leases, name: str, queue: str, *,
                 open_shard: Callable[[int, dict[str, Any], threading.Event], Shard]) -> None:
        self._leases, self._beat, self.name, self.queue, self._open_shard = leases, beat, name, queue, open_shard
        self.shards: dict[int, Shard] = {}
        self._opening: dict[int, Future[Shard]] = {}
        self._wanted_since: dict[int, float] = {}
        self._pool = ThreadPoolExecutor(OPENERS, thread_name_prefix="open-shard")
        self._closing = ThreadPoolExecutor(OPENERS, thread_name_prefix="close-shard")
        self._woken = threading.Event()
        self._began = self._steps = 0
        self._busy_s = 0.0
        self._config: dict[str, Any] = {}
        self._looked = 0.0
        self._stopped = threading.Event()

    def turn(self, seconds: float) -> dict[str, Any]:
        """Fold and commit for *seconds*; what was done, as plain numbers."""
        self._began += 1
        before, self._looked = self.counts(), 0.0
        self._work(time.monotonic() + seconds)
        return {name: count - before.get(name, 0) for name, count in self.counts().items()} | {"shards": sorted(self.shards)}

    def _work(self, end: float) -> None:
        while time.monotonic() < end:
            self._look_in_time()
            began = time.monotonic()
            if self._fold():
                self._busy_s += time.monotonic() - began
            else:
                self._woken.wait(REST_S)
                self._woken.clear()

    def stop(self) -> None:
        """Commit what is folded and let go of everything."""
        self._stopped.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._adopt()
        for number in list(self.shards):
            self._close(number)
        self._leases.give_up(self.name)
        self._closing.shutdown(wait=True)
        self._leases.close()

    def keep_lease(self) -> None:
        """Renew the lease until `stop`, in a thread of its own; a process that does not run renews nothing.

        That it lives does not say that it works: the coordinator looks at the turns that it begins.
        """
        while not self._stopped.is_set():
            with suppress(ServerError):
                self._beat.renew(self._lease())
            self._stopped.wait(RENEW_S)

    def _lease(self) -> Lease:
        return Lease(self.name, self.queue, os.getpid(), socket.gethostname(), self._began, self._steps, tuple(sorted(list(self.shards))),
                     tuple(sorted(list(self._opening))), {**self.counts(), "busy_s": round(self._busy_s, 3)})  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Readings folded, turns committed, block turns."""
        total = {"readings": 0, "turns": 0, "rows": 0, "block_turns": 0, "alerts": 0}
        for shard in list(self.shards.values()):
            for name, count in shard.counts().items():
                total[name] += count
        return total

    # --- shards come and go ----------------------------------------------------------------------

    def _look_in_time(self) -> None:
        if time.monotonic() - self._looked >= RENEW_S:
            self._looked = time.monotonic()
            self._see_to_shards(self._leases.assignment())

    def _see_to_shards(self, assignment: Assignment) -> None:
        mine = assignment.of(self.name)
        self._take_config(assignment.config)
        for number in [number for number in self.shards if number not in mine]:
            self._close(number)
        self._adopt()
        elsewhere = self._held_elsewhere()
        for number in mine - self.shards.keys() - self._opening.keys():
            since = self._wanted_since.setdefault(number, time.monotonic())
            if number not in elsewhere or time.monotonic() - since > HANDOVER_S:
                self._opening[number] = self._pool.submit(self._open_shard, number, assignment.config, self._woken)
        self._wanted_since = {number: since for number, since in self._wanted_since.items() if number in mine}

    def _take_config(self, config: dict[str, Any]) -> None:
        if self._config and config and config != self._config:
            for shard in self.shards.values():
                shard.reload(config)
        self._config = config or self._config

    def _held_elsewhere(self) -> set[int]:
        return {shard for lease in self._leases.live().values() if lease.name != self.name for shard in lease.held}

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
        except CoreCError as error:     # the next turn tries again
            log.error("[Worker-%s] shard %d does not open: %s", self.name, number, error)
        except Exception:   # a mistake of ours with one shard must not hold up the others
            log.exception("[Worker-%s] shard %d does not open", self.name, number)

    def _close(self, number: int) -> None:
        """Commit its open turn; letting go of its connections takes longer and is done aside."""
        shard = self.shards.pop(number)
        try:
            shard.finish()
        except CoreCError as error:
            log.warning("[Worker-%s] shard %d: %s", self.name, number, error)
        self._closing.submit(shard.abandon)
        log.info("[Worker-%s] shard %d is let go", self.name, number)

    # --- folding ---------------------------------------------------------------------------------

    def _fold(self) -> bool:
        """One step of every shard; whether any of them had something to do."""
        busy = False
        for number, shard in list(self.shards.items()):
            self._steps += 1
            try:
                busy = shard.step() or busy
            except FenceLost as error:
                log.warning("[Worker-%s] shard %d: %s", self.name, number, error)
                del self.shards[number]
                self._closing.submit(shard.abandon)
        return busy
