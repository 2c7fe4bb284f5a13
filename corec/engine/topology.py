"""From a configuration to an arena: which block has which segments, ids, limits and policy.

An entity's location is segment * 1024 + slot, as the kernels have it.
"""
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from corec._core import dtypes
from corec._core.arena import SPARE, Arena
from corec._core.dtypes import (
    ERRORS_MASK,
    ERRORS_SHIFT,
    FUNCTION_CONSTANT,
    FUNCTION_COUNTER,
    FUNCTION_RANDOM,
    FUNCTION_SINE,
    GUARD,
    LANES,
    ROLE_SCALE_ONE,
    SEEN_MASK,
    SEEN_SHIFT,
    SEGMENT_DIRTY,
    SEGMENT_FROZEN,
    SEGMENT_HEARD,
    SLAB_TILES,
    SLOTS,
    WARM_MASK,
)
from corec.config import BlockEntry, Config

if TYPE_CHECKING:
    from corec.config.device_table import DeviceTable

#: Locations of a segment; entities are at the first SLOTS of them.
SLAB = SLAB_TILES * LANES
#: Most ticks of a limit: ages are kept modulo one more, so that no age is ambiguous.
MOST_TICKS = SEEN_MASK
#: Seconds after which an entity counts as silent, without `silencio_max` in its entry.
SILENT_AFTER = 600
#: Step of the fast clock: a memory of about 16 readings.
FAST_ALPHA = 1 / 16
#: The step of the slow clock is the lesser of 1/n and `STEEP` / n^1.5, as bits of a float32; before version 3 of snapshots it was 1/n.
STEEP, NEVER_STEEP = 0x41800000, 0x7F000000
KINDS = {"random": FUNCTION_RANDOM, "constant": FUNCTION_CONSTANT, "sine": FUNCTION_SINE, "counter": FUNCTION_COUNTER}


@dataclass
class Topology:
    """An arena, the names of its blocks, and where each entry of the configuration has its entities."""

    arena: Arena
    block_ids: tuple[str, ...]
    first_segment: np.ndarray  # uint32[blocks + 1]: segments of block i are [i], ..., [i + 1] - 1 as configured
    stepped: np.ndarray  # uint32: segments with native functions
    limits: "list[TableLimits]"
    entries: "list[EntryLayout]"
    steep: int = STEEP

    def attach(self, entry: BlockEntry, shards: int) -> None:
        """Add an entry behind all others; MemoryError when the arena has no room left."""
        added = self.entries[-1].next(entry) if self.entries else EntryLayout(0, entry, 0, 0)
        self.arena.extend(added.segments, entry.blocks, 1, 1)
        self.entries.append(added)
        self.first_segment = np.concatenate([self.first_segment, np.zeros(entry.blocks, np.uint32)])
        _write_headers(self.arena, added, self.first_segment, shards)
        self.first_segment[-1] = self.arena.segments.size
        self.block_ids += entry.block_ids
        if entry.funcion:
            self.stepped = _stepped(self.arena)
        self._write_policy(added.index, entry)
        limits = list(_give_columns(self.arena, added))
        for each in limits:
            self._set_limits(each, entry)
        self.limits += limits
        self._map_ids(added)

    def set_entry(self, index: int, entry: BlockEntry) -> None:
        """Put an entry with the same entities in the place of another: its ids name nobody where it is detached."""
        before, self.entries[index] = self.entries[index], replace(self.entries[index], entry=entry)
        if entry.table is None and entry.retirado and not before.entry.retirado:
            self.arena.drop_range(entry.first_id)
        if before.entry.retirado and not entry.retirado:
            self._map_ids(self.entries[index])

    def _map_ids(self, layout: "EntryLayout") -> None:
        """Let the ids of one more entry name its entities."""
        if layout.entry.table is not None:
            _map_devices(self.arena, self.entries)
        elif not layout.entry.retirado:
            self.arena.insert_range(_ranges([layout]))

    def first_ids(self) -> np.ndarray:
        """uint32[blocks]: the wire id of the first entity of each block."""
        return np.concatenate([layout.first_ids for layout in self.entries] or [np.zeros(0, np.uint32)])

    def stepped_of(self, entries: list[int], shard: int) -> np.ndarray:
        """uint32: the segments with native functions of these entries (indexes) in one shard."""
        rows = self.arena.segments[self.stepped]
        return self.stepped[np.isin(rows["policy"], entries) & (self.arena.blocks["shard"][rows["owner"]] == shard)]

    def set_policies(self, config: Config) -> None:
        """Write the policies, functions and limits of all entries into the arena: at the start, and at a reload."""
        for index, entry in enumerate(config.bloques):
            self._write_policy(index, entry)
        self.arena.segments["sweep_at"] = 0   # limits of silence may be others now
        for each in self.limits:
            self._set_limits(each, config.bloques[each.policy])

    def _write_policy(self, index: int, entry: BlockEntry) -> None:
        self.arena.policies[index] = _policy(entry, self.arena.tick, self.steep)
        if entry.funcion:
            self.arena.functions[index + 1] = _function(entry)

    def _set_limits(self, limits: "TableLimits", entry: BlockEntry) -> None:
        policy = self.arena.policies[limits.policy]
        limits.set(entry.table, policy["low"], policy["high"])


