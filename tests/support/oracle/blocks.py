"""The oracle's configuration entries, blocks and windows, and which entity is where."""
import csv
import math
from pathlib import Path

import numpy as np

from tests.support.oracle.entities import ALPHAS, GUARDED, F


class Entry:
    """What an entry of `bloques` asks for."""

    def __init__(self, spec, folder):
        filtro, limites = spec.get("filtro") or {}, spec.get("limites") or {}
        self.id, self.canal, self.entities = spec["id"], spec["canal"], spec["entidades"]
        self.per_block = spec.get("entidades_por_bloque") or (2000 if spec.get("plugin") else 1000)
        self.table = _table(spec.get("ids"), folder)
        self.base = spec.get("ids") if isinstance(spec.get("ids"), int) else None
        self.function = spec.get("funcion")
        if isinstance(self.function, str):
            self.function = {"nombre": self.function}
        self.window = round(spec.get("ventana", 1.0) * 1000)
        self.interval = round(spec.get("intervalo", 1.0) * 1000)
        self.low = F(-np.inf if limites.get("bajo") is None else limites["bajo"])
        self.high = F(np.inf if limites.get("alto") is None else limites["alto"])
        self.limited = bool(self.table) or np.isfinite(self.low) or np.isfinite(self.high)
        self.max_errors = F((spec.get("autoreparacion") or {}).get("max_errores", 0.05))
        self.min_fitness = (spec.get("autoreparacion") or {}).get("min_fitness", 0.2)
        self.load = F(filtro.get("carga", 1.0))
        memory = filtro.get("memoria", 0.00002)
        self.memory, self.warmest = F(memory), max(GUARDED, next((code for code in range(63) if ALPHAS[code] <= memory), 63))
        with np.errstate(over="ignore"):
            self.floor2, self.deviation2 = F(filtro.get("umbral", 0.0) ** 2), F(filtro.get("desviacion", 2.0) ** 2)
        self.error_rise = F(filtro.get("errores", 1.0) / 63)
        heartbeat, silence = filtro.get("latido", 60), spec.get("silencio_max") or 600
        self.shift = next(shift for shift in range(32) if max(heartbeat, silence) <= 8191 << shift)
        self.heartbeat = max(1, heartbeat >> self.shift)
        self.silence, self.silence_alerts = -(-silence >> self.shift), bool(spec.get("silencio_max"))


