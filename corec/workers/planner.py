"""Fusions of one shard, planned where the shard is: the module `sincronizacion` at work inside a worker's turns."""
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np

from corec._core import dtypes
from corec.config import Config
from corec.engine.outcome import Outcome
from corec.modules.sincronizacion import ModuloSincronizacion
from corec.pipeline.recovery import Opened
from corec.pipeline.turns import Pipeline

EVERY_S = 1.0


class Planner:
    """What the module sees of a node, for one shard."""

    def __init__(self, opened: Opened, config: Config, pipeline: Pipeline) -> None:
        self.config, self.pipeline = config, pipeline
        self._opened = opened
        self._rows: list[np.ndarray] = []
        self._due = 0.0
        self._module = ModuloSincronizacion()
        run_hook(self._module.inicializar(self))

    @property
    def engine(self) -> Any:
        """The shard's engine."""
        return self._opened.engine

    def committed(self, outcome: Outcome) -> None:
        """Windows that closed."""
        if len(outcome.aggregates):
            self._rows.append(outcome.aggregates)

    def plan(self) -> None:
        """Once a second: what the module makes of the windows since the last time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        rows, self._rows = self._rows, []
        datos = {"bloques": np.concatenate(rows) if rows else np.empty(0, dtypes.AGGREGATE)}
        run_hook(self._module.ejecutar(datos, self.pipeline.load))


def run_hook(coroutine: Coroutine[Any, Any, None]) -> None:
    """A hook that does not wait for anything needs no loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the module sincronizacion waited for something inside a worker's turn")
