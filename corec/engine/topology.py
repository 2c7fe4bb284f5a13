"""From a configuration to an arena: which block has which segments, ids, limits and policy."""
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from corec._core import dtypes
from corec._core.arena import Arena
from corec.config import BlockEntry, Config

SLOTS = 1000
#: Places a segment takes in the address of an entity (1,000 of them used).
SLAB = 1024
#: Ages are kept modulo 8,192 ticks; no limit reaches that, so that no age is ambiguous.
MOST_TICKS = 8191
#: Seconds after which an entity counts as silent where the configuration does not say.
SILENT_AFTER = 600
#: Warm-up code from which the reference is guarded and scores count: layout.h, CC_GUARD.
GUARD = 16
#: Step of the fast clock: a memory of about 16 readings.
FAST_ALPHA = 1 / 16
#: layout.h: where a state word keeps the tick of the last reading, and flags of segments.
SEEN_SHIFT, SEEN_MASK = 19, 8191
SEG_HEARD, SEG_DIRTY, SEG_FROZEN = 1, 2, 4
KINDS = {"random": 1, "constant": 2, "sine": 3, "counter": 4}


@dataclass
class Topology:
    """An arena and the names of what is in it."""

    arena: Arena
    block_ids: tuple[str, ...]
    first_segment: np.ndarray  # uint32[blocks + 1]: segments of block i are [i], ..., [i + 1] - 1 as configured
    stepped: np.ndarray  # uint32: segments with native functions
    limits: "list[Limits]"
    plans: "list[Plan]"

    def attach(self, entry: BlockEntry, shards: int) -> None:
        """Add an entry behind all others; MemoryError when the arena has no room left."""
        last = self.plans[-1] if self.plans else None
        plan = Plan(last.index + 1, entry, last.block + last.entry.blocks, last.segment + last.segments) if last else Plan(0, entry, 0, 0)
        self.arena.extend(plan.segments, entry.blocks, 1, 1)
        self.plans.append(plan)
        self.first_segment = np.concatenate([self.first_segment, np.zeros(entry.blocks, np.uint32)])
        _place(self.arena, plan, self.first_segment, shards)
        self.first_segment[-1] = self.arena.segments.size
        self.block_ids += entry.block_ids
        self.stepped = _stepped(self.arena)
        self.limits += _columns(self.arena, plan)
        self._set_entry(plan.index, entry)
        _map_ids(self.arena, self.plans)

    def map_ids(self, config: Config) -> None:
        """Let ids name the entities of all entries that are not detached."""
        self.plans = [replace(plan, entry=entry) for plan, entry in zip(self.plans, config.bloques, strict=True)]
        _map_ids(self.arena, self.plans)

    def first_ids(self) -> np.ndarray:
        """uint32[blocks]: the wire id of the first entity of each block."""
        return np.concatenate([plan.first_ids for plan in self.plans] or [np.zeros(0, np.uint32)])

    def stepped_of(self, entries: list[int], shard: int) -> np.ndarray:
        """uint32: the segments with native functions of these entries in one shard."""
        rows = self.arena.segments[self.stepped]
        return self.stepped[np.isin(rows["policy"], entries) & (self.arena.blocks["shard"][rows["owner"]] == shard)]

    def set_policies(self, config: Config) -> None:
        """Write what the entries ask for into the arena: at the start, and at a reload."""
        for index, entry in enumerate(config.bloques):
            self._set_entry(index, entry)

    def _set_entry(self, index: int, entry: BlockEntry) -> None:
        policy = _policy(entry, self.arena.tick)
        self.arena.policies[index] = policy
        rows = self.arena.segments
        rows["sweep_at"][rows["policy"] == index] = 0   # it may ask for another silence
        if entry.funcion:
            self.arena.functions[index + 1] = _function(entry)
        for limits in self.limits:
            if limits.policy == index:
                limits.set(policy["low"], policy["high"])


