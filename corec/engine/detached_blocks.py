"""Registered blocks that come and go: a detached one keeps ids, rows and state, and gives its memory back.

Its entities count as silent and sleep, compressed; readings of its ids are refused as those of nobody.
"""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corec.config import BlockEntry, Config
from corec.config.registered import retired
from corec.engine.snapshot import DIRTY, HEARD
from corec.errors import UsageError

if TYPE_CHECKING:
    from corec.engine import Engine

#: layout.h: bits of a state word, and a quality.
ACTIVE, QUALITY_SHIFT, QUALITY_MASK, SILENT = 1, 3, 15 << 3, 7


def detach(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Let a registered block sleep, and its ids name nobody; UsageError, and nothing has changed, where that cannot be."""
    index = check_detach(engine, command)
    _take_places(engine, retired(engine.config, command["block"], is_gone=True))
    for segment in range(*engine.segments_of(index)):
        if engine.arena.segments["flags"][segment] & HEARD:
            _put_to_sleep(engine, segment)


def attach_again(engine: "Engine", block: str) -> None:
    """Let the ids of a detached block name its entities again; they wake with their first reading."""
    _take_places(engine, retired(engine.config, block, is_gone=False))


def is_known(engine: "Engine", block: str) -> bool:
    """Whether a block of this id was registered before."""
    return _entry(engine, block) is not None


def may_come_again(engine: "Engine", entry: dict[str, Any]) -> bool:
    """Whether *entry* is that of a block that is detached now."""
    found = _entry(engine, entry["id"])
    return found is not None and found.retirado and (found.canal, found.entidades) == (entry["canal"], entry["entidades"])


def check_detach(engine: "Engine", command: Mapping[str, Any]) -> int:
    """The index of the block to detach; UsageError where it cannot be."""
    block = command.get("block")
    found = _entry(engine, block)
    if found is None or found.retirado:
        raise UsageError(f"there is no registered block {block!r}", hint="blocks of the configuration go when it no longer names them")
    index = engine.block_ids.index(block)
    owners = engine.arena.segments["owner"]
    if not np.array_equal(np.flatnonzero(owners == index), np.arange(*engine.segments_of(index))):
        raise UsageError(f"block {block!r} took part in a fusion", hint=f"`corec undo {block}` first, or of the block that joined it")
    return index


def _take_places(engine: "Engine", config: Config) -> None:
    engine._set_config(config)
    engine._topology.map_places(config)


def _put_to_sleep(engine: "Engine", segment: int) -> None:
    engine._keeper.settle(segment)
    states = engine.arena.tiles[segment]["state"]
    states[:] = _silenced(states)
    engine.arena.segments["flags"][segment] |= DIRTY
    engine._keeper.freeze(segment)


def _entry(engine: "Engine", block: Any) -> BlockEntry | None:
    return next((entry for entry in engine.config.bloques if entry.registrado and entry.id == block), None)


def _silenced(states: np.ndarray) -> np.ndarray:
    """State words of entities that are silent, where they were heard at all."""
    heard = states & QUALITY_MASK != 0
    silent = (states & ~np.uint32(QUALITY_MASK | ACTIVE)) | np.uint32(SILENT << QUALITY_SHIFT)
    return np.where(heard, silent, states)
