"""The model of one block: what `corec.Engine` does to a fleet's readings, done to the readings of one pass.

The same arena, topology and kernels, without what an engine needs for batches, turns and snapshots: that costs
60 us a pass here, as much as the calls of five hundred functions.  `tests/test_block_model.py` holds both to the
same states, messages and rows.
"""
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from corec import topology
from corec._core import block, dtypes
from corec.columns import LATEST_TIME
from corec.config import parse

#: A pass is one window of the model: it closes with the pass, so that its aggregate is there at once.
WINDOW_MS = 100
#: layout.h: failures in a row, the error level, and the level from which an entity counts as failing.
FAILURES, LEVEL_SHIFT, LEVEL_MASK, FAILING = 3 << 1, 7, 63, 16
#: outcome.Alert: two failed readings in a row; the entity restarts.
RESTARTED = 4

_COUNT, _FITNESS = dtypes.AGGREGATE.names.index("count"), dtypes.AGGREGATE.names.index("fitness")
_KEYS = ("count", "mean", "min", "max", "std", "errors")
_NOTHING = dict(zip(_KEYS, (0, np.nan, np.nan, np.nan, np.nan, 0), strict=True))


class Verdict(NamedTuple):
    """What the model says of one pass."""

    aggregate: dict[str, Any]
    states: np.ndarray  # uint32[entities], as after the readings and before a repair
    messages: np.ndarray  # dtypes.MESSAGE; ids are slots
    restarted: list[int]  # slots that failed twice in a row
    repaired: bool


class BlockModel:
    """Entities of one block in an arena of their own; slots are their wire ids."""

    def __init__(self, id: str, canal: int, entities: int, settings: Mapping[str, Any]) -> None:
        entry = {"id": "bloque", "canal": canal, "entidades": entities, "entidades_por_bloque": entities,
                 "max_size_mb": entities / 1024, "ventana": WINDOW_MS / 1000, **settings}
        config = parse({"retraso_max": 0, "bloques": [entry]}, source=f"block {id!r}")
        self._arena, self._outlet = topology.build(config).arena, block.Outlet(1)
        self._entry, self._canal, self._entities = config.bloques[0], canal, entities
        self._block, self._policy = self._arena.blocks, self._arena.policies
        self._states = self._arena.tiles["state"].reshape(-1, order="A") if entities == 0 else self._arena.tiles["state"]
        self._all = np.arange(entities, dtype=np.uint32)
        self._started = time.time_ns() - time.monotonic_ns()
        self._window, self._load = 0, 0.0
        self.fitness = 1.0

    @property
    def now(self) -> int:
        """ms since 1970, by a clock that never jumps."""
        return (self._started + time.monotonic_ns()) // 1_000_000

    @property
    def states(self) -> np.ndarray:
        """uint32[entities]: the state word of each entity, a copy."""
        return self._states.reshape(-1)[: self._entities]
