"""Assigns shards to the workers whose leases are current, and keeps turns in their queues.

Every node with `celery_config` may coordinate.  One leads; another takes over when its lease ends.
"""
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from corec.common.clock import MACHINE, Clock
from corec.workers.assignment import assign
from corec.workers.leases import LEASE_MS, Assignment, Lease, Leases

log = logging.getLogger(__name__)

#: Turns that wait or run for each worker, so that a worker need not wait for the next message.
QUEUED = 2
#: A worker that has turns and makes no progress for this long gets no shards, even with a current lease.
STALLED_S = 2.0
#: Messages that were not begun after this many seconds count as lost.
LOST_S = 3.0


class Coordinator:
    """Call `step` every RENEW_S seconds.

    send: puts one turn, by its number, into a worker's queue.  drop: deletes the queue of a worker that is gone.
    """

    def __init__(self, leases: Leases, name: str, *, shards: int, config: dict[str, Any],
                 send: Callable[[Lease, int], None], drop: Callable[[str], None], clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._leases, self._name, self._shards, self.config = leases, name, shards, config
        self._send, self._drop = send, drop
        self._sent: dict[str, int] = {}     # queue -> turns sent
        self._progress: dict[str, tuple[tuple[int, int], float]] = {}  # queue -> (turns and steps, when they last changed)
        self._still: set[str] = set()
        self._stepped: float | None = None
        self._decide_from = 0.0
        self.leads = False
        self.workers: dict[str, Lease] = {}
        self.shards: dict[int, str] = {}

    def step(self) -> None:
        """Take or renew the lead.  With the lead, assign shards and send turns."""
        leads = self._leases.lead(self._name)
        if leads and not self.leads:
            log.info("[ModuloEjecucion] %s coordina %d fragmentos", self._name, self._shards)
        self.leads = leads
        live = self._leases.live()
        self.workers = self._at_work(live)
        if leads:
            if self._leases_are_current():
                self._decide()
            self._forget(live)
            for lease in live.values():
                self._keep_busy(lease)

    def stop(self) -> None:
        """Give up the lead, so that another node can take it at once."""
        self._leases.resign(self._name)
        self.leads = False

    def _decide(self) -> None:
        decided = Assignment(assign(self._shards, self.workers), self.config)
        if msgspec.json.encode(decided) != msgspec.json.encode(self._leases.assignment()):
            self._leases.assign(decided)
            self._log_assigned(decided.shards)
        self.shards = decided.shards

    def _log_assigned(self, shards: dict[int, str]) -> None:
        each = ", ".join(f"{name}: {sorted(Assignment(shards).of(name))}" for name in sorted(set(shards.values())))
        log.info("[ModuloEjecucion] fragmentos asignados: %s", each or "ninguno, no hay workers")

    def _at_work(self, live: dict[str, Lease]) -> dict[str, Lease]:
        """The workers that make progress; all of them where none does, since they then wait for the same server."""
        working = {name: lease for name, lease in live.items() if self._goes_on(lease)}
        for name in live.keys() - working.keys() - self._still:
            log.warning("[ModuloEjecucion] %s does nothing of its turns for %.0f s", name, STALLED_S)
        self._still = live.keys() - working.keys()
        return working or live

    def _leases_are_current(self) -> bool:
        """Whether workers had time to renew their leases, which end while Redis is away or this process is paused."""
        now, last, self._stepped = self._clock.steady_s(), self._stepped, self._clock.steady_s()
        if last is not None and now - last > LEASE_MS / 1000:
            self._decide_from = now + LEASE_MS / 1000
        return now >= self._decide_from

    def _goes_on(self, lease: Lease) -> bool:
        """Whether it makes progress on its turns, or has none to do."""
        now = self._clock.steady_s()
        done = lease.began, lease.steps
        before, since = self._progress.setdefault(lease.queue, (done, now))
        if done != before or self._sent.get(lease.queue, 0) <= lease.began:
            self._progress[lease.queue] = (done, now)
            return True
        return now - since < STALLED_S

    def _forget(self, live: dict[str, Lease]) -> None:
        queues = {lease.queue for lease in live.values()}
        for queue in self._sent.keys() - queues:
            del self._sent[queue]
            self._progress.pop(queue, None)
            self._drop(queue)

    def _keep_busy(self, lease: Lease) -> None:
        sent = self._sent.setdefault(lease.queue, lease.began)
        if self._clock.steady_s() - self._progress[lease.queue][1] > LOST_S:     # the broker may have lost them: count anew
            sent = lease.began
            self._progress[lease.queue] = (self._progress[lease.queue][0], self._clock.steady_s() - STALLED_S)
        for _ in range(max(0, lease.began + QUEUED - sent)):
            self._send(lease, sent)
            sent += 1
        self._sent[lease.queue] = sent
