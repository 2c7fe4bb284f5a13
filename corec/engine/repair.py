"""Regeneration of failing entities: at the end of a window that shows too many, by command, and at a fusion."""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corec._core import block
from corec._core.arena import Arena
from corec.engine.outcome import Event

if TYPE_CHECKING:
    from corec.engine import Engine


def owned(arena: Arena, index: int) -> np.ndarray:
    """uint32: the segments of a block, those that it took over included."""
    return np.flatnonzero(arena.segments["owner"] == index).astype(np.uint32)


def regenerate(engine: "Engine", segments: np.ndarray, *, ordered: bool) -> int:
    """Let the failing entities of *segments* start afresh, with what the fittest healthy ones have; returns how many.

    ordered: also those that a regeneration did not help, and that have to wait for the next.
    """
    found = segments if ordered else segments[~engine._keeper.asleep_since_repair(segments)]
    for segment in found.tolist():
        engine._keeper.settle(segment)
    return block.repair_segments(engine.arena, found, ordered)


def repair(engine: "Engine", index: int, what: str = "repair", why: str = "", *, ordered: bool = True) -> int:
    """Regenerate the failing entities of a block; returns how many."""
    row = engine.arena.blocks[index]
    failing, entities, fitness = int(row["failing"]), int(row["entities"]), float(row["fitness"])
    count = regenerate(engine, owned(engine.arena, index), ordered=ordered) if failing else 0
    if count:
        engine._events.append(Event(engine.clock, index, what, fitness=fitness, failing=failing, entities=count, inherited=count,
                                    reason=why or f"{failing} of {entities} failing"))  # fmt: skip
    return count


def note_inheritance(engine: "Engine", command: Mapping[str, Any]) -> None:
    """A registered block regenerated entities by itself, with Python functions of healthy ones: for its history."""
    index = engine.block_ids.index(command["block"])
    row = engine.arena.blocks[index]
    engine._events.append(Event(engine.clock, index, "inherit", fitness=float(row["fitness"]), failing=int(row["failing"]),
                                entities=command["entities"], inherited=command["inherited"], reason=command["why"]))  # fmt: skip


def repair_sick(engine: "Engine", closed: list[np.ndarray]) -> None:
    """Repair the blocks of *closed* (indexes, with repeats) that show more failing entities than they may.

    At the end of a turn or of a closing, never where the outlet happened to be full: a replay repairs there too.
    """
    rows, policies = engine.arena.blocks, engine.arena.policies
    if not closed or not rows["failing"].any():
        return
    found = np.unique(np.concatenate(closed))
    most = policies["max_errors"][rows["policy"][found]]
    for index in found[rows["failing"][found] > most * rows["entities"][found]].tolist():
        share = engine.config.bloques[int(rows["policy"][index])].autoreparacion.max_errores
        why = f"{rows['failing'][index]} of {rows['entities'][index]} failing, max_errores {share:g}"
        repair(engine, index, "regenerate", why, ordered=False)
