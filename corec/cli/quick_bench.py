"""Measures the kernels on this machine for a few seconds, beside yardsticks over the same bytes."""

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from corec._core import block
from corec._core.wire import decode_frames, encode_frames
from corec.cli.output.table import Table, columns, terminal_width
from corec.engine import Engine

ENTITIES = 1_000_000
READINGS = 200_000
START = 1_700_000_000_000
REPEATS = 5
#: Rounds after which entities know their usual values and send few messages.
WARM_UP = 20


class Figure(NamedTuple):
    """One line of the report: a rate, and that of a yardstick."""

    what: str
    per_s: float
    yardstick: str
    yard_per_s: float


def report() -> str:
    header = ["million a second", "CoreC", "yardstick", "it does", "ratio"]
    rows = [[what, f"{per_s / 1e6:,.1f}", yardstick, f"{yard_per_s / 1e6:,.1f}", f"{per_s / yard_per_s:.2f}"]
            for what, per_s, yardstick, yard_per_s in (measure() for measure in (whole_pass, by_id, encode, decode))]  # fmt: skip
    lines = columns(Table(header, rows, ["million a second", "yardstick"], ["yardstick"]), width=terminal_width())
    return "\n".join([f"one core, {block.SIMD}, best of {REPEATS} runs", "", *lines])


def whole_pass() -> Figure:
    """Time a pass over entities with a native function: compute, filter, aggregate."""
    engine = Engine({"bloques": [{"id": "b", "canal": 1, "entidades": ENTITIES, "funcion": "constant"}]})
    taken = _best(_clocked(engine.step), WARM_UP)
    scaled = np.ones(ENTITIES * 8, np.float32)
    return Figure(
        "whole pass, entities",
        ENTITIES / taken,
        "the same bytes scaled in place",
        ENTITIES / _best(lambda: _scale(scaled)),
    )


def by_id() -> Figure:
    """Time frames of random entities: decode, filter, aggregate."""
    engine = Engine({"bloques": [{"id": "b", "canal": 1, "entidades": ENTITIES}]})
    ids, valores = _columns()
    frames = encode_frames(ids, 1, valores, True)
    taken = _best(_clocked(lambda moment: engine.feed(frames, at=moment)), WARM_UP)
    state = np.zeros((5, ENTITIES), np.float32)
    yard = READINGS / _best(lambda: _filter(state, ids, valores))
    return Figure("readings by random id", READINGS / taken, "NumPy: the filter alone", yard)


def encode() -> Figure:
    ids, valores = _columns()
    canales, estados = np.ones(READINGS, np.int8), np.ones(READINGS, bool)
    rows = list(zip(ids.tolist(), canales.tolist(), valores.tolist(), estados.tolist(), strict=True))
    taken = _best(lambda: encode_frames(ids, canales, valores, estados))
    pack = struct.Struct("!Ibf?").pack
    return Figure(
        "frames encoded", READINGS / taken, "struct.pack", READINGS / _best(lambda: [pack(*row) for row in rows])
    )


def decode() -> Figure:
    ids, valores = _columns()
    frames = encode_frames(ids, 1, valores, True)
    unpack = struct.Struct("!Ibf?").iter_unpack
    taken = _best(lambda: decode_frames(frames))
    return Figure(
        "frames decoded", READINGS / taken, "struct.iter_unpack", READINGS / _best(lambda: list(unpack(frames)))
    )


def _columns() -> tuple[np.ndarray, np.ndarray]:
    """Random ids, and for each id the constant value that it reads."""
    ids = np.random.default_rng(1).integers(0, ENTITIES, READINGS, np.uint32)
    return ids, (ids % 50).astype(np.float32)


def _clocked(work: Callable[[int], object]) -> Callable[[], object]:
    """A function that calls *work* with a time that advances by 1 ms at each call."""
    moments = iter(range(START, START + 1_000_000))
    return lambda: work(next(moments))


def _scale(values: np.ndarray) -> None:
    values *= np.float32(1.0001)


def _filter(state: np.ndarray, ids: np.ndarray, valores: np.ndarray) -> None:
    value, emitted, fast, slow, var = state
    mean, variance = slow[ids], var[ids]
    bound = 3 * np.sqrt(variance) + 1
    step = np.clip(valores - mean, -bound, bound)
    slow[ids] = mean + step / 2000
    var[ids] = variance + (step * step - variance) / 2000
    fast[ids] += (valores - fast[ids]) / 16
    moved = np.square(valores - emitted[ids]) > 4 * variance
    emitted[ids[moved]] = valores[moved]
    value[ids] = valores


def _best(work: Callable[[], object], warm_up: int = 1) -> float:
    """Seconds of the shortest of a few runs."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
