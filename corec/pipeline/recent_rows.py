"""Keeps the rows that were committed last, for modules and plugins that read them once a second."""
import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from corec._core import dtypes
from corec.common.times import wall_ms

#: Most rows and alerts that are kept, 6 MB: three seconds of thirty million entities.
MOST_ROWS = 100_000


class WorkerTurn(NamedTuple):
    """The results of a worker's turn."""

    rows: np.ndarray  # dtypes.AGGREGATE
    alerts: np.ndarray  # dtypes.ALERT
    provisional: bool = False  # the store does not take the turn for now; its rows come with the commit
    alerted_before: bool = False  # its alerts were handed out as provisional


class RecentRows:
    """Rows and alerts of turns, numbered from 1; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, np.ndarray, np.ndarray]] = deque()
        self._number = self._rows = 0

    def keep(self, aggregates: np.ndarray, alerts: np.ndarray) -> None:
        """Add the results of a turn, unless they are empty; the oldest turns are dropped for them."""
        if not len(aggregates) and not len(alerts):
            return
        with self._lock:
            self._number += 1
            self._kept.append((self._number, aggregates, alerts))
            self._rows += len(aggregates) + len(alerts)
            while self._rows > MOST_ROWS and len(self._kept) > 1:
                self._rows -= sum(map(len, self._kept.popleft()[1:]))

    def behind(self, number: int) -> tuple[dict[str, Any], int]:
        """As `Nucleus.news`: what was added behind *number*, and the number to ask with next."""
        with self._lock:
            fresh = [each for each in self._kept if each[0] > number]
        datos = {"bloques": _joined([rows for _, rows, _ in fresh], dtypes.AGGREGATE),
                 "alertas": _joined([alerts for *_, alerts in fresh], dtypes.ALERT), "ahora": wall_ms()}  # fmt: skip
        return datos, fresh[-1][0] if fresh else number


def _joined(arrays: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
