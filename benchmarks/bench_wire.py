"""Frames, checksums and envelopes: bytes -> columns -> bytes."""
import struct

import numpy as np
import pytest

from benchmarks.harness import millions
from corec._core import wire

FRAMES = 1_000_000
BATCH = 1_000
STRUCT = struct.Struct("!Ibf?")
#: At least so many times as fast as struct; at most so many times the time of memcpy.
STRUCT_TIMES, MEMCPY_TIMES = 25, 3
WANTED = {"struct": STRUCT_TIMES, "memcpy": 1 / MEMCPY_TIMES}


@pytest.fixture(scope="module")
def columns():
    """ids, channels, values as their bits, states of FRAMES frames."""
    rng = np.random.default_rng(1)
    valores = rng.normal(20, 1, FRAMES).astype(np.float32)
    return rng.integers(0, 2**32, FRAMES, np.uint32), np.ones(FRAMES, np.int8), valores.view(np.uint32), np.ones(FRAMES, np.uint8)


@pytest.fixture(scope="module")
def frames(columns):
    ids, canales, bits, estados = columns
    return np.frombuffer(bytearray(wire.encode_frames(ids, canales, bits.view(np.float32), estados)), np.uint8)


@pytest.fixture(scope="module")
def copies():
    """memcpy of the bytes of all frames, between buffers that are there."""
    source, target = np.ones(FRAMES * 10, np.uint8), np.zeros(FRAMES * 10, np.uint8)
    return lambda: np.copyto(target, source)


def rate(seconds):
    return FRAMES / seconds, millions(FRAMES / seconds, " frames")


def judge(report, what, best):
    """Against struct and against memcpy."""
    report.at_least("wire", f"{what}, against struct", STRUCT_TIMES, ours=rate(best["ours"]),
                    yardstick=(rate(best["struct"])[0], f"struct {rate(best['struct'])[1]}"))
    report.at_most("wire", f"{what}, against memcpy", MEMCPY_TIMES, ours=(best["ours"], rate(best["ours"])[1]),
                   yardstick=(best["memcpy"], f"memcpy {10 * FRAMES / best['memcpy'] / 1e9:.1f} GB/s"))


def test_decode(compete, report, frames, columns, copies):
    into = [np.empty_like(column) for column in columns]
    raw = frames.tobytes()
    sides = {"ours": lambda: wire.decode_into(frames, *into), "memcpy": copies, "struct": lambda: count(STRUCT.iter_unpack(raw))}
    best = compete(sides, wanted=WANTED)
    judge(report, "decode frames", best)


def test_encode(compete, report, frames, columns, copies):
    out = np.empty(FRAMES * 10, np.uint8)
    rows = list(STRUCT.iter_unpack(frames.tobytes()))
    sides = {"ours": lambda: wire.encode_into(out, *columns), "memcpy": copies, "struct": lambda: pack_all(rows)}
    best = compete(sides, wanted=WANTED)
    judge(report, "encode frames", best)


def count(rows):
    """Run an iterator to its end."""
    for _ in rows:
        pass


def pack_all(rows):
    pack = STRUCT.pack
    for row in rows:
        pack(*row)


def test_checksum(compete, report, full_form, frames, copies):
    best = compete({"ours": lambda: wire.crc32c(frames), "memcpy": copies}, seconds=3)
    report.note("wire", "crc32c", f"{10 * FRAMES / best['ours'] / 1e9:.1f} GB/s",
                f"memcpy {10 * FRAMES / best['memcpy'] / 1e9:.1f} GB/s", best["ours"] / best["memcpy"])


@pytest.mark.parametrize("what", ["pack", "unpack"])
def test_envelope(compete, report, full_form, frames, copies, what):
    batches = [frames[at : at + BATCH * 10].tobytes() for at in range(0, 100 * BATCH * 10, BATCH * 10)]
    packed = [pack(batch) for batch in batches]
    sides = {"pack": lambda: [pack(batch) for batch in batches], "unpack": lambda: [wire.unpack_envelope(each) for each in packed]}
    best = compete({"ours": sides[what], "memcpy": copies}, seconds=3)
    each = best["ours"] / len(batches)
    report.note("wire", f"envelope of {BATCH:,}: {what}", f"{each * 1e6:.0f} us, {each / BATCH * 1e9:.0f} ns a frame",
                f"{len(packed[0]) / BATCH:.1f} bytes a frame")


def pack(batch):
    return wire.pack_envelope(batch, producer=1, epoch=1, sequence=0, time=1_700_000_000_000)
