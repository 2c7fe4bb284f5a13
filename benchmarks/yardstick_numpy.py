"""The same arithmetic in NumPy: columns as arrays, every formula of kernels.h, work cut to fit the cache.

Entities come out the same bits as the engine's (bench_yardsticks.py); the sums of windows differ in the last
digits, because NumPy adds them in another order.
"""
import numpy as np

from benchmarks.yardsticks import FRAME, MESSAGE, Params, random_values, seed, stir

COLUMNS = {"value": "f4", "emitted": "f4", "fast": "f4", "slow": "f4", "var": "f4", "trend": "u4", "state": "u4", "role": "u4"}
#: Entities, and readings, handled at once: the fastest of 8 thousand to all.
PASS_CHUNK, FOLD_CHUNK = 32_000, 131_072
f4, u4 = np.float32, np.uint32


def good(e: dict[str, np.ndarray], x: np.ndarray, r: np.ndarray, place: np.ndarray, p: Params) -> tuple[np.ndarray, ...]:
    """Good readings *x* into the columns *e*, in place; (guarded |z|, message leaves, first heard, healed)."""
    s, trend, slow, var = e["state"], e["trend"], e["slow"], e["var"]
    warm, errors, quality = s & u4(63 << 13), s & u4(63 << 7), s & u4(15 << 3)
    fresh, guarded = warm == 0, (s & u4(48 << 13)) != 0
    change, sigma = (trend & u4(0xFFFF0000)).view(f4), np.sqrt(var)
    leaves = _leaves(e, x, place, p, errors, fresh)
    leaves |= quality == 7 << 3
    nth, steeper = (u4(0x3F800000) - (warm << u4(8))).view(f4), (u4(p.steep) - (warm << u4(8)) - (warm << u4(7))).view(f4)
    alpha = np.maximum(np.minimum(nth, steeper), f4(p.slow_alpha))
    d = x - slow
    z = np.where(guarded, np.abs(d) / (sigma + f4(1e-6) * np.abs(slow) + f4(1e-12)), f4(0))
    moved = np.where(fresh, f4(0), np.abs(x - e["value"]))
    _slow_clock(e, d, alpha, f4(3) * (sigma + change), guarded, r)
    _fast_clock(e, x, z, np.maximum(alpha, f4(p.fast_alpha)), change, moved, fresh, r)
    np.copyto(e["emitted"], x, where=leaves)
    e["value"][:] = x
    warmer = ((r << u4(16) | r >> u4(16)) >> u4(8)).astype(f4) < np.maximum(nth, f4(p.slow_alpha)) * f4(5.77 * 16777216.0)
    warm += (warmer & (warm < p.warm_max << 13)) * u4(1 << 13)
    heard, healed = quality == 0, errors == 16 << 7
    errors -= (errors != 0) * u4(1 << 7)
    np.copyto(s, warm | errors | np.where(guarded, u4(1 << 3), u4(2 << 3)) | u4((p.tick << 19 | 1) & 0xFFFFFFFF))
    return z, leaves, heard, healed


def _leaves(e, x, place, p, errors, fresh):
    s = e["state"]
    gain = f4(p.gain) * (f4(1) + f4(p.errors) * errors.astype(f4)) * ((e["role"] >> u4(20)) ^ u4(256)).astype(f4)
    far = x - e["emitted"]
    elapsed = (u4(p.tick & 0xFFFFFFFF) - (s >> u4(19))) & u4(8191)
    due = (u4(p.tick & 0xFFFFFFFF) + (place >> u4(3))) % u4(p.heartbeat) < elapsed
    return (far * far > (f4(p.floor2) + f4(p.deviation2) * e["var"]) * (gain * gain)) | due | fresh | ((s & u4(6)) != 0)


def _slow_clock(e, d, alpha, width, guarded, r):
    slow, var = e["slow"], e["var"]
    clipped = np.where(guarded, np.minimum(np.maximum(d, -width), width), d)
    step = alpha * clipped
    dither = ((r >> u4(9)) | u4(0x34000000)).view(f4) - f4(1.5 * 2.0**-23)
    dither *= (slow.view(u4) & u4(0x7F800000)).view(f4)
    clipped *= step
    np.copyto(var, (f4(1) - alpha) * (var + clipped))
    step += dither
    slow += step


