"""StatusRates and percentiles of what a node counts and times."""
import math
import threading
from collections import deque
from collections.abc import Iterable

from corec.common.clock import Clock


class StatusRates:
    """Events per second of a few counters, over the last seconds."""

    def __init__(self, clock: Clock, seconds: float = 5.0) -> None:
        self._clock, self._span = clock, seconds
        self.began: dict[str, float] = {}  # the totals when counting began
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, dict[str, float]]] = deque()

    def begin(self, **totals: float) -> None:
        """Count from these totals on."""
        self.began = totals
        self.update(**totals)

    def since(self, name: str, total: float) -> int:
        """By how much a total has grown since `begin`."""
        return max(0, int(total - self.began.get(name, 0)))

    def update(self, **totals: float) -> dict[str, float]:
        """Record the totals of now; returns events per second by name."""
        now = self._clock.steady_s()
        with self._lock:
            self._seen.append((now, totals))
            while len(self._seen) > 2 and now - self._seen[0][0] > self._span:
                self._seen.popleft()
            then, before = self._seen[0]
        span = max(now - then, 1e-9) if len(self._seen) > 1 else float("inf")
        return {name: (value - before.get(name, 0.0)) / span for name, value in totals.items()}


def percentiles(values: Iterable[float]) -> tuple[float, float]:
    """Median and 99th percentile by nearest rank; zeros where there are no values."""
    ordered = sorted(values) or [0.0]
    middle, high = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
    return middle, high