@dataclass(frozen=True)
class EntryLayout:
    """Which blocks and segments one entry of `bloques` has; block and segment: the first of them."""

    index: int
    entry: BlockEntry
    block: int
    segment: int

    def next(self, entry: BlockEntry) -> "EntryLayout":
        """The layout of the entry that follows this one."""
        return EntryLayout(self.index + 1, entry, self.block + self.entry.blocks, self.segment + self.segments)

    @property
    def first_ids(self) -> np.ndarray:
        """uint32: the wire id of the first entity of each of its blocks; the last one of a table that ends before them."""
        first = np.arange(self.entry.blocks) * self.entry.entidades_por_bloque
        table = self.entry.table
        ids = first + (self.entry.first_id or 0) if table is None else table.device[np.minimum(first, len(table) - 1)]
        return ids.astype(np.uint32)

    @property
    def per_block(self) -> int:
        """Segments of each of its blocks."""
        return -(-self.entry.entidades_por_bloque // SLOTS)

    @property
    def segments(self) -> int:
        """Segments of all its blocks."""
        return segments_of(self.entry)

    @property
    def locations(self) -> np.ndarray:
        """int64[entities]: the location of each entity, in order."""
        block, slot = np.divmod(np.arange(self.entry.entidades), self.entry.entidades_por_bloque)
        return (self.segment + block * self.per_block + slot // SLOTS) * SLAB + slot % SLOTS


def segments_of(entry: BlockEntry) -> int:
    """Segments of all blocks of an entry."""
    return sum(-(-size // SLOTS) for size in entry.sizes)


def build(config: Config, *, spare: int = SPARE) -> Topology:
    """The arena for *config*, in which nothing was heard yet; spare: blocks that may be attached later."""
    entries = _layouts(config.bloques)
    blocks, segments = sum(layout.entry.blocks for layout in entries), sum(layout.segments for layout in entries)
    arena = Arena(segments, blocks, len(entries), len(entries) + 1, spare=spare)
    first = np.zeros(blocks + 1, np.uint32)
    for layout in entries:
        _write_headers(arena, layout, first, config.fragmentos)
    first[blocks] = segments
    names = tuple(name for layout in entries for name in layout.entry.block_ids)
    limits = [each for layout in entries for each in _give_columns(arena, layout)]
    built = Topology(arena, names, first, _stepped(arena), limits, entries)
    arena.map_ranges(_ranges(entries))
    _map_devices(arena, entries)
    built.set_policies(config)
    return built


def _layouts(entries: Sequence[BlockEntry]) -> list[EntryLayout]:
    layouts: list[EntryLayout] = []
    for entry in entries:
        layouts.append(layouts[-1].next(entry) if layouts else EntryLayout(0, entry, 0, 0))
    return layouts


def _write_headers(arena: Arena, layout: EntryLayout, first_segment: np.ndarray, shards: int) -> None:
    """Write what the blocks and segments of an entry are, and the first segment of each block."""
    entry, segment, slot = layout.entry, layout.segment, 0
    segments, blocks = arena.segments, arena.blocks
    for offset, size in enumerate(entry.sizes):
        block = layout.block + offset
        first_segment[block] = segment
        blocks[block]["policy"], blocks[block]["entities"] = layout.index, size
        blocks[block]["canal"], blocks[block]["fitness"] = entry.canal, 1.0
        blocks[block]["stepped"] = entry.funcion is not None
        blocks[block]["shard"] = shard_of(block, shards, registered=entry.registrado)
        for start in range(0, size, SLOTS):
            row = segments[segment]
            row["owner"], row["policy"], row["canal"] = block, layout.index, entry.canal
            row["used"] = min(SLOTS, size - start)
            row["first_id"] = (entry.first_id or 0) + slot
            row["function"] = layout.index + 1 if entry.funcion else 0
            slot += int(row["used"])
            segment += 1


def shard_of(block: int, shards: int, *, registered: bool = False) -> int:
    """The shard of a block: blocks go to the shards in turn; registered ones stay with their node, as shard number *shards*."""
    if shards == 1:
        return 0
    return shards if registered else block % shards


def _policy(entry: BlockEntry, tick: int, steep: int) -> np.void:
    filtro, policy = entry.filtro, np.zeros((), dtypes.POLICY)
    silence = entry.silencio_max or SILENT_AFTER
    shift = max(0, math.ceil(math.log2(max(silence, filtro.latido) / MOST_TICKS)))
    policy["slow_alpha"], policy["fast_alpha"] = filtro.memoria, FAST_ALPHA
    policy["floor2"], policy["deviation2"] = filtro.umbral**2, filtro.desviacion**2
    policy["errors"] = filtro.errores / ERRORS_MASK / (1 << ERRORS_SHIFT)
    policy["gain"] = 1 / ROLE_SCALE_ONE
    policy["low"] = -math.inf if entry.limites.bajo is None else entry.limites.bajo
    policy["high"] = math.inf if entry.limites.alto is None else entry.limites.alto
    policy["limited"] = entry.limites != type(entry.limites)() or entry.table is not None
    policy["warm_max"], policy["steep"] = max(GUARD, warm_codes(filtro.memoria, steep)), steep
    policy["tick_shift"], policy["tick"] = shift, tick >> shift
    policy["heartbeat"] = max(1, filtro.latido >> shift)
    policy["silence"], policy["alert_silence"] = -(-silence >> shift), entry.silencio_max > 0
    policy["window_ms"] = round(entry.ventana * 1000)
    policy["max_errors"] = entry.autoreparacion.max_errores
    return policy[()]


@cache
def warm_codes(alpha: float, steep: int = STEEP) -> int:
    """The warm-up code at which the slow clock's step reaches *alpha*: code w stands for about 2**(w / 4) readings."""
    code = np.arange(WARM_MASK, dtype=np.uint32)
    nth, steeper = (np.uint32(0x3F800000) - (code << 21)).view(np.float32), (np.uint32(steep) - 3 * (code << 20)).view(np.float32)
    reached = np.flatnonzero(np.minimum(nth, steeper).astype(np.float64) <= alpha)
    return int(reached[0]) if len(reached) else WARM_MASK


def _function(entry: BlockEntry) -> np.void:
    funcion, out = entry.funcion, np.zeros((), dtypes.FUNCTION)
    out["kind"], out["a"], out["b"] = KINDS[funcion.nombre], funcion.a, funcion.b
    if funcion.nombre == "random":
        out["b"] = funcion.b - funcion.a
    out["period_ms"] = funcion.periodo * 1000
    return out[()]


def _stepped(arena: Arena) -> np.ndarray:
    return np.flatnonzero(arena.segments["function"]).astype(np.uint32)


def _ranges(entries: Sequence[EntryLayout]) -> np.ndarray:
    """dtypes.RANGE, sorted: which ids the entries without a device table have."""
    ranges = [(layout.entry.first_id, layout.entry.entidades, layout.entry.entidades_por_bloque, layout.per_block, layout.segment)
              for layout in entries if layout.entry.table is None and not layout.entry.retirado]  # fmt: skip
    return np.array(sorted(ranges), dtypes.RANGE)


def _map_devices(arena: Arena, entries: Sequence[EntryLayout]) -> None:
    listed = [layout for layout in entries if layout.entry.table is not None]
    if listed:
        ids = np.concatenate([layout.entry.table.device for layout in listed]).astype(np.uint32)
        locations = np.concatenate([layout.locations[: len(layout.entry.table)] for layout in listed]).astype(np.uint32)
        arena.map_devices(ids, locations)


@dataclass
class TableLimits:
    """Limits of the entities of one segment whose entry has a device table."""

    policy: int
    slots: np.ndarray
    rows: slice  # of the table
    live: tuple[np.ndarray, np.ndarray]  # low and high as the kernels read them

    def set(self, table: "DeviceTable", low: np.float32, high: np.float32) -> None:
        """Take the limits of *table*, and the entry's where it has none (NaN)."""
        for live, column, entry in zip(self.live, (table.low, table.high), (low, high), strict=True):
            own = column[self.rows]
            live[self.slots] = np.where(np.isnan(own), entry, own)


def _give_columns(arena: Arena, layout: EntryLayout) -> Iterator[TableLimits]:
    """Give the segments of an entry with a device table their ids, and room for limits."""
    if layout.entry.table is None:
        return
    table, locations = layout.entry.table, layout.locations[: len(layout.entry.table)]
    for segment in range(layout.segment, layout.segment + layout.segments):
        first, last = np.searchsorted(locations, (segment * SLAB, (segment + 1) * SLAB))
        here, slots = slice(first, last), locations[first:last] % SLAB
        ids, low, high = np.zeros(SLOTS, np.uint32), np.full(SLOTS, -np.inf, np.float32), np.full(SLOTS, np.inf, np.float32)
        ids[slots] = table.device[here]
        arena.give_columns(segment, ids, low, high)
        yield TableLimits(layout.index, slots, here, (low, high))


def counted_otherwise(arena: Arena, units: np.ndarray) -> list[int]:
    """Awake segments whose policy counts its ticks in another unit now; units: uint32[policies], `tick_shift` before."""
    rows = arena.segments
    changed = (units != arena.policies["tick_shift"])[rows["policy"]]
    return np.flatnonzero(changed & (rows["flags"] & (SEGMENT_HEARD | SEGMENT_FROZEN) == SEGMENT_HEARD)).tolist()


def restamp(arena: Arena, segment: int, units: np.ndarray) -> None:
    """Rewrite the tick of each entity's last reading in its policy's new unit; units as in `counted_otherwise`.

    To be called before time goes on.
    """
    row = arena.segments[segment]
    before, now = int(units[row["policy"]]), int(arena.policies["tick_shift"][row["policy"]])
    states, tick = arena.tiles[segment]["state"], arena.tick
    age = (tick >> before) - (states >> SEEN_SHIFT).astype(np.int64) & SEEN_MASK
    heard = (tick >> before) - age << before >> now
    seen = np.maximum(heard, (tick >> now) - SEEN_MASK) & SEEN_MASK
    rest = states & ((1 << SEEN_SHIFT) - 1)
    states[:] = np.where(states, rest | (seen << SEEN_SHIFT).astype(np.uint32), 0)
    row["flags"] |= SEGMENT_DIRTY
