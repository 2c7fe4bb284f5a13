"""Carries the state of blocks over to a configuration with other blocks than the data folder has."""
import logging

import numpy as np

from corec._core.dtypes import ROLE_FUNCTION_MASK, SEGMENT_DIRTY, SEGMENT_HEARD
from corec.config import BlockEntry, Config
from corec.config.reload import reshaped, same_devices
from corec.engine import Engine

log = logging.getLogger("corec.node.restructure")

#: Fields of a block that are carried over; its windows are closed before.
KEPT = ("closed_until", "heard", "failing", "repairs", "fitness", "last_tick")
HEARD_AND_DIRTY = np.uint8(SEGMENT_HEARD | SEGMENT_DIRTY)


def same_shape(one: Config, other: Config) -> bool:
    """Whether both have the same blocks and entities, so that a reload is enough."""
    return not reshaped(one, other)


def carry_over(old: Engine, config: Config) -> Engine:
    """A new engine for *config*, with the state of each block that both have and that has not lost entities."""
    new = Engine(config, shard=old.shard)
    new.take_clocks(old)
    tiles = old.entities
    pairs = list(_pairs(old, new))
    for index, was in pairs:
        _copy_block(new, index, old, was, tiles)
    log.warning("[Recovery-%s] the blocks changed: %d of %d carried over, %d new", config.instance_id, len(pairs),
                len(old.block_ids), len(new.block_ids) - len(pairs))  # fmt: skip
    return new


def _pairs(old: Engine, new: Engine):
    """Yields (index now, index before) of the blocks to carry over."""
    before = {name: index for index, name in enumerate(old.block_ids)}
    entries = {entry.id: entry for entry in old.config.bloques}
    alike = {entry.id for entry in new.config.bloques if _alike(entries.get(entry.id), entry)}
    for index, name in enumerate(new.block_ids):
        was = before.get(name)
        if was is not None and name.rpartition("/")[0] in alike and new.blocks[index]["entities"] >= old.blocks[was]["entities"]:
            yield index, was


def _alike(old: BlockEntry | None, new: BlockEntry) -> bool:
    if old is None:
        return False
    same = old.canal == new.canal and old.entidades_por_bloque == new.entidades_por_bloque
    return same and same_devices(old.table, new.table)


def _copy_block(new: Engine, index: int, old: Engine, was: int, tiles: np.ndarray) -> None:
    for field in KEPT:
        new.arena.blocks[index][field] = old.arena.blocks[was][field]
    first, last = old.segments_of(was)
    target, _ = new.segments_of(index)
    for segment in range(first, last):
        if old.arena.segments["flags"][segment] & SEGMENT_HEARD:
            new.arena.tiles[target + segment - first] = tiles[segment]
            new.arena.tiles[target + segment - first]["role"] &= ~np.uint32(ROLE_FUNCTION_MASK)     # of entries that may be gone
            new.arena.segments["flags"][target + segment - first] |= HEARD_AND_DIRTY
            new.arena.segments["last_tick"][target + segment - first] = old.arena.segments["last_tick"][segment]
