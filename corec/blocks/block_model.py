"""The model of one block: what `corec.Engine` does to a fleet's readings, done to those of one pass.

The same topology, arena and kernels, without what an engine has for batches, turns and snapshots: that would cost
70 us a pass, as much as calling six hundred functions.  tests/blocks/test_block_model.py compares states,
messages and rows of both.
"""
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from corec._core import block, dtypes
from corec._core.dtypes import ALERT_FAILURE, ERRORS_MASK, ERRORS_SHIFT, FAILING, FAILS_MASK, FAILS_SHIFT, ROLE_SCALE_ONE
from corec.config import parse
from corec.engine import topology
from corec.engine.columns import LATEST_TIME

#: Length of a window of the model.  A pass is one window, and closes it, so that its aggregate is there at once.
WINDOW_MS = 100

_KEYS = ("count", "mean", "min", "max", "std", "errors")
_INDEXES = [dtypes.AGGREGATE.names.index(key) for key in _KEYS]
_FITNESS = dtypes.AGGREGATE.names.index("fitness")
_NOTHING = (0, np.nan, np.nan, np.nan, np.nan, 0)


class PassResult(NamedTuple):
    """What the readings of one pass gave."""

    row: tuple[Any, ...] | None  # dtypes.AGGREGATE; None when there was no reading
    states: np.ndarray  # uint32[entities]: the state word of each entity, a copy
    messages: np.ndarray  # dtypes.MESSAGE; ids are slots
    alerts: np.ndarray  # dtypes.ALERT; ids are slots

    @property
    def restarted(self) -> list[int]:
        """Slots that failed twice in a row, and restart."""
        return self.alerts["id"][self.alerts["kind"] == ALERT_FAILURE].tolist() if len(self.alerts) else []

    @property
    def aggregate(self) -> dict[str, Any]:
        """count, mean, min, max, std and errors of the pass; NaN where there is no good reading."""
        return dict(zip(_KEYS, _NOTHING if self.row is None else [self.row[index] for index in _INDEXES], strict=True))


class BlockModel:
    """Entities of one block in an arena of their own; slots are their wire ids.

    fitness: of the last pass, 0..1.
    """

    def __init__(self, id: str, canal: int, entities: int, settings: Mapping[str, Any], *,
                 clock: Callable[[], int] | None = None) -> None:  # fmt: skip
        """settings: of the block's entry.  clock: gives ms since 1970; without it, this machine's as it was at the start."""
        entry = {"id": "bloque", "canal": canal, "entidades": entities, "entidades_por_bloque": entities,
                 "max_size_mb": entities / 1024, "ventana": WINDOW_MS / 1000, **settings}  # fmt: skip
        config = parse({"retraso_max": 0, "bloques": [entry]}, source=f"block {id!r}")
        self._arena, self._outlet = topology.build(config, spare=0).arena, block.Outlet(1, entities)
        self._tiles, self._block, self._gain = self._arena.tiles, self._arena.blocks[0], self._arena.policies["gain"]
        self._entry, self._canal, self._entities = config.bloques[0], canal, entities
        self._clock, self._window, self._load = clock or steady_clock(), 0, 0.0
        self.fitness = 1.0

    @property
    def now(self) -> int:
        """ms since 1970, by a clock that never jumps."""
        return self._clock()

    @property
    def states(self) -> np.ndarray:
        """uint32[entities]: the state word of each entity, a copy."""
        return self._tiles["state"].reshape(-1)[: self._entities]

    @property
    def sick(self) -> bool:
        """Whether more than `max_errores` of the entities fail."""
        return bool(self._block["failing"] > self._entry.autoreparacion.max_errores * self._entities)

    def fold(self, slots: np.ndarray, values: np.ndarray, good: np.ndarray, load: float) -> PassResult:
        """Fold the readings of one pass; slots: uint32[m], values: float32[m], good: bool[m]."""
        self._begin(load)
        parts = self._run(slots, values, good)
        states = self.states
        block.close_windows(self._arena, self._outlet, LATEST_TIME)
        rows, messages, alerts = self._outlet.take()
        row = rows[-1].item() if len(rows) else None
        if row is not None:
            self.fitness = row[_FITNESS]
        if parts:
            messages = np.concatenate([*(part[1] for part in parts), messages])
            alerts = np.concatenate([*(part[2] for part in parts), alerts])
        return PassResult(row, states, messages, alerts)

    def repair(self, *, ordered: bool) -> np.ndarray:
        """Let the failing entities start afresh; gives their slots, int64[n].

        ordered: also those that a repair did not help, and that have to wait for the next (docs/model.md).
        """
        failing = levels(self.states) >= FAILING
        block.repair_segments(self._arena, np.arange(len(self._arena.segments), dtype=np.uint32), ordered)
        return np.flatnonzero(failing & (levels(self.states) < FAILING))

    def _begin(self, load: float) -> None:
        if load != self._load:
            self._gain[0] = (1 + np.float32(self._entry.filtro.carga) * np.float32(load)) / np.float32(ROLE_SCALE_ONE)
            self._load = load
        second = self._arena.tick
        self._window = max(self.now // WINDOW_MS, self._window + 1)
        self._arena.advance(self._window * WINDOW_MS, 0)
        if self._arena.tick != second:
            self._sweep(second)

    def _sweep(self, second: int) -> None:
        """Mark entities that gave no reading for long, before their age, which is kept modulo 8,192 ticks, is ambiguous."""
        start, stop = 0, block.ROOM
        while stop != block.DONE:
            start, stop, _ = block.sweep(self._arena, self._outlet, second, start)
            self._outlet.take()

    def _run(self, ids: np.ndarray, values: np.ndarray, good: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """Fold all readings; gives the (rows, messages, alerts) that were taken out of a full outlet on the way."""
        time, states, start, parts = self._window * WINDOW_MS, good.view(np.uint8), 0, []
        while True:
            start, stop, _ = block.fold_values(self._arena, self._outlet, ids, values, self._canal, time, states, None, start)
            if stop == block.DONE:
                return parts
            parts.append(self._outlet.take())


def steady_clock() -> Callable[[], int]:
    """A clock in ms since 1970 that begins at this machine's and never jumps."""
    started = time.time_ns() - time.monotonic_ns()
    return lambda: (started + time.monotonic_ns()) // 1_000_000


def healthy(states: np.ndarray) -> np.ndarray:
    """bool[n]: the last reading was no failure, or there was none yet."""
    return (states & (FAILS_MASK << FAILS_SHIFT)) == 0


def levels(states: np.ndarray) -> np.ndarray:
    """int64[n]: the error level of each entity, 0..63."""
    return (states >> ERRORS_SHIFT & ERRORS_MASK).astype(np.int64)
