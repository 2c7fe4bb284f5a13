"""Many producers, one log: their batches are made durable in groups, one sync for each."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import NamedTuple

from corec.common.clock import MACHINE, Clock
from corec.common.text import counted
from corec.common.trouble import Trouble
from corec.common.units import MB
from corec.errors import InternalError, StorageError
from corec.streams.base import Log

log = logging.getLogger("corec.streams.group_commit")

#: The longest a batch waits for company before its group is synced.
GROUP_MS = 10.0
GROUP_BYTES = MB
#: What may wait for the disk; beyond it `submit` blocks.
PENDING_BYTES = 8 * MB
#: Groups that the statistics look back on.
RECENT_GROUPS = 512


class CommitStats(NamedTuple):
    accepted: int  # readings since the start
    groups: int
    readings_per_s: float  # over the recent groups
    sync_p50_ms: float
    sync_p99_ms: float
    pending_bytes: int


class Waiting(NamedTuple):
    payloads: Sequence[bytes]
    arrival: int
    readings: int
    ticket: "Future[int]"

    @property
    def bytes(self) -> int:
        return sum(map(len, self.payloads))


class GroupCommitter:
    """Appends what producers submit; a ticket resolves to the offset once the batch is durable."""

    def __init__(
        self,
        target: Log,
        *,
        group_ms: float = GROUP_MS,
        group_bytes: int = GROUP_BYTES,
        pending_bytes: int = PENDING_BYTES,
        on_commit: Callable[[int], None] | None = None,
        instance: str = "corec1",
        stamp: Callable[[], int] | None = None,
        clock: Clock = MACHINE,
    ) -> None:
        """stamp: gives the time of arrival of what is submitted without one (ms); the wall clock by default.

        *on_commit* gets the last durable offset of each group, in the committer's thread; it must not raise."""
        self._log = target
        self._linger = group_ms / 1000
        self._group_bytes = group_bytes
        self._bound = pending_bytes
        self._clock = clock
        self._on_commit, self._stamp = on_commit, stamp or clock.wall_ms
        #: How many times longer than *group_ms* a batch that is not urgent waits for company.
        self.interval_factor: Callable[[], float] = lambda: 1.0
        self.trouble = Trouble(log, f"GroupCommitter-{instance}", clock=clock)
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._room = threading.Condition(self._lock)
        self._pending: list[Waiting] = []
        self._pending_bytes = 0
        self._oldest = 0.0  # when the first of the pending came
        self._hurry = False
        self._stopping = False
        self._accepted = self._groups = 0
        self._recent: deque[tuple[float, int, float]] = deque(maxlen=RECENT_GROUPS)  # done, readings, sync s
        self._driver = clock.drive(self._step, name="group-commit", woken=self._work)
        self._driver.start()

    def submit(
        self,
        payload: bytes,
        arrival: int | None = None,
        *,
        readings: int = 1,
        urgent: bool = False,
        timeout: float | None = None,
    ) -> "Future[int]":
        """Hand in one batch; blocks while too much is waiting.  *urgent*: sync at once, do not wait for company."""
        return self.submit_all((payload,), arrival, readings=readings, urgent=urgent, timeout=timeout)

    def submit_all(
        self,
        payloads: Sequence[bytes],
        arrival: int | None = None,
        *,
        readings: int = 1,
        urgent: bool = False,
        timeout: float | None = None,
    ) -> "Future[int]":
        """Hand in batches that are accepted together or not at all; the ticket resolves to the last one's offset."""
        if odd := [type(payload).__name__ for payload in payloads if not isinstance(payload, bytes)]:
            raise InternalError(f"expected a batch as bytes, got {odd[0]}")
        ticket: Future[int] = Future()
        ticket.set_running_or_notify_cancel()  # a batch handed in cannot be taken back
        moment = self._stamp() if arrival is None else arrival
        with self._lock:
            if not self._clock.wait_for(self._room, self._has_room, timeout):
                raise StorageError(
                    f"the journal did not take a batch within {timeout} s: {self._pending_bytes:,} bytes are waiting",
                    hint="the disk is slower than the readings; see the sync latency in `corec status`",
                )
            if self._stopping:
                raise InternalError("a batch was submitted after the committer had stopped")
            self._add(Waiting(payloads, moment, readings, ticket), urgent)
        return ticket

    def stop(self) -> None:
        """Commit what is pending and end the thread; the log stays open."""
        with self._lock:
            self._stopping = True
            self._room.notify_all()
        self._work.set()
        self._driver.join()

    def stats(self) -> CommitStats:
        with self._lock:
            recent, pending = list(self._recent), self._pending_bytes
            accepted, groups = self._accepted, self._groups
        syncs = sorted(sync for _, _, sync in recent) or [0.0]
        span = max(self._clock.steady_s() - recent[0][0], 1e-3) if recent else 1.0
        rate = sum(readings for _, readings, _ in list(recent)[1:]) / span
        p50, p99 = (1000 * syncs[int(share * (len(syncs) - 1))] for share in (0.5, 0.99))
        return CommitStats(accepted, groups, rate, p50, p99, pending)

    # -- producers' side, under the lock

    def _has_room(self) -> bool:
        return self._stopping or self._pending_bytes < self._bound

    def _add(self, waiting: Waiting, urgent: bool) -> None:
        if not self._pending:
            self._oldest = self._clock.steady_s()
        self._pending.append(waiting)
        self._pending_bytes += waiting.bytes
        self._hurry = self._hurry or urgent
        if len(self._pending) == 1 or self._is_due():
            self._work.set()

    def _is_due(self) -> bool:
        return self._stopping or self._hurry or self._pending_bytes >= self._group_bytes

    # -- the committer's thread

    def _step(self) -> float | None:
        """Commit the next group when it is large, urgent or old enough; returns the seconds until then, None at the end."""
        with self._lock:
            if not self._pending:
                return None if self._stopping else math.inf
            left = self._oldest + self._linger * self.interval_factor() - self._clock.steady_s()
            if left > 0 and not self._is_due():
                return left
            group = self._split_off()
            self._room.notify_all()
        self._commit(group)
        return 0.0

    def _split_off(self) -> list[Waiting]:
        """The oldest of the pending: as many as make a group large."""
        taken = count = 0
        while count < len(self._pending) and taken < self._group_bytes:
            taken += self._pending[count].bytes
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        self._pending_bytes -= taken
        self._hurry = self._hurry and bool(self._pending)
        return group

    def _commit(self, group: list[Waiting]) -> None:
        try:
            payloads = list(chain.from_iterable(waiting.payloads for waiting in group))
            last = self._log.append(payloads, [waiting.arrival for waiting in group for _ in waiting.payloads])
            before = self._clock.steady_s()
            self._log.sync()
        except Exception as error:  # whatever it is: no producer may wait for ever
            self.trouble.failed(f"{counted(len(group), 'batch')} not accepted", error, len(group))
            for waiting in group:
                waiting.ticket.set_exception(error)
            return
        self.trouble.recovered()
        self._count(group, before)
        offset = last - len(payloads)
        for waiting in group:
            offset += len(waiting.payloads)
            waiting.ticket.set_result(offset)
        if self._on_commit:
            self._on_commit(last)

    def _count(self, group: list[Waiting], before: float) -> None:
        now, readings = self._clock.steady_s(), sum(waiting.readings for waiting in group)
        with self._lock:
            self._accepted += readings
            self._groups += 1
            self._recent.append((now, readings, now - before))
