"""Whether the turns of a worker go on: a process that lives and a thread that renews its lease say nothing of that."""
import time

#: A turn that does nothing for this long stands still: longer than a commit takes, and than a connection that fails.
STILL_S = 6.0


class Pulse:
    """Shown a number that grows with what is done, by one thread, often."""

    def __init__(self, still_s: float = STILL_S) -> None:
        self._still_s = still_s
        self._seen: int | None = None
        self._since = 0.0

    def goes_on(self, moves: int) -> bool:
        """Whether *moves* was another number not long ago."""
        now = time.monotonic()
        if moves != self._seen:
            self._seen, self._since = moves, now
        return now - self._since < self._still_s
