"""Turns for a store: rows of every kind, the same for one number."""
import math

import numpy as np

from corec._core.dtypes import AGGREGATE, ALERT, MESSAGE
from corec.storage.base import LateBatch, StoredBlock, TurnRecord
from corec.storage.sqlite.store import SqliteStore

START = 1_700_000_000_000 // 60_000 * 60_000
BLOCKS = [StoredBlock(0, "enjambre_sensor/0", 1, 1000), StoredBlock(1, "enjambre_sensor/1", 1, 1000), StoredBlock(2, "nodo/0", 2, 500)]


def record(turn: int) -> TurnRecord:
    return TurnRecord(turn, 10 * (turn - 1), 10 * turn, 7, 0, [{"orden": "reparar", "bloque": "nodo/0"}], "c0de", START + turn)


def rows(*values, dtype=AGGREGATE, **columns) -> np.ndarray:
    array = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, column in columns.items():
        array[name] = column
    return array


def second(turn: int, blocks: int = 3) -> np.ndarray:
    """The windows of one second."""
    rng = np.random.default_rng(turn)
    mean = rng.normal(20, 3, blocks)
    return rows(block=np.arange(blocks), canal=[1] * blocks, window=[START + 1000 * turn] * blocks,
                count=rng.integers(0, 50, blocks), mean=mean, min=mean - 2, max=mean + 2, std=rng.random(blocks),
                errors=rng.integers(0, 3, blocks), messages=rng.integers(0, 9, blocks), fitness=rng.random(blocks),
                score=rng.random(blocks))  # fmt: skip


def some_alerts(turn: int) -> np.ndarray:
    return rows(dtype=ALERT, time=[START + 1000 * turn, START], id=[turn, 2], block=[0, 1], kind=[1, 3], valor=[30.5, math.nan])


def some_messages(turn: int) -> np.ndarray:
    return rows(dtype=MESSAGE, id=[turn, 5, 6], canal=[1, 2, 1], valor=[1.5, 2.5, 3.5], estado=[1, 0, 1], time=[START] * 3)


def fill(store: SqliteStore, turns: int) -> None:
    for turn in range(store.state.turn + 1, store.state.turn + turns + 1):
        store.commit(record(turn), aggregates=second(turn), alerts=some_alerts(turn), messages=some_messages(turn),
                     late=[LateBatch(0, START + turn, b"frames" * turn, "skew")], ledger={"in": turn})  # fmt: skip
