# cython: language_level=3, boundscheck=False
"""Frames and batch envelopes: bytes -> columns -> bytes, and the checksum both use.

A frame is struct '!Ibf?', 10 bytes.  An envelope is a 48-byte header and a payload; docs/formats.md
gives it byte by byte.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from corec._core.layout cimport CC_FRAME

import os
import struct
from typing import NamedTuple

import numpy as np

from corec.errors import DamagedBatch, FrameError
from corec.common.zstandard import PackingError, declared_size, declared_window, pack, unpack

cdef extern from "wire.h" nogil:
    void cc_crc32c_choose(int hardware)
    uint32_t cc_crc32c(uint32_t crc, const uint8_t *p, size_t n)
    void cc_frames_decode(const uint8_t *f, size_t n, uint32_t *ids, int8_t *canales, uint32_t *valores, uint8_t *estados)
    void cc_frames_encode(uint8_t *f, size_t n, const uint32_t *ids, const int8_t *canales, const uint32_t *valores,
                          const uint8_t *estados)

cc_crc32c_choose(os.environ.get("COREC_SIMD") != "base")

FRAME_BYTES = CC_FRAME
#: A frame as NumPy sees it.
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "?")])
FRAME_HINT = "a frame is struct '!Ibf?': id uint32, canal int8, valor float32, estado bool, big-endian"
_CANAL_AT = FRAME.fields["canal"][1]
HEADER = struct.Struct("!2sBBIQQQqII")
MAGIC, VERSION = b"CB", 1
ZSTD, OFFSETS, AGE = 1, 2, 4
_AGE = struct.Struct("!q")
#: Ages stop here, ms.
OLDEST = 2**63 - 1
#: Batches of this many frames and more are compressed; below, zstd costs more bytes than it saves.
COMPRESS_FROM = 64
#: Frames that one envelope may carry: what a reader must be ready to hold (14 MB with offsets).
MAX_FRAMES = 1_000_000


class Envelope(NamedTuple):
    """One batch; *frames* is count * 10 bytes, *offsets* int32[count] ms to *time* or None, *age* ms that it was held on its way."""

    producer: int
    epoch: int
    sequence: int
    time: int
    count: int
    frames: bytes
    offsets: object
    age: int = 0


def crc32c(const uint8_t[::1] data not None, uint32_t value=0):
    """CRC-32C of *data*, going on from *value*."""
    if data.shape[0] == 0:
        return value
    return cc_crc32c(value, &data[0], data.shape[0])


def crc32c_rows(rows):
    """CRC-32C of each element of a structured array: uint32[n]."""
    cdef const uint8_t[:, ::1] raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    out = np.empty(len(rows), np.uint32)
    cdef uint32_t[::1] sums = out
    cdef Py_ssize_t i
    for i in range(raw.shape[0]):
        sums[i] = cc_crc32c(0, &raw[i, 0], raw.shape[1])
    return out


def use_hardware_checksum(bint yes):
    """Choose between the processor's CRC-32C (where it has one) and the table; both give the same."""
    cc_crc32c_choose(yes)


def whole_frames(length):
    """How many frames *length* bytes are; FrameError when they are not whole."""
    count, rest = divmod(length, FRAME_BYTES)
    if rest:
        raise FrameError(f"expected whole frames of {FRAME_BYTES} bytes, got {length} bytes, {rest} more than {count} frames",
                         hint=FRAME_HINT)
    return count


def channels_of(frames):
    """int8[n]: the channel of each frame, a view; bytes beyond whole frames are not refused here."""
    return np.frombuffer(frames, np.int8)[_CANAL_AT::FRAME_BYTES]


def channel_counts(frames):
    """How many frames each channel has, by channel."""
    channels, counts = np.unique(channels_of(frames), return_counts=True)
    return dict(zip(channels.tolist(), counts.tolist()))


def decode_frames(const uint8_t[::1] frames not None):
    """(ids uint32[n], canales int8[n], valores float32[n], estados uint8[n]) of n * 10 bytes.

    Nothing is judged here: an estado other than 0 or 1 and a negative canal come out as they are.
    Raises FrameError when the length is no multiple of 10.
    """
    cdef size_t n = whole_frames(frames.shape[0])
    ids, canales = np.empty(n, np.uint32), np.empty(n, np.int8)
    valores, estados = np.empty(n, np.uint32), np.empty(n, np.uint8)
    if n:
        decode_into(frames, ids, canales, valores, estados)
    return ids, canales, valores.view(np.float32), estados


def decode_into(const uint8_t[::1] frames not None, uint32_t[::1] ids not None, int8_t[::1] canales not None,
                uint32_t[::1] valores not None, uint8_t[::1] estados not None):
    """Decode into arrays that are there (valores as their bits, uint32); returns how many frames."""
    cdef size_t n = whole_frames(frames.shape[0])
    if <size_t>min(ids.shape[0], canales.shape[0], valores.shape[0], estados.shape[0]) < n:
        raise FrameError(f"expected room for {n} frames in every array")
    if n:
        with nogil:
            cc_frames_decode(&frames[0], n, &ids[0], &canales[0], &valores[0], &estados[0])
    return n


def column(values, dtype):
    """*values* as elements one behind the other and aligned, as C reads them; np.frombuffer may give others."""
    return np.require(np.ascontiguousarray(values, dtype), requirements="A")


