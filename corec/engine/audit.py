"""The anomaly score of blocks: two clocks over the rows of closed windows, and when a score is worth an alert.

docs/model.md has each formula.  Every operation is one of IEEE doubles in a stated order: replays give the same bits.
"""
import numpy as np

from corec._core import dtypes
from corec.config import Config
from corec.engine.outcome import ANOMALY
from corec.engine.topology import Topology
from corec.errors import DamagedFile

#: Windows before features are judged, and steps of the clocks.
WARM, SLOW, FAST = 50, 0.0005, 1 / 8
#: What one window may count for: the largest |z| of its readings, and the z of a feature of the block.
MOST_Z, MOST_FEATURE = 1000.0, 10.0
#: Least deviation of a feature: of shares; of mean and spread, relative to their mean.
FLOORS = np.array([[0.01], [0.0], [0.0], [0.01]])
RELATIVE, TINY = 1e-6, 1e-9
#: The scores that an alert has to top are kept as maxima of so many stretches; the newest of these do not count, because
#: a score that rises slowly would have to top its own rise.
STRETCHES, LEFT_OUT = 16, 2
#: By how much, and for how many windows, beside those left out, there is no alert after one.
TOPS_BY, PAUSE = 1.25, 60
#: One block; `highest` are the maxima of the newest stretches of windows.
STATE = np.dtype([("mean", "<f8", 4), ("var", "<f8", 4), ("score", "<f8"), ("windows", "<i8"), ("told", "<i8"),
                  ("highest", "<f8", STRETCHES)])  # fmt: skip


def audit_of(config: Config, topology: Topology, audit: "Audit | None" = None) -> "Audit | None":
    """*audit* under another configuration, a new one where there is none; None where blocks get no score."""
    if not config.audits:
        return None
    audit = audit or Audit()
    audit.take_over(config, topology)
    return audit


class Audit:
    """What is known of each block's windows."""

    def __init__(self) -> None:
        self.state = np.zeros(0, STATE)

    def take_over(self, config: Config, topology: Topology) -> None:
        """Another configuration, perhaps with more blocks."""
        self._stretch = -(-config.auditoria.ventanas // STRETCHES)
        self._least = config.auditoria.umbral
        self._ids = topology.first_ids()
        self.state = np.concatenate([self.state, np.zeros(len(self._ids) - len(self.state), STATE)])

    def restore(self, data: bytes) -> None:
        """What `state.tobytes()` gave; DamagedFile when it is of other blocks."""
        if len(data) != self.state.nbytes:
            raise DamagedFile(f"expected {self.state.nbytes} bytes of scores, got {len(data)}", hint="use an older snapshot")
        self.state = np.frombuffer(data, STATE).copy()

    def judge(self, rows: np.ndarray, alerts: np.ndarray, *, scored: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(rows with their scores, alerts with those of anomalies behind them), for all rows of a turn at once.

        scored: the rows come from a store and have their scores.
        """
        rows, left, found = rows.copy(), np.arange(len(rows)), [alerts]
        while len(left):  # a block may close two windows at once: one after the other
            _, first = np.unique(rows["block"][left], return_index=True)
            found.append(self._judge(rows, left[np.sort(first)], scored))
            left = np.delete(left, first)
        return rows, np.concatenate(found)

    def _judge(self, rows: np.ndarray, chosen: np.ndarray, scored: bool) -> np.ndarray:
        blocks = rows["block"][chosen]
        state = self.state[blocks]
        state["score"] = rows["score"][chosen] if scored else _score(state, rows[chosen])
        top = self._older(state).max(axis=1)
        told = (state["windows"] >= 4 * self._stretch) & (state["windows"] >= state["told"])
        told &= (state["score"] > self._least) & (state["score"] > TOPS_BY * top)
        state["told"] = np.where(told, state["windows"] + PAUSE + LEFT_OUT * self._stretch, state["told"])
        self._note_score(state)
        self.state[blocks] = state
        rows["score"][chosen] = state["score"]
        return self._alerts(rows[chosen[told]], TOPS_BY * top[told])

    def _older(self, state: np.ndarray) -> np.ndarray:
        """float64[blocks, STRETCHES]: the maxima; 0 in place of the stretch that is being filled and the one before."""
        age = (state["windows"][:, None] // self._stretch - np.arange(STRETCHES)) % STRETCHES
        return np.where(age < LEFT_OUT, 0.0, state["highest"])

    def _note_score(self, state: np.ndarray) -> None:
        every, at = np.arange(len(state)), state["windows"] // self._stretch % STRETCHES
        begun = state["windows"] % self._stretch == 0
        kept = np.where(begun, 0.0, state["highest"][every, at])
        state["highest"][every, at] = np.maximum(kept, state["score"])
        state["windows"] += 1

    def _alerts(self, rows: np.ndarray, limits: np.ndarray) -> np.ndarray:
        alerts = np.zeros(len(rows), dtypes.ALERT)
        alerts["time"], alerts["block"], alerts["canal"] = rows["window"], rows["block"], rows["canal"]
        alerts["id"], alerts["kind"] = self._ids[rows["block"]], ANOMALY
        alerts["valor"], alerts["limit"] = rows["score"], limits
        return alerts


def _score(state: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The score of each block, from its score before and the largest |z| of its readings and features."""
    largest = np.minimum(rows["score"].astype(np.float64), MOST_Z)
    return state["score"] + (np.maximum(largest, _feature_score(state, _features(rows))) - state["score"]) * FAST


def _features(rows: np.ndarray) -> np.ndarray:
    """float64[4, rows]: share of messages, mean, spread, share of failed readings; NaN where there is none."""
    readings = np.maximum(rows["count"].astype(np.float64) + rows["errors"], 1.0)
    return np.stack([rows["messages"] / readings, rows["mean"], rows["std"], rows["errors"] / readings])


def _feature_score(state: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The largest guarded z of the features of each block; moves their slow clocks."""
    mean, var, warm = state["mean"].T, state["var"].T, state["windows"] >= WARM
    d, sigma, known = x - mean, np.sqrt(var), ~np.isnan(x)
    z = np.abs(d) / (np.maximum(sigma, FLOORS) + RELATIVE * np.abs(mean) + TINY)
    alpha = np.maximum(1.0 / (state["windows"] + 1.0), SLOW)
    e = np.where(warm, np.minimum(np.maximum(d, -3.0 * sigma), 3.0 * sigma), d)
    state["mean"] = np.where(known, mean + alpha * e, mean).T
    state["var"] = np.where(known, (1.0 - alpha) * (var + alpha * e * e), var).T
    return np.where(known & warm, np.minimum(z, MOST_FEATURE), 0.0).max(axis=0)
