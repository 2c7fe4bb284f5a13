"""Damaged and forged batches: `unpack_envelope`, and an engine that is fed them."""

import struct

import numpy as np
import zstandard

from corec._core.wire import (
    AGE,
    HEADER,
    MAX_FRAMES,
    OFFSETS,
    ZSTD,
    Envelope,
    crc32c,
    encode_frames,
    pack_envelope,
    unpack_envelope,
    with_age,
)
from corec.config import parse
from corec.engine import Engine
from corec.errors import DamagedBatch
from tests.support.fuzz.mutation import Choices, mutated

TIME = 1_700_000_000_000
#: Everything that kernels index by what a snapshot says: limits, functions, sparse ids with limits of their own, blocks that can
#: be fused, segments that hibernate.
CONFIG = {
    "instance_id": "fuzz", "hibernar_tras": 1,
    "bloques": [
        {"id": "a", "canal": 1, "entidades": 1203, "ids": 0, "limites": {"alto": 90}, "ventana": 0.5, "entidades_por_bloque": 401},
        {"id": "b", "canal": 2, "entidades": 50, "ids": 5000, "silencio_max": 5},
        {"id": "f", "canal": 3, "entidades": 13, "ids": 6000, "intervalo": 2, "limites": {"alto": 6},
         "funcion": {"nombre": "sine", "a": 5.0, "b": 2.0, "periodo": 7.0}},
        {"id": "r", "canal": 3, "entidades": 5, "ids": 6100, "intervalo": 3, "funcion": {"nombre": "random", "a": 0.0, "b": 1.0}},
        {"id": "s", "canal": 4, "entidades": 20, "ids": {"device": [2**31 + 65536 * n for n in range(20)], "high": [50.0] * 20}},
    ],
}  # fmt: skip


def sample(count: int, sequence: int, with_offsets: bool) -> bytes:
    dice = np.random.default_rng(count)
    frames = encode_frames(dice.integers(0, 1203, count), 1, dice.normal(60, 20, count), True)
    offsets = dice.integers(-400, 0, count) if with_offsets else None
    return pack_envelope(frames, producer=count, epoch=1, sequence=sequence, time=TIME, offsets=offsets)


def sealed(data: bytes) -> bytes:
    """*data* with the length and checksum that its bytes need."""
    head, payload = data[: HEADER.size - 8], data[HEADER.size :]
    head += struct.pack("!I", len(payload))
    return head + struct.pack("!I", crc32c(payload, crc32c(head))) + payload


class Envelopes:
    name = "envelopes"

    def __init__(self) -> None:
        counts = (0, 1, 3, 63, 64, 700)
        self._samples = [sample(count, 7, with_offsets) for count in counts for with_offsets in (False, True)]
        self._samples.insert(0, with_age(sample(3, 7, True), 5000))
        self._config = parse(CONFIG)

    def check(self, choices: Choices) -> str:
        original = choices.one_of(self._samples)
        mode = choices.one_of((self._damaged, self._forged, self._packed_oddly))
        return mode(original, choices)

    def _damaged(self, original: bytes, choices: Choices) -> str:
        """Whatever happened to it on the way: refused, or nothing changed."""
        data = mutated(original, choices)
        got = self._read(data)
        if got is None:
            return "refused"
        want = unpack_envelope(original)
        assert same(got, want), f"expected {want}, got {got}"
        return "the same"

    def _forged(self, original: bytes, choices: Choices) -> str:
        """A producer that says anything, under a true checksum."""
        return "refused" if self._read(sealed(mutated(original, choices))) is None else "whole"

    def _packed_oddly(self, original: bytes, choices: Choices) -> str:
        """Payloads as other zstd encoders make them, and as none should."""
        payload, flags = plain_payload(original)
        payload = mutated(payload, choices) if choices.below(2) else payload
        packed = choices.one_of(PACKINGS)(payload)
        head = bytearray(original[: HEADER.size])
        head[3] = flags | ZSTD
        return "refused" if self._read(sealed(bytes(head) + packed)) is None else "whole"

    def _read(self, data: bytes) -> Envelope | None:
        self._feed(data)
        try:
            got = unpack_envelope(data)
        except DamagedBatch:
            return None
        check_whole(got)
        return got

    def _feed(self, data: bytes) -> None:
        """An engine takes any of them, goes on, and counts every reading."""
        engine = Engine(self._config)
        engine.turn([(data, TIME), (self._samples[-1], TIME + 500)], tick=TIME + 3000)
        ledger = engine.ledger
        parts = sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))
        Engine.restore(engine.snapshot())
        assert ledger["in"] == parts >= 700, f"expected {ledger['in']} readings accounted for, got {parts}"


def check_whole(got: Envelope) -> None:
    assert got.count <= MAX_FRAMES and len(got.frames) == got.count * 10, f"{got.count} frames in {len(got.frames)} bytes"
    assert got.offsets is None or (got.offsets.dtype == np.int32 and len(got.offsets) == got.count), got.offsets


def same(a: Envelope, b: Envelope) -> bool:
    return a._replace(frames=bytes(a.frames), offsets=None) == b._replace(frames=bytes(b.frames), offsets=None) and (
        a.offsets is b.offsets or np.array_equal(a.offsets, b.offsets)
    )


def plain_payload(data: bytes) -> tuple[bytes, int]:
    """The payload unpacked, and the flags it needs so."""
    payload = data[HEADER.size + (8 if data[3] & AGE else 0) :]
    return (zstandard.decompress(payload) if data[3] & ZSTD else payload), data[3] & OFFSETS


def _in_two(payload: bytes) -> bytes:
    return zstandard.compress(payload[:50]) + zstandard.compress(payload[50:])


def _with(**how) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(**how)


def _window(payload: bytes, log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log, write_content_size=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(payload))
    return packer.compress(payload) + packer.flush()


def _unsized(payload: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return packer.compress(payload) + packer.flush()


PACKINGS = (
    zstandard.compress, _in_two, _unsized, _with(level=19).compress, _with(write_checksum=True).compress,
    lambda payload: _window(payload, 10), lambda payload: _window(payload, 27), lambda payload: zstandard.compress(payload) + b"more",
    lambda payload: b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstandard.compress(payload), lambda payload: payload,
)  # fmt: skip
