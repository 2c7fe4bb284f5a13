"""The anomaly score of blocks, from the rows of their closed windows, and which scores raise an alert.

docs/model.md gives each formula.  Every operation is one of IEEE doubles in a stated order: replays give the same bits.
"""
import numpy as np

from corec._core import dtypes
from corec._core.dtypes import ALERT_ANOMALY
from corec.config import Config
from corec.engine.outcome import is_amending
from corec.engine.topology import Topology
from corec.errors import DamagedFile

#: Windows of a block before its features are judged; step of the slow mean and variance; step of the score.
WARM, SLOW, FAST = 50, 0.0005, 1 / 8
#: Bounds of what one window may add to the score: the largest |z| of its readings, and the z of a feature of the block.
MOST_Z, MOST_FEATURE = 1000.0, 10.0
#: Least deviation of each feature, in the order of `_features`; for mean and spread it is relative to their mean.
FLOORS = np.array([[0.01], [0.0], [0.0], [0.01]])
RELATIVE, TINY = 1e-6, 1e-9
#: The reference is the maximum score of the last `ventanas` windows, kept as this many sub-maxima.  The newest two are left
#: out, so that a slow rise is compared with the time before it.
SUB_MAXIMA, LEFT_OUT = 16, 2
#: A score raises an alert above this multiple of the reference.
TOPS_BY = 1.25
#: Windows without a further alert after one, beside those left out.
PAUSE = 60
#: One block.  windows: how many were judged.  silent_until: the number of windows before which no alert is raised.
#: highest: the sub-maxima, a ring.
BLOCK_SCORE = np.dtype([("mean", "<f8", 4), ("var", "<f8", 4), ("score", "<f8"), ("windows", "<i8"), ("silent_until", "<i8"),
                        ("highest", "<f8", SUB_MAXIMA)])  # fmt: skip


def audit_of(config: Config, topology: Topology, audit: "Audit | None" = None) -> "Audit | None":
    """*audit* under another configuration, or a new one where there is none; None where blocks get no score."""
    if not config.audits:
        return None
    audit = audit or Audit()
    audit.take_over(config, topology)
    return audit


