"""Servers that are away, for the whole process: one log line when one goes and one when it is back, whoever notices."""
import threading
from weakref import WeakSet

from corec.common.clock import Clock

#: Seconds after the return of a server in which a broken connection is no new outage: some notice theirs only then.
QUIET_S = 10.0


class Outage:
    """One server, and those who cannot reach it now."""

    def __init__(self) -> None:
        self._without: WeakSet[object] = WeakSet()
        self._lock = threading.Lock()
        self._began = 0.0  # s by the clock that does not jump
        self._is_logged, self._quiet_until = False, float("-inf")

    def begin(self, who: object, clock: Clock) -> bool:
        """Note that *who* cannot reach the server; whether that is to be logged."""
        with self._lock:
            now = clock.steady_s()
            if not self._without:
                self._began, self._is_logged = now, False
            self._without.add(who)
            if self._is_logged or now < self._quiet_until:
                return False
            self._is_logged = True
            return True

    def end(self, who: object, clock: Clock) -> float | None:
        """Note that *who* reaches the server; the seconds that it was away, where its return is to be logged."""
        with self._lock:
            now = clock.steady_s()
            self._without.discard(who)
            if self._without or not self._is_logged:
                return None
            self._is_logged, self._quiet_until = False, now + QUIET_S
            return now - self._began

    def forget(self, who: object) -> None:
        """*who* has ended, and will not say whether the server is back."""
        with self._lock:
            self._without.discard(who)


_outages: dict[str, Outage] = {}


def outage_of(server: str) -> Outage:
    """The one of a server, by its kind and address."""
    return _outages.setdefault(server, Outage())
