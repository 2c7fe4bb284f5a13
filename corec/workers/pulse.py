"""Notices that the turns of a worker stand still, which neither its process nor the thread that renews its lease shows."""
import time

#: A turn without progress for this long stands still; a commit and a failing connection take less.
STILL_S = 6.0


class Pulse:
    """Watches a progress counter; one thread calls `goes_on` often."""

    def __init__(self, still_s: float = STILL_S) -> None:
        self._still_s = still_s
        self._seen: int | None = None
        self._since = 0.0

    def goes_on(self, moves: int) -> bool:
        """Whether *moves* has changed within the last `still_s` seconds."""
        now = time.monotonic()
        if moves != self._seen:
            self._seen, self._since = moves, now
        return now - self._since < self._still_s
