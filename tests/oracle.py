"""CoreC's model a second time: slow, plain, and without a line of the engine's.

    oracle = Oracle({"bloques": [{"id": "a", "canal": 1, "entidades": 1000}]})
    result = oracle.feed(frames, at=1_700_000_000_000)
    result.rows, result.messages, result.alerts     # lists of tuples, in the order of the engine's dtypes

Every entity is a place in some NumPy columns, one column a quantity, so that a batch is folded in stretches of
distinct entities; every block and window is a small object.  Entities count in float32 and windows in Python floats,
each operation in the order docs/model.md gives it, so results agree with the engine's bit for bit.
Time is never kept modulo anything, nothing is packed, nothing hibernates: what those do to results must be nothing.
"""
import csv
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zstandard

F = np.float32
NEVER, GOOD, WARMING, HIGH, LOW, NOT_FINITE, DECLARED, SILENT, REPAIRED = range(9)
ALERT_HIGH, ALERT_LOW, ALERT_SILENCE, ALERT_FAILURE = 1, 2, 3, 4
QUALITIES = ("never", "good", "warming", "high", "low", "not finite", "declared failed", "silent", "repaired")
GUARDED, FAILING = 16, 16  # warm-up code, error level
LARGEST = F(1e18)
ALPHAS = np.array([2.0 ** -(code // 4) * (1 - code % 4 / 8) for code in range(64)], F)
CAUSES = ("malformed", "channel", "id", "skew", "repeated")
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "u1")])


# --- numbers ---------------------------------------------------------------------------------------


def stir(r):
    """A hash of uint32s."""
    r = r ^ (r >> np.uint32(16))
    r = r * np.uint32(0x7FEB352D)
    return r ^ (r >> np.uint32(15))


def dice(place, count):
    """32 random bits for each place and count (uint32 arrays)."""
    return stir(place * np.uint32(0x9E3779B1) + count * np.uint32(0x85EBCA6B))


def bits(x):
    return x.view(np.uint32)


def to_bfloat(x, noise):
    """Round to the upper 16 bits of a float, up or down by chance."""
    return ((bits(x) + noise) & np.uint32(0xFFFF0000)).view(F)


def unit_in_last_place(x):
    """The power of two at or below |x|; 0 for 0 and for what has no exponent of its own."""
    exponent = np.frexp(x)[1] - 1
    return np.where(np.abs(x) < F(2.0**-126), F(0), np.ldexp(F(1), exponent)).astype(F)


def larger(a, b):
    return np.where(a > b, a, b)


def sine(turns):
    """sin(2 pi turns / 2**32), a polynomial on a quarter turn."""
    half = turns.view(np.int32).astype(F) * F(2.0**-31)
    fold = np.where(half < 0, np.abs(half) - F(1), F(1) - np.abs(half))
    y = np.where(np.abs(half) > F(0.5), fold, half)
    q = y * y
    return y * (F(3.14159274) + q * (F(-5.16771278) + q * (F(2.55016404) + q * (F(-0.59926453) + q * F(0.08214589)))))


# --- the configuration -----------------------------------------------------------------------------


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
        self.load = F(filtro.get("carga", 1.0))
        self.memory = F(filtro.get("memoria", 0.0005))
        self.warmest = max(GUARDED, next((code for code in range(63) if ALPHAS[code] <= filtro.get("memoria", 0.0005)), 63))
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


# --- blocks and windows ----------------------------------------------------------------------------


