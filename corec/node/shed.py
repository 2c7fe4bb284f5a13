"""Readings that were refused before they reached the log: how many for the ledger, and of which channels why."""
import threading
from collections import Counter

import numpy as np

DISK = "no room on disk"
FLOOD = "a plugin floods"


class Shed:
    """Counts; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold = 0
        self._by: Counter[tuple[str, int]] = Counter()

    def add_frames(self, frames: bytes, cause: str = DISK) -> None:
        """These."""
        channels, counts = np.unique(np.frombuffer(frames, np.int8)[4::10], return_counts=True)
        with self._lock:
            self._untold += len(frames) // 10
            self._by.update({(cause, int(canal)): int(count) for canal, count in zip(channels, counts, strict=True)})

    def take(self) -> int:
        """How many the ledger has not been told of."""
        with self._lock:
            untold, self._untold = self._untold, 0
        return untold

    def status(self) -> dict[str, dict[str, int]]:
        """Since the start: cause -> channel -> readings."""
        with self._lock:
            found: dict[str, dict[str, int]] = {}
            for (cause, canal), count in sorted(self._by.items()):
                found.setdefault(cause, {})[str(canal)] = count
        return found