@dataclass(frozen=True)
class Plan:
    """Where one entry of `bloques` goes."""

    index: int
    entry: BlockEntry
    block: int
    segment: int

    @property
    def first_ids(self) -> np.ndarray:
        """uint32: the wire id of the first entity of each of its blocks."""
        first = np.arange(self.entry.blocks) * self.entry.entidades_por_bloque
        ids = first + (self.entry.first_id or 0) if self.entry.table is None else np.asarray(self.entry.table.device)[first]
        return ids.astype(np.uint32)

    @property
    def per_block(self) -> int:
        """Segments of each of its blocks."""
        return -(-self.entry.entidades_por_bloque // SLOTS)

    @property
    def segments(self) -> int:
        """Segments of all its blocks."""
        return sum(-(-size // SLOTS) for size in self.entry.sizes)


def build(config: Config) -> Topology:
    """The arena for *config*, empty."""
    plans = list(_plans(config))
    blocks = sum(plan.entry.blocks for plan in plans)
    segments = sum(plan.segments for plan in plans)
    arena = Arena(segments, blocks, len(plans), len(plans) + 1)
    first = np.zeros(blocks + 1, np.uint32)
    for plan in plans:
        _place(arena, plan, first, config.fragmentos)
    first[blocks] = segments
    names = tuple(name for plan in plans for name in plan.entry.block_ids)
    limits = [each for plan in plans for each in _columns(arena, plan)]
    built = Topology(arena, names, first, _stepped(arena), limits, plans)
    _map_ids(arena, plans)
    built.set_policies(config)
    return built


def _plans(config: Config) -> Iterator[Plan]:
    block = segment = 0
    for index, entry in enumerate(config.bloques):
        plan = Plan(index, entry, block, segment)
        yield plan
        block += entry.blocks
        segment += plan.segments


def _place(arena: Arena, plan: Plan, first: np.ndarray, shards: int) -> None:
    entry, segment, slot = plan.entry, plan.segment, 0
    segments, blocks = arena.segments, arena.blocks
    for offset, size in enumerate(entry.sizes):
        block = plan.block + offset
        first[block] = segment
        blocks[block]["policy"], blocks[block]["entities"] = plan.index, size
        blocks[block]["canal"], blocks[block]["fitness"] = entry.canal, 1.0
        blocks[block]["stepped"] = entry.funcion is not None
        blocks[block]["shard"] = shard_of(block, shards, registered=entry.registrado)
        for start in range(0, size, SLOTS):
            row = segments[segment]
            row["owner"], row["policy"], row["canal"] = block, plan.index, entry.canal
            row["used"] = min(SLOTS, size - start)
            row["first_id"] = (entry.first_id or 0) + slot
            row["function"] = plan.index + 1 if entry.funcion else 0
            slot += int(row["used"])
            segment += 1


def shard_of(block: int, shards: int, *, registered: bool = False) -> int:
    """The shard of a block: in turn, but for those that programs registered, which stay with their node behind all others."""
    if shards == 1:
        return 0
    return shards if registered else block % shards


def _policy(entry: BlockEntry, tick: int) -> np.void:
    filtro, policy = entry.filtro, np.zeros((), dtypes.POLICY)
    silence = entry.silencio_max or SILENT_AFTER
    shift = max(0, math.ceil(math.log2(max(silence, filtro.latido) / MOST_TICKS)))
    policy["slow_alpha"], policy["fast_alpha"] = filtro.memoria, FAST_ALPHA
    policy["floor2"], policy["deviation2"] = filtro.umbral**2, filtro.desviacion**2
    policy["errors"] = filtro.errores / 63 / 128
    policy["gain"] = 1 / 256
    policy["low"] = -math.inf if entry.limites.bajo is None else entry.limites.bajo
    policy["high"] = math.inf if entry.limites.alto is None else entry.limites.alto
    policy["limited"] = entry.limites != type(entry.limites)() or entry.table is not None
    policy["warm_max"] = max(GUARD, warm_codes(filtro.memoria))
    policy["tick_shift"], policy["tick"] = shift, tick >> shift
    policy["heartbeat"] = max(1, filtro.latido >> shift)
    policy["silence"], policy["alert_silence"] = -(-silence >> shift), entry.silencio_max > 0
    policy["window_ms"] = round(entry.ventana * 1000)
    policy["max_errors"] = entry.autoreparacion.max_errores
    return policy[()]


def warm_codes(alpha: float) -> int:
    """The warm-up code at which the slow clock's step reaches *alpha*: code w steps by about 2**(-w / 4)."""
    for code in range(63):
        octaves, quarter = divmod(code, 4)
        step = 2.0**-octaves * (1 - quarter / 8)
        if step <= alpha:
            return code
    return 63


def _function(entry: BlockEntry) -> np.void:
    funcion, out = entry.funcion, np.zeros((), dtypes.FUNCTION)
    out["kind"], out["a"], out["b"] = KINDS[funcion.nombre], funcion.a, funcion.b
    if funcion.nombre == "random":
        out["b"] = funcion.b - funcion.a
    out["period_ms"] = funcion.periodo * 1000
    return out[()]


def _stepped(arena: Arena) -> np.ndarray:
    return np.flatnonzero(arena.segments["function"]).astype(np.uint32)


def _map_ids(arena: Arena, plans: list[Plan]) -> None:
    ranges = [(plan.entry.first_id, plan.entry.entidades, plan.entry.entidades_por_bloque, plan.per_block, plan.segment)
              for plan in plans if plan.entry.table is None and not plan.entry.retirado]
    arena.map_ranges(np.array(sorted(ranges), dtypes.RANGE))
    listed = [plan for plan in plans if plan.entry.table is not None]
    if listed:
        ids = np.concatenate([plan.entry.table.device for plan in listed]).astype(np.uint32)
        places = np.concatenate([plan_places(plan)[: len(plan.entry.table)] for plan in listed]).astype(np.uint32)
        arena.map_devices(ids, places)


@dataclass
class Limits:
    """Limits of the entities of one segment whose entry has a device table."""

    policy: int
    slots: np.ndarray
    table: tuple[np.ndarray, np.ndarray]  # low and high as the table says, NaN where it does not
    live: tuple[np.ndarray, np.ndarray]  # low and high as the kernels see them

    def set(self, low: np.float32, high: np.float32) -> None:
        """Take the entry's limits where the table has none."""
        for live, own, entry in zip(self.live, self.table, (low, high), strict=True):
            live[self.slots] = np.where(np.isnan(own), entry, own)


def _columns(arena: Arena, plan: Plan) -> Iterator[Limits]:
    """Give the segments of an entry with a table their ids and their room for limits."""
    if plan.entry.table is None:
        return
    table, places = plan.entry.table, plan_places(plan)[: len(plan.entry.table)]
    for segment in range(plan.segment, plan.segment + plan.segments):
        first, last = np.searchsorted(places, (segment * SLAB, (segment + 1) * SLAB))
        here, slots = slice(first, last), places[first:last] % SLAB
        ids, low, high = np.zeros(SLOTS, np.uint32), np.full(SLOTS, -np.inf, np.float32), np.full(SLOTS, np.inf, np.float32)
        ids[slots] = table.device[here]
        arena.give_columns(segment, ids, low, high)
        yield Limits(plan.index, slots, (table.low[here], table.high[here]), (low, high))


def plan_places(plan: Plan) -> np.ndarray:
    """Place (segment * 1024 + slot) of each entity of an entry, in order."""
    order = np.arange(plan.entry.entidades)
    block, slot = np.divmod(order, plan.entry.entidades_por_bloque)
    return (plan.segment + block * plan.per_block + slot // SLOTS) * SLAB + slot % SLOTS


def counted_otherwise(arena: Arena, units: np.ndarray) -> list[int]:
    """Awake segments whose policy counted its ticks in other units (shifts, by policy) than it does now."""
    rows = arena.segments
    changed = (units != arena.policies["tick_shift"])[rows["policy"]]
    return np.flatnonzero(changed & (rows["flags"] & (SEG_HEARD | SEG_FROZEN) == SEG_HEARD)).tolist()


def restamp(arena: Arena, segment: int, units: np.ndarray) -> None:
    """Say when each entity was last heard in its policy's new units; to be called before time goes on."""
    row = arena.segments[segment]
    before, now = int(units[row["policy"]]), int(arena.policies["tick_shift"][row["policy"]])
    states, tick = arena.tiles[segment]["state"], arena.tick
    age = (tick >> before) - (states >> SEEN_SHIFT).astype(np.int64) & SEEN_MASK
    heard = (tick >> before) - age << before >> now
    seen = np.maximum(heard, (tick >> now) - SEEN_MASK) & SEEN_MASK
    rest = states & ((1 << SEEN_SHIFT) - 1)
    states[:] = np.where(states, rest | (seen << SEEN_SHIFT).astype(np.uint32), 0)
    row["flags"] |= SEG_DIRTY