class Audit:
    """The scores of all blocks; state: BLOCK_SCORE[blocks]."""

    def __init__(self) -> None:
        self._room = self.state = np.zeros(0, BLOCK_SCORE)  # `state` is the part of `_room` that is used

    def take_over(self, config: Config, topology: Topology) -> None:
        """Judge by *config* from now on; it may have more blocks, behind the earlier ones."""
        self._sub_windows = -(-config.auditoria.ventanas // SUB_MAXIMA)
        self._least = config.auditoria.umbral
        self._ids = topology.first_ids()
        self._make_room(len(self._ids))

    def join(self, ids: np.ndarray) -> None:
        """More blocks, behind all others; ids: uint32, the wire id of the first entity of each."""
        self._ids = np.concatenate([self._ids, ids])
        self._make_room(len(self._ids))

    def _make_room(self, blocks: int) -> None:
        """Have a state of so many blocks; its room doubles when it grows, so that blocks may join one by one."""
        if blocks > len(self._room):
            known, self._room = self.state, np.zeros(2 * blocks if len(self._room) else blocks, BLOCK_SCORE)
            self._room[: len(known)] = known
        self.state = self._room[:blocks]

    def restore(self, data: bytes) -> None:
        """Put back what `state.tobytes()` gave; DamagedFile when it is of another number of blocks."""
        if len(data) != self.state.nbytes:
            raise DamagedFile(f"expected {self.state.nbytes} bytes of scores, got {len(data)}", hint="use an older snapshot")
        self.state[:] = np.frombuffer(data, BLOCK_SCORE)

    def judge(self, rows: np.ndarray, alerts: np.ndarray, *, scored: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(rows with their scores, alerts followed by those of anomalies), for all rows of a turn at once.

        rows: dtypes.AGGREGATE, their `score` the largest |z| of their readings; scored: it is the score itself, as stored.
        """
        rows, left, found = rows.copy(), np.flatnonzero(~is_amending(rows)), [alerts]
        while len(left):  # a block may close two windows at once: they are judged one after the other
            _, first = np.unique(rows["block"][left], return_index=True)
            found.append(self._judge_one_each(rows, left[np.sort(first)], scored))
            left = np.delete(left, first)
        return rows, np.concatenate(found)

    def _judge_one_each(self, rows: np.ndarray, chosen: np.ndarray, scored: bool) -> np.ndarray:
        """Judge the rows at *chosen*, one of each block, in place; gives their alerts."""
        blocks = rows["block"][chosen]
        state = self.state[blocks]
        state["score"] = rows["score"][chosen] if scored else _score(state, rows[chosen])
        reference = self._older(state).max(axis=1)
        alerted = (state["windows"] >= 4 * self._sub_windows) & (state["windows"] >= state["silent_until"])
        alerted &= (state["score"] > self._least) & (state["score"] > TOPS_BY * reference)
        silent_until = state["windows"] + PAUSE + LEFT_OUT * self._sub_windows
        state["silent_until"] = np.where(alerted, silent_until, state["silent_until"])
        self._note_score(state)
        self.state[blocks] = state
        rows["score"][chosen] = state["score"]
        return self._alerts(rows[chosen[alerted]], TOPS_BY * reference[alerted])

    def _older(self, state: np.ndarray) -> np.ndarray:
        """float64[blocks, SUB_MAXIMA]: the sub-maxima, 0 in place of the one that is being filled and the one before it."""
        age = (state["windows"][:, None] // self._sub_windows - np.arange(SUB_MAXIMA)) % SUB_MAXIMA
        return np.where(age < LEFT_OUT, 0.0, state["highest"])

    def _note_score(self, state: np.ndarray) -> None:
        """Put the score into the sub-maximum that is being filled, and count the window."""
        every, at = np.arange(len(state)), state["windows"] // self._sub_windows % SUB_MAXIMA
        begun = state["windows"] % self._sub_windows == 0
        kept = np.where(begun, 0.0, state["highest"][every, at])
        state["highest"][every, at] = np.maximum(kept, state["score"])
        state["windows"] += 1

    def _alerts(self, rows: np.ndarray, limits: np.ndarray) -> np.ndarray:
        alerts = np.zeros(len(rows), dtypes.ALERT)
        alerts["time"], alerts["block"], alerts["canal"] = rows["window"], rows["block"], rows["canal"]
        alerts["id"], alerts["kind"] = self._ids[rows["block"]], ALERT_ANOMALY
        alerts["valor"], alerts["limit"] = rows["score"], limits
        return alerts


def _score(state: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64[blocks]: the score moved towards the largest |z| of the window's readings and of the block's features."""
    largest = np.minimum(rows["score"].astype(np.float64), MOST_Z)
    return state["score"] + (np.maximum(largest, _feature_score(state, _features(rows))) - state["score"]) * FAST


def _features(rows: np.ndarray) -> np.ndarray:
    """float64[4, rows]: share of messages, mean, spread, share of failed readings; NaN where there is none."""
    readings = np.maximum(rows["count"].astype(np.float64) + rows["errors"], 1.0)
    return np.stack([rows["messages"] / readings, rows["mean"], rows["std"], rows["errors"] / readings])


def _feature_score(state: np.ndarray, x: np.ndarray) -> np.ndarray:
    """float64[blocks]: the largest guarded |z| of a feature; moves the slow mean and variance of the features."""
    mean, var, warm = state["mean"].T, state["var"].T, state["windows"] >= WARM
    d, sigma, known = x - mean, np.sqrt(var), ~np.isnan(x)
    z = np.abs(d) / (np.maximum(sigma, FLOORS) + RELATIVE * np.abs(mean) + TINY)
    alpha = np.maximum(1.0 / (state["windows"] + 1.0), SLOW)
    e = np.where(warm, np.minimum(np.maximum(d, -3.0 * sigma), 3.0 * sigma), d)
    state["mean"] = np.where(known, mean + alpha * e, mean).T
    state["var"] = np.where(known, (1.0 - alpha) * (var + alpha * e * e), var).T
    return np.where(known & warm, np.minimum(z, MOST_FEATURE), 0.0).max(axis=0)