def _fast_clock(e, x, z, quick, change, moved, fresh, r):
    peak = (e["trend"] << u4(16)).view(f4)
    peak = np.where(fresh, f4(0), np.maximum(z, peak * f4(0.9921875)))
    change = change + quick * (moved - change)
    e["fast"] += quick * (x - e["fast"])
    high = (change.view(u4) + (r & u4(0xFFFF))) & u4(0xFFFF0000)
    np.copyto(e["trend"], high | ((peak.view(u4) + (~r & u4(0xFFFF))) >> u4(16)))


def failed(state: np.ndarray, cause: np.ndarray, p: Params) -> tuple[np.ndarray, ...]:
    """Failed readings into *state*; (new state, message leaves, restart, first heard, now failing)."""
    before, level, warm = state >> u4(1) & u4(3), state >> u4(7) & u4(63), state & u4(63 << 13)
    fails, errors = np.minimum(before + u4(1), u4(3)), np.minimum(level + u4(8), u4(63))
    restart = (fails == 2) & (before != 2)
    heard = (state >> u4(3) & u4(15)) == 0
    new = fails << u4(1) | cause << u4(3) | errors << u4(7) | np.where(restart, u4(0), warm) | u4((p.tick << 19) & 0xFFFFFFFF)
    return new, before == 0, restart, heard, (level < 16) & (errors >= 16)


