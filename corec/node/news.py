"""What was committed of late, for modules and plugins that look once a second."""
import threading
from collections import deque
from typing import Any

import numpy as np

from corec._core import dtypes
from corec.engine.outcome import Outcome
from corec.node.pipeline import wall_ms

#: Turns that may be looked back on: those of a second of a busy fleet.
MOST = 1024


class News:
    """Outcomes by number; anybody adds, anybody asks for those behind a number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Outcome]] = deque(maxlen=MOST)
        self._told = 0

    def keep(self, outcome: Outcome) -> None:
        """A turn, if anything came of it."""
        if not len(outcome.aggregates) and not len(outcome.alerts):
            return
        with self._lock:
            self._told += 1
            self._kept.append((self._told, outcome))

    def behind(self, number: int) -> tuple[dict[str, Any], int]:
        """What came behind *number*: aggregates and alerts as structured arrays, and the time; its own number."""
        with self._lock:
            fresh = [(each, outcome) for each, outcome in self._kept if each > number]
        outcomes = [outcome for _, outcome in fresh]
        datos = {"bloques": _joined([each.aggregates for each in outcomes], dtypes.AGGREGATE),
                 "alertas": _joined([each.alerts for each in outcomes], dtypes.ALERT), "ahora": wall_ms()}
        return datos, fresh[-1][0] if fresh else number


def _joined(arrays: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
