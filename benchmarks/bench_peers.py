"""Decode, a per-sensor EWMA filter and block aggregates, side by side: CoreC, NumPy, plain Python, streamz, Bytewax.

The peers do the simple work (one mean and one variance a sensor, a message when a value is far from it, four sums a block);
CoreC does its whole model meanwhile: two clocks, quality, warm-up, alerts.  Each side has the same batches of 1,000 frames
with uniform random ids among 100,000 sensors.  What is not installed (`pip install 'corec[bench-peers]'`) is left out.
"""
import math
import struct
import time

import numpy as np
import pytest

from benchmarks.workloads import START, engine_of, frames_of
from benchmarks.yardstick_numpy import NumpyFleet
from benchmarks.yardsticks import Params

ENTITIES, BLOCK, BATCH = 100_000, 1_000, 1_000
ALPHA, FAR = 0.05, 9.0
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "u1")])
#: Readings that each side is given: some take a second for what others do in a millisecond.
READINGS = {"CoreC": 4_000_000, "NumPy, CoreC's whole model": 1_000_000, "NumPy": 2_000_000, "plain Python": 200_000, "streamz": 50_000, "Bytewax": 50_000}


def batches(readings):
    rng = np.random.default_rng(4)
    return [frames_of(rng.integers(0, ENTITIES, BATCH, np.uint32), rng).tobytes() for _ in range(readings // BATCH)]


def corec(work):
    engine = engine_of(ENTITIES, ventana=3600)
    return timed(lambda: [engine.feed(frames, at=START) for frames in work])


def numpy(work):
    mean, var, sums = np.zeros(ENTITIES, np.float32), np.ones(ENTITIES, np.float32), np.zeros((ENTITIES // BLOCK, 4))

    def run():
        for frames in work:
            rows = np.frombuffer(frames, FRAME)
            rows = rows[(rows["estado"] == 1) & np.isfinite(rows["valor"])]
            ids, x = rows["id"].astype(np.int64), rows["valor"].astype(np.float32)
            d = x - mean[ids]
            far = d * d > FAR * var[ids]
            mean[ids] += np.float32(ALPHA) * d  # the last of two readings of one sensor wins: cheaper than right
            var[ids] += np.float32(ALPHA) * (d * d - var[ids])
            block = ids // BLOCK
            sums[:, 0] += np.bincount(block, minlength=len(sums))
            sums[:, 1] += np.bincount(block, x, minlength=len(sums))
            np.minimum.at(sums[:, 2], block, x)
            np.maximum.at(sums[:, 3], block, x)
            rows[far].tobytes()

    return timed(run)


def numpy_whole(work):
    fleet = NumpyFleet(ENTITIES, Params.of(engine_of(ENTITIES, ventana=3600)))
    return timed(lambda: [fleet.fold(np.frombuffer(frames, np.uint8), START) for frames in work])


class Sensors:
    """One reading at a time, as a function of a stream is written."""

    def __init__(self):
        self.mean, self.var = {}, {}
        self.sums = [[0, 0.0, math.inf, -math.inf] for _ in range(ENTITIES // BLOCK)]
        self.sent = 0

    def take(self, reading):
        id, _, x, ok = reading
        if not ok or x != x:
            return
        d = x - self.mean.get(id, 0.0)
        var = self.var.get(id, 1.0)
        self.sent += d * d > FAR * var
        self.mean[id] = self.mean.get(id, 0.0) + ALPHA * d
        self.var[id] = var + ALPHA * (d * d - var)
        block = self.sums[id // BLOCK]
        block[0] += 1
        block[1] += x
        block[2], block[3] = min(block[2], x), max(block[3], x)


def plain_python(work):
    sensors = Sensors()

    def run():
        for frames in work:
            for reading in struct.iter_unpack("!Ibf?", frames):
                sensors.take(reading)

    return timed(run)


def streamz(work):
    found = pytest.importorskip("streamz")
    sensors, source = Sensors(), found.Stream()
    source.map(lambda frames: list(struct.iter_unpack("!Ibf?", frames))).flatten().sink(sensors.take)
    return timed(lambda: [source.emit(frames) for frames in work])


def bytewax(work):
    pytest.importorskip("bytewax")
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    sensors, out = Sensors(), []
    flow = Dataflow("peers")
    stream = op.input("in", flow, TestingSource(work))
    readings = op.flat_map("decode", stream, lambda frames: struct.iter_unpack("!Ibf?", frames))
    passed = op.filter_map("filter", readings, sensors.take)
    op.output("out", passed, TestingSink(out))
    return timed(lambda: run_main(flow))


def timed(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


SIDES = {"CoreC": corec, "NumPy, CoreC's whole model": numpy_whole, "NumPy": numpy, "plain Python": plain_python, "streamz": streamz, "Bytewax": bytewax}


def test_side_by_side(report, quick):
    rates, missing = {}, []
    for name, side in SIDES.items():
        work = batches(READINGS[name] // (4 if quick else 1))
        try:
            rates[name] = len(work) * BATCH / min(side(work) for _ in range(1 if quick else 3))
        except pytest.skip.Exception:
            missing.append(name)
    lines = [["", "readings/s", "CoreC is faster by"], *([name, f"{rate:,.0f}", f"{rates['CoreC'] / rate:.1f}x"] for name, rate in rates.items())]
    report.table("Decode, EWMA filter, block aggregates; one core" + (f"; not installed: {', '.join(missing)}" if missing else ""), lines)
    for name, rate in rates.items():
        if name != "CoreC":
            report.note("peers", f"readings a second, against {name}", f"{rates['CoreC'] / 1e6:.1f} M/s", f"{rate / 1e6:.2f} M/s", rates["CoreC"] / rate)
