"""Readings that were refused before they reached the log: of which channels and why, until a turn has counted them."""
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from corec._core.wire import channel_counts
from corec.engine.ledger import added

DISK = "no room on disk"
FLOOD = "a plugin floods"

By = dict[str, dict[str, int]]  # cause -> channel -> readings


class Refused:
    """Counts; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold: Counter[tuple[str, int]] = Counter()
        self._asked: Counter[tuple[str, int]] = Counter()  # in turns that are not committed

    def add_frames(self, frames: bytes, cause: str = DISK) -> None:
        """Count refused frames by channel, under *cause*."""
        self.add(channel_counts(frames), cause)

    def add(self, counts: Mapping[int, int], cause: str) -> None:
        """Count refused readings: channel -> how many, under *cause*."""
        with self._lock:
            self._untold.update({(cause, canal): count for canal, count in counts.items()})

    def take(self) -> dict[str, Any] | None:
        """The command that has a turn count what none was told of; `settle` is to be told how it ended."""
        with self._lock:
            untold, self._untold = self._untold, Counter()
            self._asked.update(untold)
        return {"op": "shed", "readings": untold.total(), "by": _by(untold)} if untold else None

    def settle(self, command: Mapping[str, Any], done: "Future[int]") -> None:
        """The turn of *command* is committed, or will not be."""
        part = Counter({(cause, int(canal)): count for cause, by in command["by"].items() for canal, count in by.items()})
        with self._lock:
            self._asked -= part
            if done.cancelled() or done.exception():
                self._untold.update(part)

    def status(self, counted: By) -> By:
        """With those that committed turns have counted, this start's and earlier ones'."""
        with self._lock:
            return added(counted, _by(self._untold + self._asked))


def _by(counts: Counter[tuple[str, int]]) -> By:
    found: By = {}
    for (cause, canal), count in sorted(counts.items()):
        found.setdefault(cause, {})[str(canal)] = count
    return found
