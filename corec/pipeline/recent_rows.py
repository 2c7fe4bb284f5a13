"""What was committed of late, for modules and plugins that look once a second."""
import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from corec._core import dtypes
from corec.pipeline.turns import wall_ms

#: Rows of blocks and alerts that may be looked back on, 6 MB: those of three seconds of thirty million entities.
MOST_ROWS = 100_000


class Told(NamedTuple):
    """What came of a turn of a worker."""

    rows: np.ndarray  # AGGREGATE
    alerts: np.ndarray  # ALERT
    provisional: bool = False  # the store does not take the turn for now; its rows come with the commit
    before: bool = False  # its alerts were told as provisional


class News:
    """Rows and alerts of turns by number; anybody adds, anybody asks for those behind a number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, np.ndarray, np.ndarray]] = deque()
        self._told = self._rows = 0

    def keep(self, aggregates: np.ndarray, alerts: np.ndarray) -> None:
        """What came of a turn, if anything did; the oldest makes room for it."""
        if not len(aggregates) and not len(alerts):
            return
        with self._lock:
            self._told += 1
            self._kept.append((self._told, aggregates, alerts))
            self._rows += len(aggregates) + len(alerts)
            while self._rows > MOST_ROWS and len(self._kept) > 1:
                self._rows -= sum(map(len, self._kept.popleft()[1:]))

    def behind(self, number: int) -> tuple[dict[str, Any], int]:
        """What came behind *number*: aggregates and alerts as structured arrays, and the time; its own number."""
        with self._lock:
            fresh = [each for each in self._kept if each[0] > number]
        datos = {"bloques": _joined([rows for _, rows, _ in fresh], dtypes.AGGREGATE),
                 "alertas": _joined([alerts for *_, alerts in fresh], dtypes.ALERT), "ahora": wall_ms()}
        return datos, fresh[-1][0] if fresh else number


def _joined(arrays: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
