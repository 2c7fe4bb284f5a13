"""Regeneration of failing entities: at the end of a window that shows too many, by command, and at a fusion."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corec._core import block as kernels
from corec.engine.outcome import Event
from corec.engine.state import EngineState


def regenerate(state: EngineState, segments: np.ndarray, *, ordered: bool) -> int:
    """Let the failing entities of *segments* start afresh with the role of the fittest healthy ones; returns how many.

    ordered: also those that a regeneration did not help, and that have to wait for the next.
    """
    found = segments if ordered else segments[~state.keeper.asleep_since_repair(segments)]
    for segment in found.tolist():
        state.keeper.settle(segment)
    return kernels.repair_segments(state.arena, found, ordered)


def repair(state: EngineState, block: int, what: str = "repair", why: str = "", *, ordered: bool = True) -> list[Event]:
    """Regenerate the failing entities of a block; gives an event where there were any to regenerate."""
    row = state.arena.blocks[block]
    failing, entities, fitness = int(row["failing"]), int(row["entities"]), float(row["fitness"])
    count = regenerate(state, state.segments_owned_by(block), ordered=ordered) if failing else 0
    if not count:
        return []
    return [Event(state.clock, block, what, fitness=fitness, failing=failing, entities=count, inherited=count,
                  reason=why or f"{failing} of {entities} failing")]  # fmt: skip


def repair_sick(state: EngineState, closed: Sequence[np.ndarray]) -> list[Event]:
    """Repair the blocks of *closed* (indexes, with repeats) in which more entities fail than `max_errores` allows.

    To be called at the end of a turn or of a closing, never when the outlet happens to be full: a replay repairs there too.
    """
    rows, policies = state.arena.blocks, state.arena.policies
    if not closed or not rows["failing"].any():
        return []
    found, events = np.unique(np.concatenate(closed)), []
    most = policies["max_errors"][rows["policy"][found]]
    for index in found[rows["failing"][found] > most * rows["entities"][found]].tolist():
        share = state.entry_of(index).autoreparacion.max_errores
        why = f"{rows['failing'][index]} of {rows['entities'][index]} failing, max_errores {share:g}"
        events += repair(state, index, "regenerate", why, ordered=False)
    return events


def note_inheritance(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    """The event of a registered block that regenerated entities by itself, with Python functions of healthy ones."""
    index = state.block_ids.index(command["block"])
    row = state.arena.blocks[index]
    return [Event(state.clock, index, "inherit", fitness=float(row["fitness"]), failing=int(row["failing"]),
                  entities=command["entities"], inherited=command["inherited"], reason=command["why"])]  # fmt: skip
