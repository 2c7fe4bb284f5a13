"""Counts readings that were refused before they reached the journal, by channel and cause, until a turn has counted them."""
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from corec._core.wire import channel_counts

DISK = "no room on disk"
FLOOD = "a plugin floods"

By = dict[str, dict[str, int]]  # cause -> channel -> readings


class Refused:
    """All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ever: Counter[tuple[str, int]] = Counter()
        self._unreported: Counter[tuple[str, int]] = Counter()

    def add_frames(self, frames: bytes, cause: str = DISK) -> None:
        """Count refused frames by channel, under *cause*."""
        self.add(channel_counts(frames), cause)

    def add(self, counts: Mapping[int, int], cause: str) -> None:
        """Count refused readings: channel -> how many, under *cause*."""
        more = {(cause, canal): count for canal, count in counts.items()}
        with self._lock:
            self._ever.update(more)
            self._unreported.update(more)

    def take(self) -> dict[str, Any] | None:
        """A command for the counts that no turn has yet, or None.  Call `settle` once its turn has ended."""
        with self._lock:
            fresh, self._unreported = self._unreported, Counter()
        return {"op": "shed", "readings": fresh.total(), "by": _by(fresh)} if fresh else None

    def settle(self, command: Mapping[str, Any], done: "Future[int]") -> None:
        """Take the counts of *command* back where its turn failed or was cancelled."""
        if done.cancelled() or done.exception():
            part = {(cause, int(canal)): count for cause, by in command["by"].items() for canal, count in by.items()}
            with self._lock:
                self._unreported.update(part)

    def since_start(self) -> By:
        """All counts since the start, whether a turn has counted them or not."""
        with self._lock:
            return _by(self._ever)


def _by(counts: Counter[tuple[str, int]]) -> By:
    found: By = {}
    for (cause, canal), count in sorted(counts.items()):
        found.setdefault(cause, {})[str(canal)] = count
    return found