class Window:
    def __init__(self, start, end, first):
        self.start, self.end = start, end
        self.origin = float(first) if abs(first) <= LARGEST else 0.0
        self.sum = self.squares = self.score = 0.0
        self.low, self.high = np.inf, -np.inf
        self.count = self.errors = self.messages = 0

    def holds(self, time):
        return self.start <= time < self.end

    def add(self, x, z):
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
    def __init__(self, index, entry, entities):
        self.index, self.entry, self.entities = index, entry, entities
        self.newest = self.older = None
        self.closed_until = 0
        self.heard = self.failing = 0

    def window(self, time):
        """The open window for *time*, or None."""
        return next((window for window in (self.newest, self.older) if window and window.holds(time)), None)

    def close(self, name):
        """Close `newest` or `older`: its row."""
        window = getattr(self, name)
        setattr(self, name, None)
        self.closed_until = max(self.closed_until, window.end)
        n = window.count
        mean, deviation = np.nan, np.nan
        if n:
            offset = window.sum / n
            variance = window.squares / n - offset * offset
            mean, deviation = window.origin + offset, max(variance, 0.0) ** 0.5
        low, high = (window.low, window.high) if n else (np.nan, np.nan)
        return (self.index, self.entry.canal, window.start, n, mean, low, high, deviation, window.errors,
                window.messages, self.fitness(window), window.score)

    def fitness(self, window):
        readings = window.count + window.errors
        good = window.count / readings if readings else 1.0
        healthy = 1.0 - self.failing / self.heard if self.heard else 1.0
        return float(F(good * healthy))


# --- the entities ----------------------------------------------------------------------------------


class Entities:
    """One element of each column an entity, in the order of the configuration."""

    def __init__(self, n):
        for name in ("value", "emitted", "fast", "slow", "var", "change", "peak"):
            setattr(self, name, np.zeros(n, F))
        for name in ("fails", "quality", "level", "warm", "seen"):
            setattr(self, name, np.zeros(n, np.int64))
        self.active = np.zeros(n, bool)
        self.scale = np.ones(n, F)

    def fold(self, e, x, r, rule, phase, low, high):
        """Good readings *x* of distinct entities *e*, with dice *r*: (leaves, z, alarm, first heard, healed)."""
        slow, var, fast, change, peak = self.slow[e], self.var[e], self.fast[e], self.change[e], self.peak[e]
        quality, level, warm = self.quality[e], self.level[e], self.warm[e]
        fresh, guarded = warm == 0, warm >= GUARDED
        sigma = np.sqrt(var)

        # the slow clock
        alpha = larger(ALPHAS[warm], rule.memory)
        d, width = x - slow, F(3) * (sigma + change)
        clipped = larger(d, -width)
        clipped = np.where(clipped < width, clipped, width)
        error = np.where(guarded, clipped, d)
        step = alpha * error
        noise = ((r >> np.uint32(9)).astype(np.int64) - 2**22) * 2.0**-46
        self.slow[e] = slow + (step + noise.astype(F) * unit_in_last_place(slow))
        self.var[e] = (F(1) - alpha) * (var + error * step)

        # the fast clock and the peak of the score
        quick = larger(alpha, F(1 / 16))
        moved = np.where(fresh, F(0), np.abs(x - self.value[e]))
        change_now = change + quick * (moved - change)
        z = np.where(guarded, np.abs(d) / (sigma + F(1e-6) * np.abs(slow) + F(1e-12)), F(0))
        peak_now = np.where(fresh, F(0), larger(z, peak * F(1 - 1 / 128)))
        self.fast[e] = fast + quick * (x - fast)
        self.value[e] = x
        self.change[e] = to_bfloat(change_now, r & np.uint32(0xFFFF))
        self.peak[e] = to_bfloat(peak_now, ~r & np.uint32(0xFFFF))

        # limits
        was_high, was_low = quality == HIGH, quality == LOW
        is_high = rule.limited & (x > np.where(was_high, high - change, high))
        is_low = rule.limited & ~is_high & (x < np.where(was_low, low + change, low))
        now = np.where(guarded, GOOD, WARMING)
        now = np.where(is_high, HIGH, np.where(is_low, LOW, now))
        alarm = np.where(is_high & ~was_high, ALERT_HIGH, np.where(is_low & ~was_low, ALERT_LOW, 0))
        turned = rule.limited & (now != quality) & (is_high | is_low | was_high | was_low)

        # does it leave?
        gain = (F(1) + rule.load) * (F(1) + rule.error_rise * level.astype(F)) * self.scale[e]
        far = x - self.emitted[e]
        moved_far = far * far > (rule.floor2 + rule.deviation2 * var) * (gain * gain)
        due = phase < rule.tick - self.seen[e]
        leaves = moved_far | due | fresh | turned | (self.fails[e] > 0) | (quality == SILENT)
        self.emitted[e] = np.where(leaves, x, self.emitted[e])

        # what it is now
        spin = ((r << np.uint32(16)) | (r >> np.uint32(16))) >> np.uint32(8)
        warmer = (spin.astype(F) < alpha * (F(5.77) * F(2**24))) & (warm < rule.warmest)
        self.active[e], self.fails[e], self.quality[e] = True, 0, now
        self.level[e] = np.maximum(level - 1, 0)
        self.warm[e] = warm + warmer
        self.seen[e] = rule.tick
        return leaves, z, alarm, quality == NEVER, level == FAILING

    def fail(self, e, cause, tick):
        """One failed reading: (a message leaves, restart, first heard, begins to count as failing)."""
        fails, level, never = self.fails[e], self.level[e], self.quality[e] == NEVER
        restart = fails == 1
        self.active[e], self.quality[e], self.seen[e] = False, cause, tick
        self.fails[e], self.level[e] = min(fails + 1, 3), min(level + 8, 63)
        if restart:
            self.warm[e] = 0
        return fails == 0, restart, never, level < FAILING <= self.level[e]

    def repair(self, e, donor):
        if donor is not None:
            self.scale[e] = self.scale[donor]
        self.active[e], self.fails[e], self.level[e], self.warm[e] = False, 0, 0, 0
        self.quality[e], self.change[e], self.peak[e] = REPAIRED, 0, 0


