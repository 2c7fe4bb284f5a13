"""The oracle's entities: the filter on columns of float32, one element an entity, and the numbers it needs."""
import numpy as np

F = np.float32
NEVER, GOOD, WARMING, HIGH, LOW, NOT_FINITE, DECLARED, SILENT, REPAIRED = range(9)
QUALITIES = ("never", "good", "warming", "high", "low", "not finite", "declared failed", "silent", "repaired")
ALERT_HIGH, ALERT_LOW, ALERT_SILENCE, ALERT_FAILURE = 1, 2, 3, 4
GUARDED, FAILING = 16, 16  # warm-up code, error level
LARGEST = F(1e18)
#: By warm-up code: about 1/n, and the step of the slow clock, which from 256 readings on is about 16 / n^1.5.
NTH = np.array([2.0 ** -(code // 4) * (1 - code % 4 / 8) for code in range(64)], F)
STEEPER = np.array([16 * 2.0 ** -(3 * code // 8) * (1 - 3 * code % 8 / 16) for code in range(64)], F)
ALPHAS = np.minimum(NTH, STEEPER)


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


def native_values(function, place, passes, clock):
    """What a native function gives the entities at *place* in its *passes*-th whole pass."""
    name, a, b = function["nombre"], function.get("a", 0.0), function.get("b", 1.0)
    if name == "random":
        chance = dice(place, np.full(len(place), passes, np.uint32)) >> np.uint32(8)
        return F(a) + F(b - a) * (chance.astype(F) * F(2.0**-24))
    if name == "sine":
        turn = int((clock / (function.get("periodo", 60.0) * 1000) % 1.0) * 2.0**32)
        return F(a) + F(b) * sine(place * np.uint32(0x9E3779B1) + np.uint32(turn % 2**32))
    if name == "counter":
        return F(a) + F(b) * np.full(len(place), passes % 2**24).astype(F)
    return np.full(len(place), a, F)


class Entities:
    """One element of each column an entity, in the order of the configuration."""

    def __init__(self, n):
        for name in ("value", "emitted", "fast", "slow", "var", "change", "peak"):
            setattr(self, name, np.zeros(n, F))
        for name in ("fails", "quality", "level", "warm", "seen", "tries", "tried"):
            setattr(self, name, np.zeros(n, np.int64))
        self.active = np.zeros(n, bool)
        self.scale = np.ones(n, F)

    def grow(self, n):
        """Room for *n* in all; those that are new were never heard."""
        fresh = vars(Entities(n - len(self.value)))
        vars(self).update({name: np.concatenate([column, fresh[name]]) for name, column in vars(self).items()})

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
        warmer = (spin.astype(F) < larger(NTH[warm], rule.memory) * (F(5.77) * F(2**24))) & (warm < rule.warmest)
        self.active[e], self.fails[e], self.quality[e] = True, 0, now
        self.level[e], self.tries[e], self.tried[e] = np.maximum(level - 1, 0), 0, 0
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

    def is_due(self, e, second):
        """Whether a failing entity is to be regenerated though nobody ordered it: not at once again where it did not help."""
        if self.tries[e] == 0:
            return True
        return second - self.tried[e] >= min(10 * 2 ** (self.tries[e] - 1), 3600) and self.quality[e] != SILENT

    def repair(self, e, donor, second):
        if donor is not None:
            self.scale[e] = self.scale[donor]
        self.active[e], self.level[e], self.warm[e] = False, 0, 0
        self.quality[e] = SILENT if self.quality[e] == SILENT else REPAIRED
        self.change[e], self.peak[e] = 0, 0
        self.tries[e], self.tried[e] = min(self.tries[e] + 1, 10), second
