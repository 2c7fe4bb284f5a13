"""Which healthy neighbour a failing entity takes its function and parameters from."""
from collections.abc import Sequence

import numpy as np

from corec._core.dtypes import FAILING
from corec.blocks.block_model import healthy, levels
from corec.entities.entity import MicroCeluEntidadCoreC


def donors(entidades: Sequence[MicroCeluEntidadCoreC], states: np.ndarray, failing: np.ndarray) -> dict[int, int | None]:
    """Slot of each of *failing* (int64[n]) -> slot of its donor, None where there is no healthy entity of its kind.

    The donor is the healthy one with the lowest error level, of several the nearest, of two the one before.
    A Micro inherits from a Micro, a Celu from a Celu; an entity without a function from one without.
    states: uint32[entities], the state words.
    """
    level = levels(states)
    kinds = np.array([_kind(entidad) for entidad in entidades])
    fit = healthy(states) & (level < FAILING)
    return {slot: _fittest(slot, np.flatnonzero(fit & (kinds == kinds[slot])), level) for slot in failing.tolist()}


def _fittest(slot: int, candidates: np.ndarray, level: np.ndarray) -> int | None:
    if not len(candidates):
        return None
    order = np.lexsort((candidates, np.abs(candidates - slot), level[candidates]))
    return int(candidates[order[0]])


def _kind(entidad: MicroCeluEntidadCoreC) -> str:
    return f"{type(entidad).__name__} {'without' if entidad.funcion is None else 'with'}"