class Rules:
    """The entries' constants as columns, one element an entry; `of` picks those of some entities."""

    NAMES = ("memory", "warmest", "floor2", "deviation2", "error_rise", "heartbeat", "limited", "shift")

    def __init__(self, entries):
        self.columns = {name: np.array([getattr(entry, name) for entry in entries]) for name in self.NAMES}
        self.columns |= {"load": np.zeros(len(entries), F), "tick": np.zeros(len(entries), np.int64)}

    def of(self, entry):
        picked = Rules.__new__(Rules)
        vars(picked).update({name: column[entry] for name, column in self.columns.items()})
        return picked


# --- the whole -------------------------------------------------------------------------------------


@dataclass
class Result:
    """The outcome of a turn; tuples have the order of AGGREGATE, MESSAGE, ALERT, PutAside and Repair."""

    rows: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    alerts: list = field(default_factory=list)
    rejected: dict = field(default_factory=dict)
    late: int = 0
    aside: list = field(default_factory=list)
    repairs: list = field(default_factory=list)


class Oracle:
    """All state of a node, from a configuration as a mapping; CSV paths are relative to *folder*."""

    def __init__(self, config, folder="."):
        self._folder = folder
        self.clock = self.watermark = self.folds = self.passes = self._stepped_at = 0
        self._expected, self.gaps = {}, 0
        self.counts = dict.fromkeys(("in", "stored", "filtered", "late", "shed", *CAUSES), 0)
        self._load = 0.0
        self._configure(config)
        self._lay_out()
        self._set_limits()
        self._begin()

    def _configure(self, config):
        self.entries = [Entry(spec, self._folder) for spec in config["bloques"]]
        self.rules = Rules(self.entries)
        self.lateness = round(config.get("retraso_max", 2.0) * 1000)
        self.max_skew = config.get("max_skew", 3600) * 1000
        self._lengths = {1000} | {entry.window for entry in self.entries}
        self._step_every = min((entry.interval for entry in self.entries if entry.function), default=0)
        self._tell_time()

    def _lay_out(self):
        """Blocks in order, segments of at most 1,000 in order, every entity at segment * 1024 + slot."""
        self.blocks, self.segments, places, self._ranges, self._devices = [], [], [], [], {}
        entity_block, following = [], 0
        for entry in self.entries:
            first = sum(map(len, places))
            for start in range(0, entry.entities, entry.per_block):
                size = min(entry.per_block, entry.entities - start)
                self.blocks.append(Block(len(self.blocks), entry, size))
                for used in [1000] * (size // 1000) + [size % 1000] * (size % 1000 > 0):
                    at = sum(map(len, places)) if not self.segments else self.segments[-1][2]
                    places.append(np.arange(used) + 1024 * len(self.segments))
                    entity_block.append(np.full(used, len(self.blocks) - 1))
                    self.segments.append((self.blocks[-1], at, at + used))
            if entry.table:
                self._devices |= {row[0]: first + slot for slot, row in enumerate(entry.table)}
            else:
                base = following if entry.base is None else entry.base
                self._ranges.append((base, entry.entities, first))
            following += entry.entities if entry.base is None and not entry.table else 0
        self.place = np.concatenate(places).astype(np.uint32)
        self.block_of = np.concatenate(entity_block)
        self.entry_of = np.array([self.entries.index(block.entry) for block in self.blocks])[self.block_of]
        self.canal_of = np.array([entry.canal for entry in self.entries])[self.entry_of]
        self.state = Entities(len(self.place))
        self.wire = np.zeros(len(self.place), np.int64)
        for base, count, first in self._ranges:
            self.wire[first : first + count] = np.arange(base, base + count)
        self.wire[list(self._devices.values())] = list(self._devices)
        self._sorted = np.argsort(list(self._devices), kind="stable")
        self._device_ids = np.array(list(self._devices), np.int64)[self._sorted]
        self._device_entities = np.array(list(self._devices.values()), np.int64)[self._sorted]

    def _set_limits(self):
        self.low = np.array([entry.low for entry in self.entries], F)[self.entry_of]
        self.high = np.array([entry.high for entry in self.entries], F)[self.entry_of]
        for device, low, high in (row for entry in self.entries for row in entry.table or ()):
            entity = self._devices[device]
            self.low[entity] = self.low[entity] if low is None else low
            self.high[entity] = self.high[entity] if high is None else high

    # --- what comes in -------------------------------------------------------------------------

    def feed(self, frames, *, at, load=0.0):
        self._open(load)
        self._fold_frames(frames, at, None)
        return self._end()

    def feed_arrays(self, ids, values, *, at, channel, load=0.0, states=None):
        self._open(load)
        ids = np.asarray(ids, np.int64)
        oks = np.ones(len(ids), int) if states is None else np.asarray(states).astype(int)
        with np.errstate(over="ignore"):
            values = np.asarray(values).astype(F)
        self._fold_columns(ids, np.full(len(ids), channel), values, oks, at if np.ndim(at) == 0 else np.asarray(at))
        return self._end()

    def tick(self, at, *, load=0.0):
        self._open(load)
        self._advance(at)
        return self._end()

    def step(self, at, *, load=0.0):
        self._open(load)
        self._advance(at, step=False)
        self._step()
        return self._end()

    def finish(self):
        self._open(self._load)
        self._close_windows(np.inf)
        return self._end()

    def turn(self, batches, *, load_q=0, commands=(), tick=0):
        """*batches*: (envelope, arrival ms) each; *commands*: mappings with "op", as in a turn record."""
        self._open(load_q / 255)
        for command in commands:
            getattr(self, f"_do_{command['op']}")(command)
        for envelope, arrival in batches:
            self._fold_envelope(envelope, arrival)
        if tick:
            self._advance(tick)
        return self._end()

    # --- what may be asked ---------------------------------------------------------------------

    @property
    def ledger(self):
        rejected = {f"rejected_{cause}": self.counts[cause] for cause in CAUSES}
        plain = {name: self.counts[name] for name in ("in", "stored", "filtered", "late", "shed")}
        return plain | {"rejected": sum(rejected.values())} | rejected

    def entity(self, id):
        """What is known of one entity, by its wire id."""
        e, s = self._find(np.array([id]))[0], self.state
        return {
            "valor": float(s.value[e]), "activo": bool(s.active[e]), "emitted": float(s.emitted[e]), "mean": float(s.slow[e]),
            "std": float(np.sqrt(s.var[e])), "fast_mean": float(s.fast[e]), "mean_step": float(s.change[e]),
            "peak_score": float(s.peak[e]), "quality": QUALITIES[s.quality[e]], "failures": int(s.fails[e]),
            "error_level": int(s.level[e]), "warm_up": int(s.warm[e]),
        }

    # --- a turn --------------------------------------------------------------------------------

    def _open(self, load):
        self._begin()
        self._set_load(load)

    def _begin(self):
        self._result, self._before = Result(), dict(self.counts)

    def _set_load(self, load):
        self._load = round(min(max(load, 0.0), 1.0) * 255) / 255
        self.rules.columns["load"] = np.array([entry.load for entry in self.entries], F) * F(self._load)

    def _end(self):
        self._repair_sick()
        result = self._result
        new = {name: self.counts[name] - self._before[name] for name in self.counts}
        result.rejected, result.late = {cause: new[cause] for cause in CAUSES if new[cause]}, new["late"]
        return result

    def _do_repair(self, command):
        names = [f"{block.entry.id}/{block.index - self._first_block(block)}" for block in self.blocks]
        self._repair(self.blocks[names.index(command["block"])])

    def _first_block(self, block):
        return next(other.index for other in self.blocks if other.entry is block.entry)

    def _do_reload(self, command):
        before = self.entries
        self._configure(command["config"])
        for block in self.blocks:
            block.entry = self.entries[before.index(block.entry)]
        self._set_limits()
        units = np.array([[old.shift, new.shift] for old, new in zip(before, self.entries, strict=True)])[self.entry_of]
        self.state.seen = self.state.seen << units[:, 0] >> units[:, 1]
        self._set_load(self._load)

    def _do_shed(self, command):
        self._count("in", command["readings"])
        self._count("shed", command["readings"])

    def _do_finish(self, command):
        self._close_windows(np.inf)

    def _count(self, name, n=1):
        self.counts[name] += int(n)

    def _refuse(self, cause, n):
        self._count("in", n)
        self._count(cause, n)

    # --- time ----------------------------------------------------------------------------------

    def _tell_time(self):
        self.rules.columns["tick"] = np.int64(self.clock // 1000) >> self.rules.columns["shift"].astype(np.int64)

    def _advance(self, now, step=True):
        if now <= self.clock:
            return
        second, watermark = self.clock // 1000, self.watermark
        self.clock, self.watermark = now, now - self.lateness
        self._tell_time()
        if now // 1000 != second:
            self._mark_silent(second)
        if any(self.watermark // length != watermark // length for length in self._lengths):
            self._close_windows(self.watermark)
        if step and self._step_every and now - self._stepped_at >= self._step_every:
            self._step()

    def _mark_silent(self, since):
        s, rules = self.state, self.rules.columns
        tick = rules["tick"]
        moved = tick != np.int64(since) >> rules["shift"].astype(np.int64)
        silence = np.array([entry.silence for entry in self.entries])
        heard = (s.quality != NEVER) & (s.quality != SILENT)
        silent = np.flatnonzero(heard & moved[self.entry_of] & (tick[self.entry_of] - s.seen > silence[self.entry_of]))
        s.quality[silent], s.active[silent] = SILENT, False
        for e in silent:
            if self.entries[self.entry_of[e]].silence_alerts:
                self._alert(e, self.clock, ALERT_SILENCE, s.value[e], 0.0)

    def _close_windows(self, until):
        for block in self.blocks:
            for name in ("older", "newest"):
                window = getattr(block, name)
                if window and window.end <= until:
                    self._result.rows.append(block.close(name))
        self._repair_sick()

    def _window_at(self, block, time, first):
        """The window for *time*, opening it where it may; None when the reading is late."""
        window = block.window(time)
        if window:
            return window
        start = time // block.entry.window * block.entry.window
        end = start + block.entry.window
        if time < block.closed_until or end <= self.watermark:
            return None
        if block.newest is None or time >= block.newest.end:
            if block.newest:
                if block.older:
                    self._result.rows.append(block.close("older"))
                block.older = block.newest
                start = max(start, block.older.end)
            block.newest = Window(max(start, block.closed_until), end, first)
            return block.newest
        if block.older:
            return None
        block.older = Window(max(start, block.closed_until), min(end, block.newest.start), first)
        return block.older

    # --- repair --------------------------------------------------------------------------------

    def _repair_sick(self):
        """Blocks with a row since the last look, in order."""
        rows = self._result.rows
        closed = sorted({row[0] for row in rows[getattr(self._result, "looked", 0) :]})
        self._result.looked = len(rows)
        for block in [self.blocks[index] for index in closed]:
            if block.failing > float(block.entry.max_errors) * block.entities:
                self._repair(block)

    def _repair(self, block):
        s, repaired = self.state, 0
        for _, first, last in (segment for segment in self.segments if segment[0] is block):
            for e in range(first, last):
                if s.level[e] >= FAILING:
                    s.repair(e, self._donor(e, first, last))
                    repaired += 1
        block.failing -= repaired
        if repaired:
            self._result.repairs.append((self.clock, block.index, repaired))

    def _donor(self, e, first, last):
        """The nearest healthy entity of the segment, the one before first."""
        near = (other for reach in range(1, last - first) for other in (e - reach, e + reach))
        healthy = (other for other in near if first <= other < last and self.state.active[other] and not self.state.level[other])
        return next(healthy, None)

    # --- readings ------------------------------------------------------------------------------

    def _fold_envelope(self, data, arrival):
        batch = read_envelope(data)
        if batch is None:
            self._refuse("malformed", 1)
            return
        producer, epoch, sequence, time, count, frames, offsets = batch
        if sequence + count >= 2**64:
            self._refuse("malformed", count)
            return
        expected = self._expected.get((producer, epoch), sequence)
        self.gaps += max(0, sequence - expected)
        self._expected[producer, epoch] = max(expected, sequence + count)
        again = min(max(0, expected - sequence), count)
        self._refuse("repeated", again)
        frames, offsets = frames[again * 10 :], None if offsets is None else offsets[again:]
        if again == count:
            return
        times = [time] if offsets is None else [time + int(offset) for offset in offsets]
        if any(abs(each - arrival) > self.max_skew for each in times):
            self._refuse("skew", count - again)
            self._result.aside.append((time, arrival, bytes(frames), "skew"))
            return
        self._fold_frames(frames, time, offsets)

    def _fold_frames(self, frames, time, offsets):
        parts = np.frombuffer(frames, FRAME)
        at = time if offsets is None else time + offsets.astype(np.int64)
        values = parts["valor"].astype(F)
        self._fold_columns(parts["id"].astype(np.int64), parts["canal"].astype(int), values, parts["estado"].astype(int), at)

    def _fold_columns(self, ids, canales, values, oks, at):
        """Readings of one time, or of many: time then goes on from second to second as they come."""
        if np.ndim(at) == 0:
            self._advance(int(at))
            self._fold(ids, canales, values, oks, np.full(len(ids), at))
            return
        cuts = [0, *(np.flatnonzero(np.diff(at // 1000)) + 1), len(at)]
        for run in (slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a):
            self._advance(int(at[run].max()))
            self._fold(ids[run], canales[run], values[run], oks[run], at[run])

    def _find(self, ids):
        """The entity of each wire id, -1 for none."""
        found = np.full(len(ids), -1)
        for base, count, first in self._ranges:
            mine = (ids >= base) & (ids < base + count)
            found[mine] = ids[mine] - base + first
        if len(self._device_ids):
            spot = np.minimum(np.searchsorted(self._device_ids, ids), len(self._device_ids) - 1)
            found = np.where(self._device_ids[spot] == ids, self._device_entities[spot], found)
        return found

    def _fold(self, ids, canales, values, oks, times):
        entities = self._find(ids)
        malformed, unknown = oks > 1, entities < 0
        foreign = canales != self.canal_of[entities]
        self._count("in", len(ids))
        self._count("malformed", malformed.sum())
        self._count("id", (unknown & ~malformed).sum())
        self._count("channel", (foreign & ~unknown & ~malformed).sum())
        usable = np.flatnonzero(~(malformed | unknown | foreign))
        columns = [column[usable].tolist() for column in (entities, values, oks, times)]
        good = (oks[usable] == 1) & (np.abs(values[usable]) <= LARGEST)
        stretch, busy = [], set()
        for e, x, time, is_good in zip(columns[0], columns[1], columns[3], good.tolist(), strict=True):
            block = self.blocks[self.block_of[e]]
            window = block.window(time)
            if window is None or e in busy:
                self._fold_stretch(stretch)
                stretch, busy = [], set()
                window = window or self._window_at(block, time, x)
            if window is None:
                self._count("late")
                continue
            stretch.append((e, x, time, is_good, block, window))
            busy.add(e)
        self._fold_stretch(stretch)

    def _fold_stretch(self, stretch):
        """Readings of distinct entities whose windows are open."""
        counts = self.folds + np.arange(len(stretch))
        self.folds += len(stretch)
        e, x = np.array([reading[0] for reading in stretch], int), np.array([reading[1] for reading in stretch], F)
        good = np.array([reading[3] for reading in stretch], bool)
        r = dice(self.place[e], counts.astype(np.uint32))
        told = iter(list(zip(*(column.tolist() for column in self._fold_good(e[good], x[good], r[good])), strict=True)))
        for reading in stretch:
            if reading[3]:
                self._settle_good(*reading, *next(told))
            else:
                self._settle_failure(*reading)

    def _fold_good(self, e, x, r):
        rule = self.rules.of(self.entry_of[e])
        phase = (rule.tick + self.place[e] // 8) % rule.heartbeat
        with np.errstate(all="ignore"):
            return self.state.fold(e, x, r, rule, phase, self.low[e], self.high[e])

    def _settle_good(self, e, x, time, _good, block, window, leaves, z, alarm, first, healed):
        window.add(x, z)
        block.heard += first
        block.failing -= healed
        self._count("stored" if leaves else "filtered")
        if leaves:
            window.messages += 1
            self._result.messages.append((int(self.wire[e]), block.entry.canal, x, True, time))
        if alarm:
            self._alert(e, time, alarm, x, (self.high if alarm == ALERT_HIGH else self.low)[e])

    def _settle_failure(self, e, x, time, _good, block, window):
        cause = DECLARED if abs(x) <= LARGEST else NOT_FINITE
        leaves, restart, first, sick = self.state.fail(e, cause, self.rules.columns["tick"][self.entry_of[e]])
        window.errors += 1
        window.messages += int(leaves)
        block.heard += int(first)
        block.failing += int(sick)
        self._count("stored" if leaves else "filtered")
        value = float(self.state.value[e])
        if leaves:
            self._result.messages.append((int(self.wire[e]), block.entry.canal, value, False, time))
        if restart:
            self._alert(e, time, ALERT_FAILURE, value, 0.0)

    def _alert(self, e, time, kind, value, limit):
        block = self.blocks[self.block_of[e]]
        alert = (time, int(self.wire[e]), block.index, block.entry.canal, kind, float(value), float(limit))
        self._result.alerts.append(alert)

    # --- native functions ----------------------------------------------------------------------

    def _step(self):
        self._stepped_at = self.clock
        for segment, (block, first, last) in enumerate(self.segments):
            if block.entry.function:
                self._step_segment(block, np.arange(first, last), self._values(block.entry.function, segment, last - first))
        self.passes += 1
        self.folds += 1

    def _values(self, function, segment, used):
        place = np.arange(used, dtype=np.uint32) + np.uint32(1024 * segment)
        name, a, b = function["nombre"], function.get("a", 0.0), function.get("b", 1.0)
        if name == "random":
            chance = stir(dice(place, np.full(used, self.passes, np.uint32)) if False else self._random_seed(place))
            return F(a) + F(b - a) * ((chance >> np.uint32(8)).astype(F) * F(2.0**-24))
        if name == "sine":
            turn = int((self.clock / (function.get("periodo", 60.0) * 1000) % 1.0) * 2.0**32)
            return F(a) + F(b) * sine(place * np.uint32(0x9E3779B1) + np.uint32(turn % 2**32))
        if name == "counter":
            return F(a) + F(b) * np.full(used, self.passes % 2**24).astype(F)
        return np.full(used, a, F)

    def _step_segment(self, block, e, x):
        window = self._window_at(block, self.clock, float(x[0]))
        self._count("in", len(e))
        if window is None:
            self._count("late", len(e))
            return
        counts = np.full(len(e), self.folds).astype(np.uint32)
        leaves, z, alarm, first, healed = self._fold_good(e, x, dice(self.place[e], counts))
        self._add_lanes(window, x)
        window.spread(float(x.min()), float(x.max()), float(z.max()))
        window.count += len(e)
        window.messages += int(leaves.sum())
        block.heard += int(first.sum())
        block.failing -= int(healed.sum())
        self._count("stored", leaves.sum())
        self._count("filtered", (~leaves).sum())
        self._result.messages += [(int(self.wire[e[k]]), block.entry.canal, float(x[k]), True, self.clock) for k in np.flatnonzero(leaves)]
        for k in np.flatnonzero(alarm):
            self._alert(e[k], self.clock, int(alarm[k]), x[k], (self.high if alarm[k] == ALERT_HIGH else self.low)[e[k]])

    @staticmethod
    def _add_lanes(window, x):
        """A pass adds up every eighth entity first, then these eight sums."""
        sums, squares = [0.0] * 8, [0.0] * 8
        for k, value in enumerate(x.tolist()):
            d = value - window.origin
            sums[k % 8] += d
            squares[k % 8] += d * d
        for lane in range(8):
            window.sum += sums[lane]
            window.squares += squares[lane]


# --- envelopes -------------------------------------------------------------------------------------

HEADER = struct.Struct("!2sBBIQQQqII")
_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ 0x82F63B78 * (_byte & 1)
    _TABLE.append(_byte)


def crc32c(data, crc=0):
    """CRC-32C (RFC 3720), a byte at a time."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def read_envelope(data):
    """(producer, epoch, sequence, time, count, frames, offsets or None); None when it is damaged."""
    if len(data) < 48:
        return None
    magic, version, flags, count, producer, epoch, sequence, time, length, crc = HEADER.unpack_from(data)
    sound = magic == b"CB" and version == 1 and flags < 4 and count <= 1_000_000 and len(data) == 48 + length
    if not sound or crc32c(data[:44] + data[48:]) != crc:
        return None
    payload, size = bytes(data[48:]), count * (14 if flags & 2 else 10)
    if flags & 1:
        payload = _unpack(payload, size)
    if payload is None or len(payload) != size:
        return None
    offsets = np.frombuffer(payload[count * 10 :], ">i4") if flags & 2 else None
    return producer, epoch, sequence, time, count, payload[: count * 10], offsets


def _unpack(payload, size):
    try:
        if zstandard.get_frame_parameters(payload).content_size != size:
            return None
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    except zstandard.ZstdError:
        return None
