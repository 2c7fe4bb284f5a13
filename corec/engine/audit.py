"""The anomaly score of blocks, from the rows of their closed windows, and which scores raise an alert.

corec/_core/score.c computes it; docs/model.md gives each formula.
"""
import numpy as np

from corec._core.block import score_rows
from corec._core.dtypes import BLOCK_SCORE
from corec.config import Config
from corec.engine.topology import Topology
from corec.errors import DamagedFile

#: What snapshots before version 3 have of one block: one fast mean, and the maximum scores of 16 stretches of windows.
EARLIER_SCORE = np.dtype([("mean", "<f8", 4), ("var", "<f8", 4), ("score", "<f8"), ("windows", "<i8"), ("silent_until", "<i8"),
                          ("highest", "<f8", 16)])  # fmt: skip


def audit_of(config: Config, topology: Topology, audit: "Audit | None" = None) -> "Audit | None":
    """*audit* under another configuration, or a new one where there is none; None where blocks get no score."""
    if not config.audits:
        return None
    audit = audit or Audit()
    audit.take_over(config, topology)
    return audit


def saved_scores(data: bytes, version: int) -> np.ndarray:
    """BLOCK_SCORE[blocks] from the bytes in a snapshot of *version*; DamagedFile when it is no whole number of blocks."""
    dtype = BLOCK_SCORE if version >= 3 else EARLIER_SCORE
    if len(data) % dtype.itemsize:
        raise DamagedFile(f"expected a multiple of {dtype.itemsize} bytes of scores, got {len(data)}", hint="use an older snapshot")
    saved = np.frombuffer(data, dtype)
    return saved if version >= 3 else _of_two_means(saved)


def _of_two_means(earlier: np.ndarray) -> np.ndarray:
    """What an earlier CoreC learned, as far as it says something for this score: the level is learned anew."""
    scores = np.zeros(len(earlier), BLOCK_SCORE)
    for name in ("mean", "var", "windows", "silent_until"):
        scores[name] = earlier[name]
    scores["quick"] = scores["slow"] = earlier["score"]
    return scores


class Audit:
    """The scores of all blocks; state: BLOCK_SCORE[blocks]."""

    def __init__(self) -> None:
        self._room = self.state = np.zeros(0, BLOCK_SCORE)  # `state` is the part of `_room` that is used

    def take_over(self, config: Config, topology: Topology) -> None:
        """Judge by *config* from now on; it may have more blocks, behind the earlier ones."""
        self._rules = config.auditoria
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

    def restore(self, scores: np.ndarray) -> None:
        """Put back what `saved_scores` gave; DamagedFile when it is of another number of blocks."""
        if len(scores) != len(self.state):
            raise DamagedFile(f"expected the scores of {len(self.state)} blocks, got {len(scores)}", hint="use an older snapshot")
        self.state[:] = scores

    def judge(self, rows: np.ndarray, alerts: np.ndarray, *, scored: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(rows with their scores, alerts followed by those of anomalies), for all rows of a turn at once.

        rows: dtypes.AGGREGATE, their `score` the largest |z| of their readings; scored: it is the score itself, as stored.
        """
        rows = rows.copy()
        found = score_rows(self.state, rows, self._ids, self._rules.ventanas, self._rules.umbral, scored)
        return rows, np.concatenate([alerts, found]) if len(found) else alerts
