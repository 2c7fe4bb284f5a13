"""The thread that renews a worker's lease while its turns make progress.

Neither the worker's process nor this thread shows that a turn stands still, so the thread watches a progress counter.
"""
import logging
from collections.abc import Callable

from corec.common.clock import Clock
from corec.common.retrying_thread import RetryingThread
from corec.common.systemd import Supervisor
from corec.workers.leases import RENEW_S, Lease, Leases

log = logging.getLogger("corec.workers.shard_worker")

#: A turn without progress for this long stands still; a commit and a failing connection take less.
STILL_S = 6.0


class LeaseKeeper(RetryingThread):
    """Renews the lease and notifies the supervisor, while turns make progress or none is under way.

    The coordinator checks that there are turns at all.
    """

    again_s = RENEW_S

    def __init__(self, leases: Leases, name: str, *, moves: Callable[[], int], lease: Callable[[], Lease], still_s: float,
                 clock: Clock) -> None:  # fmt: skip
        """leases: a connection of its own, which is closed at the end.  moves: the progress counter.  lease: what is written."""
        super().__init__("lease", f"Worker-{name}", log, meanwhile="its lease is not renewed", clock=clock)
        self._leases, self._name, self._moves, self._lease = leases, name, moves, lease
        self._supervisor = Supervisor()
        self._pulse, self._is_still = Pulse(still_s, clock), False

    def _pass(self) -> float:
        moves = self._moves()
        self._supervisor.beat(moves)
        if self._goes_on(moves):
            self._leases.renew(self._lease())
            self._recovered()
        return RENEW_S

    def _end(self) -> None:
        self._leases.close()

    def _goes_on(self, moves: int) -> bool:
        still = not self._pulse.goes_on(moves)
        if still and not self._is_still:
            log.error("[Worker-%s] its turn stands still: its lease is not renewed, and its shards are others' meanwhile", self._name)
        elif self._is_still and not still:
            log.warning("[Worker-%s] its turns go on", self._name)
        self._is_still = still
        return not still


class Pulse:
    """Watches a progress counter; one thread calls `goes_on` often."""

    def __init__(self, still_s: float, clock: Clock) -> None:
        self._still_s, self._clock = still_s, clock
        self._seen: int | None = None
        self._since = 0.0

    def goes_on(self, moves: int) -> bool:
        """Whether *moves* has changed within the last `still_s` seconds."""
        now = self._clock.steady_s()
        if moves != self._seen:
            self._seen, self._since = moves, now
        return now - self._since < self._still_s
