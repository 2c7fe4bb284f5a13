"""The same readings folded by Numba: 32-byte structs, one reading after the other, every formula of kernels.h.

The plain loop is what Numba does best by id: tiles of eight, or sorting first, were slower.  Compiled without
fastmath, so that the entities come out the same bits as the engine's (bench_yardsticks.py).
"""
import numpy as np
from numba import njit, types, uint32
from numba.extending import intrinsic

from benchmarks.yardsticks import MESSAGE, Params

ENTITY = np.dtype([("value", "<f4"), ("emitted", "<f4"), ("fast", "<f4"), ("slow", "<f4"), ("var", "<f4"),
                   ("trend", "<u4"), ("state", "<u4"), ("role", "<u4")], align=True)
WINDOW = np.dtype([("start", "<i8"), ("end", "<i8"), ("origin", "<f8"), ("sum", "<f8"), ("squares", "<f8"), ("min", "<f4"),
                   ("max", "<f4"), ("score", "<f4"), ("count", "<u4"), ("errors", "<u4"), ("messages", "<u4")], align=True)
COUNTS = np.dtype([(name, "<u8") for name in ("arrived", "stored", "filtered", "late", "malformed", "channel", "id",
                                              "heard", "failing", "restarts", "folds")], align=True)
PARAMS = np.dtype([(name, "<f4") for name in ("slow_alpha", "fast_alpha", "floor2", "deviation2", "errors", "gain")]
                  + [(name, "<u4") for name in ("warm_max", "steep", "tick", "heartbeat")], align=True)

HALF = uint32(0xFFFF0000)
ONE, ZERO, THREE = np.float32(1), np.float32(0), np.float32(3)
DITHER, DECAY = np.float32(1.5 * 2.0**-23), np.float32(0.9921875)
TINY, RELATIVE = np.float32(1e-12), np.float32(1e-6)
WARMING = np.float32(5.77 * 16777216.0)
LARGEST = np.float32(1e18)


@intrinsic
def as_float(typingctx, bits):
    """The float32 of these bits, in a register."""
    return types.float32(types.uint32), lambda context, builder, _, args: builder.bitcast(
        args[0], context.get_value_type(types.float32))


@intrinsic
def as_bits(typingctx, value):
    """The bits of a float32, in a register."""
    return types.uint32(types.float32), lambda context, builder, _, args: builder.bitcast(
        args[0], context.get_value_type(types.uint32))


@njit(inline="always")
def u(x):
    return uint32(x)


@njit(inline="always")
def stir(r):
    r = u(r ^ (r >> uint32(16)))
    r = u(r * uint32(0x7FEB352D))
    return u(r ^ (r >> uint32(15)))


@njit(inline="always")
def good(e, p, x, r, place):
    """A good reading into one entity; returns (guarded |z|, message leaves, first heard, healed)."""
    s, trend = e.state, e.trend
    warm, errors, quality = u(s & uint32(63 << 13)), u(s & uint32(63 << 7)), u(s & uint32(15 << 3))
    fresh, guarded = warm == uint32(0), (s & uint32(48 << 13)) != uint32(0)
    slow, var, fast = e.slow, e.var, e.fast
    change, peak = as_float(u(trend & HALF)), as_float(u(trend << uint32(16)))
    sigma = np.sqrt(var)

    nth = as_float(u(uint32(0x3F800000) - (warm << uint32(8))))
    steeper = as_float(u(u(p.steep - (warm << uint32(8))) - (warm << uint32(7))))
    alpha = max(min(nth, steeper), p.slow_alpha)
    d = x - slow
    width = THREE * (sigma + change)
    e_ = min(max(d, -width), width) if guarded else d
    step = alpha * e_
    dither = (as_float(u((r >> uint32(9)) | uint32(0x34000000))) - DITHER) * as_float(u(as_bits(slow) & uint32(0x7F800000)))
    e.slow = slow + (step + dither)
    e.var = (ONE - alpha) * (var + e_ * step)

    quick = max(alpha, p.fast_alpha)
    moved = ZERO if fresh else abs(x - e.value)
    change_now = change + quick * (moved - change)
    z = abs(d) / (sigma + RELATIVE * abs(slow) + TINY) if guarded else ZERO
    peak_now = ZERO if fresh else max(z, peak * DECAY)
    e.fast = fast + quick * (x - fast)
    e.value = x
    e.trend = u(u(u(as_bits(change_now) + (r & uint32(0xFFFF))) & HALF)
                | u(u(as_bits(peak_now) + u(~r & uint32(0xFFFF))) >> uint32(16)))

    now = uint32(1 << 3) if guarded else uint32(2 << 3)
    scale = np.float32(u((e.role >> uint32(20)) ^ uint32(256)))
    gain = p.gain * (ONE + p.errors * np.float32(errors)) * scale
    far = x - e.emitted
    elapsed = u((p.tick - (s >> uint32(19))) & uint32(8191))
    due = u(p.tick + place) % p.heartbeat < elapsed
    leaves = (far * far > (p.floor2 + p.deviation2 * var) * (gain * gain) or due or fresh
              or (s & uint32(3 << 1)) != uint32(0) or quality == uint32(7 << 3))
    if leaves:
        e.emitted = x
    spin = u(u(u(r << uint32(16)) | (r >> uint32(16))) >> uint32(8))
    if np.float32(spin) < max(nth, p.slow_alpha) * WARMING and warm < u(p.warm_max << uint32(13)):
        warm = u(warm + uint32(1 << 13))
    lower = u(errors - uint32(1 << 7)) if errors else errors
    e.state = u(uint32(1) | now | lower | warm | u(p.tick << uint32(19)))
    return z, leaves, quality == uint32(0), errors == uint32(16 << 7)