def encode_frames(ids, canales, valores, estados):
    """n * 10 bytes of frames from four columns; scalars are repeated."""
    ids = column(ids, np.uint32)
    n = len(ids)
    canales = np.ascontiguousarray(np.broadcast_to(np.asarray(canales, np.int8), n))
    bits = column(np.broadcast_to(np.asarray(valores, np.float32), n), np.float32).view(np.uint32)
    estados = np.ascontiguousarray(np.broadcast_to(np.asarray(estados, np.uint8), n))
    out = PyBytes_FromStringAndSize(NULL, n * CC_FRAME)
    encode_into(<uint8_t[:n * CC_FRAME]><uint8_t *>PyBytes_AS_STRING(out) if n else np.empty(0, np.uint8), ids, canales, bits, estados)
    return out


def encode_into(uint8_t[::1] frames not None, const uint32_t[::1] ids not None, const int8_t[::1] canales not None,
                const uint32_t[::1] valores not None, const uint8_t[::1] estados not None):
    """Encode columns (valores as their bits, uint32) into *frames*; returns how many."""
    cdef size_t n = ids.shape[0]
    if <size_t>frames.shape[0] < n * CC_FRAME or <size_t>min(canales.shape[0], valores.shape[0], estados.shape[0]) < n:
        raise FrameError(f"expected {n * CC_FRAME} bytes of room and columns of {n}")
    if n:
        with nogil:
            cc_frames_encode(&frames[0], n, &ids[0], &canales[0], &valores[0], &estados[0])
    return n


def pack_envelope(frames, *, producer, epoch, sequence, time, offsets=None, age=0):
    """One batch as bytes.  *frames*: n * 10 bytes; *time*: ms; *offsets*: int32[n] ms to it, or None; *age*: ms it was held so far."""
    cdef size_t count = whole_frames(len(frames))
    payload, flags = bytes(frames), 0
    if offsets is not None:
        payload, flags = payload + np.ascontiguousarray(offsets, ">i4").tobytes(), OFFSETS
    if count >= COMPRESS_FROM:
        payload, flags = pack(payload), flags | ZSTD
    return _sealed(flags, count, producer, epoch, sequence, time, age, payload)


def with_age(data, more):
    """The envelope *data* after it was held for *more* ms; DamagedBatch as in `envelope_head`."""
    flags, count, producer, epoch, sequence, time = envelope_head(data)
    age = min(_age_of(data, flags) + more, OLDEST)
    return _sealed(flags & ~AGE, count, producer, epoch, sequence, time, age, memoryview(data)[_payload_at(flags):])


def _sealed(flags, count, producer, epoch, sequence, time, age, payload):
    """An envelope of its parts; *payload*: without the age."""
    aged, flags = (_AGE.pack(age), flags | AGE) if age else (b"", flags)
    head = HEADER.pack(MAGIC, VERSION, flags, count, producer, epoch, sequence, time, len(aged) + len(payload), 0)[:-4]
    return b"".join((head, crc32c(payload, crc32c(head + aged)).to_bytes(4, "big"), aged, payload))


def _payload_at(flags):
    return HEADER.size + (_AGE.size if flags & AGE else 0)


def _age_of(data, flags):
    return _AGE.unpack_from(data, HEADER.size)[0] if flags & AGE else 0


def envelope_head(data):
    """(flags, count, producer, epoch, sequence, time, payload length) after all checks but the payload's."""
    if len(data) < HEADER.size:
        raise DamagedBatch(f"expected a batch of at least {HEADER.size} bytes, got {len(data)}")
    magic, version, flags, count, producer, epoch, sequence, time, length, crc = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise DamagedBatch(f"expected a batch that begins {MAGIC!r} version {VERSION}, got {magic!r} version {version}")
    if len(data) != HEADER.size + length:
        raise DamagedBatch(f"expected a batch of {HEADER.size + length} bytes, got {len(data)}")
    view = memoryview(data)
    if crc32c(view[HEADER.size:], crc32c(view[:HEADER.size - 4])) != crc:
        raise DamagedBatch("the batch does not match its checksum", hint="send it again; its sequence keeps it from counting twice")
    if flags & ~(ZSTD | OFFSETS | AGE) or count > MAX_FRAMES:
        raise DamagedBatch(f"expected flags 0..7 and at most {MAX_FRAMES} frames, got flags {flags} and {count} frames")
    if flags & AGE and (length < _AGE.size or _age_of(data, flags) < 0):
        raise DamagedBatch(f"expected an age of 0 ms and more behind the header, got {bytes(view[HEADER.size:HEADER.size + _AGE.size])!r}")
    return flags, count, producer, epoch, sequence, time


def unpack_envelope(data):
    """The Envelope in *data*.  Raises DamagedBatch on a wrong length, checksum, flag or count."""
    flags, count, producer, epoch, sequence, time = envelope_head(data)
    body = memoryview(data)[_payload_at(flags):]
    expected = count * (FRAME_BYTES + (4 if flags & OFFSETS else 0))
    if flags & ZSTD:
        body = _decompress(body, expected)
    if len(body) != expected:
        raise DamagedBatch(f"expected {expected} bytes for {count} frames, got {len(body)}")
    offsets = np.frombuffer(body, ">i4", count, count * FRAME_BYTES).astype(np.int32) if flags & OFFSETS else None
    return Envelope(producer, epoch, sequence, time, count, body[:count * FRAME_BYTES], offsets, _age_of(data, flags))


def _decompress(body, expected):
    """Checks the declared size and window first: they are what a reader would have to hold."""
    try:
        declared = declared_size(body)
        if declared != expected or declared_window(body) > max(expected, 1024):
            raise DamagedBatch(f"expected a compressed payload of {expected} bytes, it declares {declared}")
        return unpack(body, expected)
    except PackingError as error:
        raise DamagedBatch(f"the compressed payload does not unpack: {error}") from None