def _table(ids, folder):
    """[(device, low, high)] in the order of the slots, or nothing."""
    if isinstance(ids, str):
        with open(Path(folder, ids), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        return [(int(row["device"]), _limit(row.get("low")), _limit(row.get("high"))) for row in rows]
    if isinstance(ids, dict):
        nothing = [None] * len(ids["device"])
        columns = zip(ids["device"], ids.get("low") or nothing, ids.get("high") or nothing, strict=True)
        return [(device, _limit(low), _limit(high)) for device, low, high in columns]
    return None


def _limit(text):
    return None if text in (None, "") else F(text)


#: Windows in the pool, of one block and of all.
MOST_OF_A_BLOCK, MOST_IN_THE_POOL = 62, 65_536


class Window:
    def __init__(self, start, end):
        self.start, self.end = start, end
        self.amends, self.closes = False, 0
        self.origin = self.sum = self.squares = self.score = 0.0
        self.low, self.high = np.inf, -np.inf
        self.count = self.errors = self.messages = 0

    def holds(self, time):
        return self.start <= time < self.end

    def add(self, x, z):
        self.origin = self.origin if self.count else float(x)
        d = x - self.origin
        self.sum += d
        self.squares += d * d
        self.spread(x, x, z)
        self.count += 1

    def spread(self, low, high, z):
        self.low = low if low < self.low else self.low
        self.high = high if high > self.high else self.high
        self.score = z if z > self.score else self.score


class Block:
    def __init__(self, index, name, entry, entities):
        self.index, self.name, self.entry, self.entities = index, name, entry, entities
        self.newest = self.older = None
        self.pool = []  # further open windows, by start
        self.closed_until = 0
        self.heard = self.failing = 0
        self.last_fitness, self.host = 1.0, None

    def open_windows(self):
        return [window for window in (self.newest, self.older, *self.pool) if window]

    def window(self, time):
        """The open window for *time*, or None."""
        return next((window for window in self.open_windows() if window.holds(time)), None)

    def open_window(self, time, clock, watermark, lateness, pool):
        """(a window for *time*, which no open one holds; rows that closed for it).  pool: all blocks' windows in the pool, in order."""
        start = time // self.entry.window * self.entry.window
        end, rows = start + self.entry.window, []
        amends = end <= watermark or time < self.closed_until
        for other in self.open_windows():
            start, end = (max(start, other.end), end) if other.end <= time else (start, min(end, other.start))
        start, end = (start, min(end, self.closed_until)) if time < self.closed_until else (max(start, self.closed_until), end)
        fresh = Window(start, end)
        if not amends and (not self.newest or time >= self.newest.end):
            if self.older:
                rows += self._to_pool(self.older, pool)
            self.older, self.newest = self.newest, fresh
        elif not amends and not self.older:
            self.older = fresh
        else:
            fresh.amends, fresh.closes = amends, max(clock + max(lateness, 1000), end + lateness)
            rows += self._to_pool(fresh, pool)
        return fresh, rows

    def _to_pool(self, window, pool):
        """Rows of those that make room."""
        rows = [self.close_pooled(self.pool[0], pool)] if len(self.pool) >= MOST_OF_A_BLOCK else []
        if len(pool) >= MOST_IN_THE_POOL:
            block, oldest = pool[0]
            rows.append(block.close_pooled(oldest, pool))
        self.pool = sorted([*self.pool, window], key=lambda each: each.start)
        pool.append((self, window))
        return rows

    def close_pooled(self, window, pool):
        self.pool = [each for each in self.pool if each is not window]
        pool[:] = [pair for pair in pool if pair[1] is not window]
        return self.row(window)

    def close(self, name):
        """Close `newest` or `older`: its row."""
        window = getattr(self, name)
        setattr(self, name, None)
        return self.row(window)

    def row(self, window):
        """The row of a window that closes; one that amends says nothing of fitness and score."""
        if not window.amends:
            self.closed_until = max(self.closed_until, window.end)
        n = window.count
        mean, deviation = np.nan, np.nan
        if n:
            offset = window.sum / n
            variance = window.squares / n - offset * offset
            mean, deviation = window.origin + offset, math.sqrt(max(variance, 0.0))
        low, high = (window.low, window.high) if n else (np.nan, np.nan)
        fitness, score = (np.nan, np.nan) if window.amends else (self.judge(window), window.score)
        return (self.index, self.entry.canal, window.start, n, mean, low, high, deviation, window.errors, window.messages, fitness, score)

    def judge(self, window):
        self.last_fitness = self.fitness(window)
        return self.last_fitness

    def fitness(self, window):
        readings = window.count + window.errors
        good = window.count / readings if readings else 1.0
        healthy = 1.0 - self.failing / self.heard if self.heard else 1.0
        return float(F(good * healthy))


class Segment:
    """Entities [first, last); they keep their entry's rules whoever owns them."""

    def __init__(self, owner, first, last):
        self.owner, self.home, self.entry, self.first, self.last = owner, owner, owner.entry, first, last

    @property
    def entities(self):
        return np.arange(self.first, self.last)


class Rules:
    """The entries' constants as columns, one element an entry; `of` picks those of some entities."""

    NAMES = ("memory", "warmest", "floor2", "deviation2", "error_rise", "heartbeat", "limited", "shift", "silence")

    def __init__(self, entries):
        for name in self.NAMES:
            setattr(self, name, np.array([getattr(entry, name) for entry in entries]))

    def set_load(self, entries, load):
        self.load = np.array([entry.load for entry in entries], F) * F(load)

    def tell_time(self, now):
        self.tick = np.int64(now // 1000) >> self.shift

    def of(self, entry):
        picked = Rules.__new__(Rules)
        vars(picked).update({name: column[entry] for name, column in vars(self).items()})
        return picked


class Layout:
    """Blocks in order, their segments of at most 1,000 in order, each entity at segment * 1024 + slot."""

    def __init__(self, entries):
        self.blocks, self.segments, self.ranges, self.devices, self._following = [], [], [], {}, 0
        self.gone = set()  # entries that are detached
        for entry in entries:
            self._add(entry)
        self._make_columns(entries)

    def attach(self, entries):
        """One more entry, the last of *entries*, behind all others."""
        self._add(entries[-1])
        self._make_columns(entries)

    def _add(self, entry):
        total = self.segments[-1].last if self.segments else 0
        base = self._following if entry.base is None else entry.base
        if entry.table:
            self.devices |= {row[0]: total + slot for slot, row in enumerate(entry.table)}
        else:
            self.ranges.append((base, entry.entities, total, entry.id))
            self._following += entry.entities if entry.base is None else 0
        self._add_blocks(entry, total)

    def _add_blocks(self, entry, at):
        for start in range(0, entry.entities, entry.per_block):
            size = min(entry.per_block, entry.entities - start)
            self.blocks.append(Block(len(self.blocks), f"{entry.id}/{start // entry.per_block}", entry, size))
            for first in range(0, size, 1000):
                used = min(1000, size - first)
                self.segments.append(Segment(self.blocks[-1], at, at + used))
                at += used

    def _make_columns(self, entries):
        sizes = [segment.last - segment.first for segment in self.segments]
        self.place = np.concatenate([np.arange(size) + 1024 * index for index, size in enumerate(sizes)]).astype(np.uint32)
        self.entry_of = np.repeat([entries.index(segment.entry) for segment in self.segments], sizes)
        self.tell_owners()
        self.canal_of = np.array([entry.canal for entry in entries])[self.entry_of]
        self.wire = np.zeros(len(self.place), np.int64)
        for base, count, first, _ in self.ranges:
            self.wire[first : first + count] = np.arange(base, base + count)
        self.wire[list(self.devices.values())] = list(self.devices)
        self._ids = np.array(sorted(self.devices), np.int64)
        self._entities = np.array([self.devices[id] for id in self._ids.tolist()], np.int64)

    def tell_owners(self):
        """Which block each entity counts in."""
        self.block_of = np.repeat([s.owner.index for s in self.segments], [s.last - s.first for s in self.segments])

    def owned(self, block):
        return [segment for segment in self.segments if segment.owner is block]

    def home(self, block):
        """The entities that the configuration gives a block."""
        mine = [segment for segment in self.segments if segment.home is block]
        return range(mine[0].first, mine[-1].last)

    def find(self, ids):
        """The entity of each wire id, -1 for none."""
        found = np.full(len(ids), -1)
        for base, count, first, entry in self.ranges:
            mine = (ids >= base) & (ids < base + count) & (entry not in self.gone)
            found[mine] = ids[mine] - base + first
        if len(self._ids):
            spot = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            found = np.where(self._ids[spot] == ids, self._entities[spot], found)
        return found

    def limits(self, entries):
        """(low, high) of each entity: the table's, or else the entry's."""
        low = np.array([entry.low for entry in entries], F)[self.entry_of]
        high = np.array([entry.high for entry in entries], F)[self.entry_of]
        for device, own_low, own_high in (row for entry in entries for row in entry.table or ()):
            entity = self.devices[device]
            low[entity] = low[entity] if own_low is None else own_low
            high[entity] = high[entity] if own_high is None else own_high
        return low, high