@njit(inline="always")
def failed(e, p, cause):
    """A failed reading into one entity; returns (message leaves, restart, first heard, now failing)."""
    s = e.state
    before, level = u(s >> uint32(1) & uint32(3)), u(s >> uint32(7) & uint32(63))
    fails, errors = min(u(before + uint32(1)), uint32(3)), min(u(level + uint32(8)), uint32(63))
    restart = fails == uint32(2) and before != uint32(2)
    warm = uint32(0) if restart else u(s >> uint32(13) & uint32(63))
    heard = (s >> uint32(3) & uint32(15)) == uint32(0)
    e.state = u(u(fails << uint32(1)) | u(cause << uint32(3)) | u(errors << uint32(7)) | u(warm << uint32(13))
                | u(p.tick << uint32(19)))
    return before == uint32(0), restart, heard, level < uint32(16) and errors >= uint32(16)


@njit(inline="always")
def put(messages, n, id, canal, valor, estado, time):
    m = messages[n]
    m.id, m.canal, m.valor, m.estado, m.time = id, canal, valor, estado, time


@njit(nogil=True, cache=True)
def fold(frames, entities, owner, canales, touched, windows, p, counts, messages, time):
    """Decode, check, filter and add up every frame; returns how many messages left."""
    n, sent = frames.shape[0] // 10, 0
    for i in range(n):
        f = frames[10 * i : 10 * i + 10]
        id = u(u(uint32(f[0]) << uint32(24)) | u(uint32(f[1]) << uint32(16)) | u(uint32(f[2]) << uint32(8)) | uint32(f[3]))
        bits = u(u(uint32(f[5]) << uint32(24)) | u(uint32(f[6]) << uint32(16)) | u(uint32(f[7]) << uint32(8)) | uint32(f[8]))
        if f[9] > 1:
            counts[0].malformed += 1
            continue
        if id >= entities.shape[0]:
            counts[0].id += 1
            continue
        segment = u(id // uint32(1000))
        if canales[segment] != np.int8(f[4]):
            counts[0].channel += 1
            continue
        w, x, canal = windows[owner[segment]], as_float(bits), canales[segment]
        if time < w.start or time >= w.end:
            counts[0].late += 1
            continue
        touched[segment] = 1
        place = u(id + segment * uint32(24))
        e, tick = entities[id], counts[0].folds
        counts[0].folds += 1
        if f[9] == 1 and abs(x) <= LARGEST:
            r = stir(u(u(place * uint32(0x9E3779B1)) + u(u(tick) * uint32(0x85EBCA6B))))
            z, leaves, heard, healed = good(e, p[0], x, r, u(place >> uint32(3)))
            d = np.float64(x) - w.origin
            w.sum += d
            w.squares += d * d
            w.min, w.max, w.score = min(x, w.min), max(x, w.max), max(z, w.score)
            w.count += uint32(1)
            counts[0].failing -= np.uint64(healed)
            if leaves:
                put(messages, sent, id, canal, x, 1, time)
        else:
            cause = uint32(6) if abs(x) <= LARGEST else uint32(5)
            leaves, restart, heard, sick = failed(e, p[0], cause)
            w.errors += uint32(1)
            counts[0].failing += np.uint64(sick)
            counts[0].restarts += np.uint64(restart)
            if leaves:
                put(messages, sent, id, canal, e.value, 0, time)
        counts[0].heard += np.uint64(heard)
        w.messages += uint32(leaves)
        sent += np.int64(leaves)
    counts[0].arrived += n
    counts[0].stored += np.uint64(sent)
    return sent


class ById:
    """Entities 0..n-1 in blocks of 1,000, folded by Numba."""

    def __init__(self, entities: int, params: Params, origin: float = 0.0) -> None:
        segments = -(-entities // 1000)
        self.entities = np.zeros(entities, ENTITY)
        self.owner, self.canales = np.arange(segments, dtype=np.uint32), np.full(segments, params.canal, np.int8)
        self.touched, self.windows = np.zeros(segments, np.uint8), np.zeros(segments, WINDOW)
        self.windows["min"], self.windows["max"] = np.inf, -np.inf
        self.windows["end"], self.windows["origin"] = 2**62, origin
        self.counts, self.params = np.zeros(1, COUNTS), np.zeros(1, PARAMS)
        for name in PARAMS.names:
            self.params[name] = getattr(params, name)
        self.messages = np.zeros(1_000_000, MESSAGE)

    def fold(self, frames: np.ndarray, time: int) -> np.ndarray:
        """Fold uint8[n * 10]; returns the messages."""
        sent = fold(frames, self.entities, self.owner, self.canales, self.touched, self.windows, self.params,
                    self.counts, self.messages, time)
        return self.messages[:sent]
