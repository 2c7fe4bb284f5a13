"""Registered blocks that come and go: a detached one keeps ids, rows and state, and gives its memory back.

Its entities count as silent and hibernate; readings of its ids are refused, as those of an id that no entity has.
"""
from collections.abc import Mapping
from typing import Any

import numpy as np

from corec._core.dtypes import ACTIVE, QUALITY_MASK, QUALITY_SHIFT, QUALITY_SILENT, SEGMENT_DIRTY, SEGMENT_HEARD
from corec.engine.state import EngineState
from corec.errors import UsageError


def detach(state: EngineState, command: Mapping[str, Any]) -> None:
    """Let the entities of a registered block hibernate, and no id name them; UsageError, and nothing has changed, where it cannot be."""
    index = check_detach(state, command)
    state.set_detached(command["block"], is_gone=True)
    for segment in range(*state.segments_of(index)):
        if state.arena.segments["flags"][segment] & SEGMENT_HEARD:
            _put_to_sleep(state, segment)


def attach_again(state: EngineState, block: str) -> None:
    """Let the ids of a detached block name its entities again; a segment wakes with its first reading."""
    state.set_detached(block, is_gone=False)


def is_known(state: EngineState, block: str) -> bool:
    """Whether a block of this id was registered before; it may be detached now."""
    return state.running.find(block) is not None


def may_come_again(state: EngineState, entry: dict[str, Any]) -> bool:
    """Whether *entry*, as a command has it, is that of a block that is detached now, with the same channel and size."""
    found = state.running.find(entry["id"])
    return found is not None and found.retirado and (found.canal, found.entidades) == (entry["canal"], entry["entidades"])


def check_detach(state: EngineState, command: Mapping[str, Any]) -> int:
    """The index of the block to detach; UsageError where it cannot be."""
    block = command.get("block")
    found = state.running.find(block)
    if found is None or found.retirado:
        raise UsageError(f"there is no registered block {block!r}", hint="blocks of the configuration go when it no longer names them")
    index = state.block_ids.index(block)
    owners = state.arena.segments["owner"]
    if not np.array_equal(np.flatnonzero(owners == index), np.arange(*state.segments_of(index))):
        raise UsageError(f"block {block!r} took part in a fusion", hint=f"`corec undo {block}` first, or of the block that joined it")
    return index


def _put_to_sleep(state: EngineState, segment: int) -> None:
    state.keeper.settle(segment)
    words = state.arena.tiles[segment]["state"]
    words[:] = _silenced(words)
    state.arena.segments["flags"][segment] |= SEGMENT_DIRTY
    state.keeper.freeze(segment)


def _silenced(words: np.ndarray) -> np.ndarray:
    """State words in which every entity that was ever heard counts as silent."""
    quality = QUALITY_MASK << QUALITY_SHIFT
    silent = (words & ~np.uint32(quality | ACTIVE)) | np.uint32(QUALITY_SILENT << QUALITY_SHIFT)
    return np.where(words & quality != 0, silent, words)