class NumpyFleet:
    """Entities 0..n-1 in blocks of 1,000, as columns."""

    def __init__(self, entities: int, params: Params, origin: float = 0.0) -> None:
        self.columns = {name: np.full(entities, 0, kind) for name, kind in COLUMNS.items()}
        blocks = -(-entities // 1000)
        self.entities, self.params, self.origin = entities, params, np.full(blocks, origin)
        self.canales = np.full(blocks, params.canal, np.int8)
        self.owner, self.touched = np.arange(blocks, dtype=np.uint32), np.zeros(blocks, bool)
        self.windows = {name: np.zeros(blocks) for name in ("sum", "squares", "count", "errors", "messages", "heard", "failing")}
        self.windows |= {name: np.full(blocks, start, f4) for name, start in (("min", np.inf), ("max", -np.inf), ("score", 0))}
        self.counts = dict.fromkeys(("malformed", "channel", "id", "restarts", "folds", "steps"), 0)
        self._newest = np.zeros(entities, np.int32)

    # --- the whole pass ------------------------------------------------------------------------

    def step(self, a: float, b: float, time: int) -> list[np.ndarray]:
        """One whole pass of the native function "random"; returns the messages."""
        sent = [self._step_chunk(slice(at, min(at + PASS_CHUNK, self.entities)), f4(a), f4(b - a), time)
                for at in range(0, self.entities, PASS_CHUNK)]
        self.counts["steps"] += 1
        self.counts["folds"] += 1
        return sent

    def _step_chunk(self, part: slice, a: np.float32, b: np.float32, time: int) -> np.ndarray:
        ids = np.arange(part.start, part.stop, dtype=u4)
        place = ids + ids // u4(1000) * u4(24)
        x = a + b * random_values(place, self.counts["steps"])
        e = {name: column[part] for name, column in self.columns.items()}
        z, leaves, heard, healed = good(e, x, stir(seed(place, self.counts["folds"])), place, self.params)
        self._add_whole(slice(part.start // 1000, -(-part.stop // 1000)), x, z, leaves, heard, healed)
        return self._messages(ids[leaves], x[leaves], True, time)

    def _add_whole(self, blocks, x, z, leaves, heard, healed):
        """Windows, block by block of 1,000."""
        w, rows = self.windows, (-1, 1000)
        d = x.reshape(rows).astype(np.float64) - self.origin[blocks, None]
        w["sum"][blocks] += d.sum(1)
        w["squares"][blocks] += np.einsum("ij,ij->i", d, d)
        for name, ufunc, values in (("min", np.minimum, x), ("max", np.maximum, x), ("score", np.maximum, z)):
            ufunc(w[name][blocks], ufunc.reduce(values.reshape(rows), 1), out=w[name][blocks])
        for name, values in (("messages", leaves), ("heard", heard)):
            w[name][blocks] += np.count_nonzero(values.reshape(rows), 1)
        w["failing"][blocks] -= np.count_nonzero(healed.reshape(rows), 1)
        w["count"][blocks] += 1000
        self.touched[blocks] = True

    # --- readings by id ------------------------------------------------------------------------

    def fold(self, frames: np.ndarray, time: int) -> list[np.ndarray]:
        """Decode, check, filter and add up uint8[n * 10]; returns the messages."""
        rows = frames.view(FRAME)
        return [part for at in range(0, len(rows), FOLD_CHUNK) for part in self._fold_chunk(rows[at : at + FOLD_CHUNK], time)]

    def _fold_chunk(self, rows: np.ndarray, time: int) -> list[np.ndarray]:
        ids, x, ok = rows["id"].astype(u4), rows["valor"].astype(f4), rows["estado"]
        keep = self._keep(ids, rows["canal"], ok)
        if not keep.all():
            ids, x, ok = ids[keep], x[keep], ok[keep]
        place = ids + ids // u4(1000) * u4(24)
        count = u4(self.counts["folds"] & 0xFFFFFFFF) + np.arange(len(ids), dtype=u4)
        self.counts["folds"] += len(ids)
        self.touched[self.owner[ids // u4(1000)]] = True
        fine = (ok == 1) & (np.abs(x) <= f4(1e18))
        return [part for turn in self._rounds(ids) for part in self._fold_distinct(turn, ids, place, x, fine, count, time)]

    def _keep(self, ids, canal, ok):
        malformed = ok > 1
        known = ids < self.entities
        right = self.canales[np.minimum(ids, self.entities - 1) // u4(1000)] == canal
        self.counts["malformed"] += int(malformed.sum())
        self.counts["id"] += int((~malformed & ~known).sum())
        self.counts["channel"] += int((~malformed & known & ~right).sum())
        return ~malformed & known & right

    def _rounds(self, ids):
        """Indices of readings such that no entity occurs twice in a round, each entity's in order."""
        left = np.arange(len(ids), dtype=np.int32)
        while len(left):
            mine = ids[left]
            self._newest[mine[::-1]] = left[::-1]
            first = self._newest[mine] == left
            yield left[first]
            left = left[~first]

    def _fold_distinct(self, turn, ids, place, x, fine, count, time):
        ok, bad = (turn, turn[:0]) if fine[turn].all() else (turn[fine[turn]], turn[~fine[turn]])
        yield self._fold_good(ids[ok], place[ok], x[ok], stir(seed(place[ok], count[ok])), time)
        if len(bad):
            yield self._fold_failed(ids[bad], x[bad], time)

    def _fold_good(self, ids, place, x, dice, time):
        e = {name: column[ids] for name, column in self.columns.items()}
        z, leaves, heard, healed = good(e, x, dice, place, self.params)
        for name in ("value", "emitted", "fast", "slow", "var", "trend", "state"):
            self.columns[name][ids] = e[name]
        self._add_by_block(self.owner[ids // u4(1000)], x, z, leaves, heard, healed)
        return self._messages(ids[leaves], x[leaves], True, time)

    def _add_by_block(self, block, x, z, leaves, heard, healed):
        w, blocks = self.windows, len(self.origin)
        d = x - self.origin[block]
        w["sum"] += np.bincount(block, d, blocks)
        w["squares"] += np.bincount(block, d * d, blocks)
        np.minimum.at(w["min"], block, x)
        np.maximum.at(w["max"], block, x)
        np.maximum.at(w["score"], block, z)
        w["count"] += np.bincount(block, minlength=blocks)
        w["messages"] += np.bincount(block[leaves], minlength=blocks)
        for name, events, sign in (("heard", heard, 1), ("failing", healed, -1)):
            if events.any():
                w[name] += sign * np.bincount(block[events], minlength=blocks)

    def _fold_failed(self, ids, x, time):
        cause = np.where(np.abs(x) <= f4(1e18), u4(6), u4(5))
        self.columns["state"][ids], leaves, restart, heard, sick = failed(self.columns["state"][ids], cause, self.params)
        block, blocks, w = self.owner[ids // u4(1000)], len(self.origin), self.windows
        self.counts["restarts"] += int(restart.sum())
        w["errors"] += np.bincount(block, minlength=blocks)
        for name, events in (("messages", leaves), ("heard", heard), ("failing", sick)):
            w[name] += np.bincount(block[events], minlength=blocks)
        return self._messages(ids[leaves], self.columns["value"][ids[leaves]], False, time)

    def _messages(self, ids, valores, estado, time):
        out = np.empty(len(ids), MESSAGE)
        out["id"], out["canal"], out["valor"], out["estado"], out["time"] = ids, self.params.canal, valores, estado, time
        return out
