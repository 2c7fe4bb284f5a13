"""corec._core.wire: frames against `struct`, envelopes against every kind of damage, checksums against RFC 3720."""
import itertools
import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core import wire
from corec.errors import DamagedBatch, FrameError
from corec.streams.age import aged
from tests.support.oracle.wire import crc32c as slow_crc32c
from tests.support.oracle.wire import read_envelope

FLOATS = st.floats(width=32)
READINGS = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(-128, 127), FLOATS, st.booleans()), max_size=50)
U64, I64 = st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1)
AGES = st.integers(0, 2**63 - 1)


def columns(readings):
    ids, canales, valores, estados = zip(*readings, strict=True) if readings else ((), (), (), ())
    return np.array(ids, np.uint32), np.array(canales, np.int8), np.array(valores, np.float32), np.array(estados, np.uint8)


def frames_of(count):
    return wire.encode_frames(np.arange(count), 1, np.linspace(0, 1, count, dtype=np.float32), 1)


def sealed(payload, *, flags=0, count=0, magic=b"CB", version=1):
    """An envelope whose checksum is right, whatever it holds."""
    head = struct.pack("!2sBBIQQQqI", magic, version, flags, count, 1, 1, 0, 0, len(payload))
    return head + struct.pack("!I", slow_crc32c(head + payload)) + payload


# --- frames ----------------------------------------------------------------------------------------


@given(READINGS)
def test_frames_are_those_of_struct(readings):
    # Given any readings, when they are encoded
    frames = wire.encode_frames(*columns(readings))
    # Then the bytes are struct's
    assert frames == b"".join(struct.pack("!Ibf?", *reading) for reading in readings)


@given(st.binary(max_size=600).map(lambda data: data[: len(data) // 10 * 10]))
def test_any_bytes_decode_as_struct_has_them(frames):
    # Given any whole frames, NaNs with a payload and last bytes of any kind among them
    ids, canales, valores, estados = wire.decode_frames(frames)
    # Then every bit of them comes out
    rows = zip(ids.tolist(), canales.tolist(), valores.view(np.uint32).tolist(), estados.tolist(), strict=True)
    assert list(rows) == list(struct.iter_unpack("!IbIB", frames))
    # And go back in: an estado is true or it is not
    again = wire.encode_frames(ids, canales, valores, estados)
    assert again == b"".join(struct.pack("!IbI?", *row) for row in struct.iter_unpack("!IbIB", frames))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1000])
def test_every_length_encodes_and_decodes(count):
    # Given more or fewer frames than a vector holds
    ids, canales, valores, estados = wire.decode_frames(frames_of(count))
    # Then none is lost
    np.testing.assert_array_equal(ids, np.arange(count))
    np.testing.assert_array_equal(valores, np.linspace(0, 1, count, dtype=np.float32))
    assert (canales == 1).all()
    assert (estados == 1).all()


@pytest.mark.parametrize("length", [1, 9, 11, 19, 1001])
def test_torn_frames_are_refused_with_the_arithmetic(length):
    with pytest.raises(FrameError) as caught:
        wire.decode_frames(bytes(length))
    assert f"got {length} bytes, {length % 10} more than {length // 10} frames" in str(caught.value)
    assert "HINT: a frame is struct '!Ibf?'" in str(caught.value)


def test_arrays_without_room_are_refused():
    # Given room for one frame less than there are
    ids, canales, bits, estados = np.empty(2, np.uint32), np.empty(2, np.int8), np.empty(2, np.uint32), np.empty(2, np.uint8)
    with pytest.raises(FrameError, match="room for 3 frames"):
        wire.decode_into(frames_of(3), ids, canales, bits, estados)
    with pytest.raises(FrameError, match="20 bytes of room"):
        wire.encode_into(np.empty(19, np.uint8), ids, canales, bits, estados)


# --- envelopes -------------------------------------------------------------------------------------

OFFSETS = st.none() | st.just("zero") | st.just("random")


@given(READINGS, OFFSETS, U64, U64, U64, I64, AGES, st.randoms(use_true_random=False))
def test_envelopes_give_back_what_they_were_given(readings, offsets, producer, epoch, sequence, at, age, dice):
    # Given any batch
    frames = wire.encode_frames(*columns(readings))
    if offsets is not None:
        offsets = np.array([dice.randint(-(2**31), 2**31 - 1) if offsets == "random" else 0 for _ in readings], np.int32)
    data = wire.pack_envelope(frames, producer=producer, epoch=epoch, sequence=sequence, time=at, offsets=offsets, age=age)
    # When it is unpacked, by the node and by the oracle
    found, plain = wire.unpack_envelope(data), read_envelope(data)
    # Then both have all of it
    assert (found.producer, found.epoch, found.sequence, found.time, found.count) == (producer, epoch, sequence, at, len(readings))
    assert bytes(found.frames) == plain.frames == frames
    assert plain[:4] == found[:4] and plain.age == found.age == age
    for got in (found.offsets, plain.offsets):
        np.testing.assert_array_equal([] if got is None else got, [] if offsets is None else offsets)


@pytest.mark.parametrize(("count", "flags"), [(0, 0), (1, 0), (63, 0), (64, 1), (1000, 1)])
def test_zstd_from_64_frames_on(count, flags):
    # Given batches around the limit
    data = wire.pack_envelope(frames_of(count), producer=1, epoch=1, sequence=0, time=0)
    # Then the flag says what was done, and it paid
    assert data[3] == flags
    assert (len(data) < 48 + count * 10) == bool(flags)


@given(st.integers(0, 100), st.lists(AGES, max_size=4))
def test_each_hop_adds_to_the_age_and_changes_nothing_else(count, held):
    # Given an envelope that several hops held
    data = before = wire.pack_envelope(frames_of(count), producer=3, epoch=4, sequence=5, time=6)
    for ms in held:
        data = wire.with_age(data, ms)
    # Then its age is the sum, up to what 63 bits hold
    found, plain = wire.unpack_envelope(data), read_envelope(data)
    assert found.age == plain.age == min(sum(held), 2**63 - 1)
    assert bytes(found.frames) == plain.frames == frames_of(count) and found[:5] == wire.unpack_envelope(before)[:5]


def test_damage_is_not_sealed_by_a_hop():
    # Given a damaged envelope, When a hop adds an age, Then the damage still shows
    data = bytearray(wire.pack_envelope(frames_of(3), producer=3, epoch=4, sequence=5, time=6))
    data[50] ^= 1
    with pytest.raises(DamagedBatch):
        wire.with_age(bytes(data), 5000)
    assert aged(bytes(data), 5000) == data


@pytest.mark.parametrize(("count", "offsets", "age"), [(2, None, 0), (3, np.arange(3, dtype=np.int32), 0), (80, None, 0), (2, None, 7)])
def test_every_flipped_bit_is_detected(count, offsets, age):
    # Given an envelope, plain, with offsets, compressed, or with an age
    data = wire.pack_envelope(frames_of(count), producer=3, epoch=4, sequence=5, time=6, offsets=offsets, age=age)
    # When any single bit of it changes, then it is refused
    for place, bit in itertools.product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        with pytest.raises(DamagedBatch):
            wire.unpack_envelope(bytes(damaged))


def test_every_truncation_and_every_tail_is_detected():
    data = wire.pack_envelope(frames_of(80), producer=3, epoch=4, sequence=5, time=6)
    for length in range(len(data)):
        with pytest.raises(DamagedBatch, match="expected a batch of"):
            wire.unpack_envelope(data[:length])
    with pytest.raises(DamagedBatch, match="expected a batch of"):
        wire.unpack_envelope(data + b"\0")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (sealed(b"", magic=b"CC"), "begins b'CB' version 1, got b'CC'"),
        (sealed(b"", version=2), "got b'CB' version 2"),
        (sealed(b"", flags=8), "expected flags 0..7"),
        (sealed(bytes(7), flags=4), "expected an age"),
        (sealed(b"\xff" * 8, flags=4), "expected an age of 0 ms and more"),
        (sealed(b"", count=wire.MAX_FRAMES + 1), "at most 1000000 frames"),
        (sealed(bytes(10), count=2), "expected 20 bytes for 2 frames, got 10"),
        (sealed(bytes(30), count=2), "expected 20 bytes for 2 frames, got 30"),
        (sealed(bytes(20), flags=2, count=2), "expected 28 bytes for 2 frames, got 20"),
        (sealed(b"", flags=1, count=2), "does not unpack"),
        (sealed(b"not zstd at all", flags=1, count=2), "does not unpack"),
        (sealed(zstandard.compress(bytes(30)), flags=1, count=2), "it declares 30"),
    ],
)
def test_batches_that_contradict_themselves_are_refused(data, said):
    # Given an envelope with a sound checksum and nonsense inside, then the error says what does not fit
    with pytest.raises(DamagedBatch) as caught:
        wire.unpack_envelope(data)
    assert said in str(caught.value)
    assert read_envelope(data) is None


def zstd_frame(content_size, body=b"", window=None):
    """A zstd frame that declares *content_size* bytes, by hand."""
    if window is None:
        return struct.pack("<IBQ", 0xFD2FB528, 0xE0, content_size) + struct.pack("<I", len(body) << 3 | 1)[:3] + body
    return struct.pack("<IBBI", 0xFD2FB528, 0x80, window, content_size) + struct.pack("<I", len(body) << 3 | 1)[:3] + body


def test_bomb_of_16_bytes_is_refused_before_it_is_unpacked():
    # Given 16 bytes that claim 8 GiB
    bomb = zstd_frame(8 << 30)
    assert len(bomb) == 16
    began = time.perf_counter()
    # When it is unpacked, then the claim is refused, not tried
    with pytest.raises(DamagedBatch, match="it declares 8589934592"):
        wire.unpack_envelope(sealed(bomb, flags=1, count=1000))
    assert time.perf_counter() - began < 0.5


def test_sound_frame_by_hand_is_taken():
    # Given a frame of the same make that claims what it holds: the test above fails for the claim alone
    assert wire.unpack_envelope(sealed(zstd_frame(20, bytes(20)), flags=1, count=2)).frames == bytes(20)


def test_window_larger_than_the_batch_is_refused():
    # Given a frame of 20 bytes that asks for 128 MB of window
    big = zstd_frame(20, bytes(20), window=17 << 3)
    assert zstandard.get_frame_parameters(big).window_size == 1 << 27
    with pytest.raises(DamagedBatch, match="expected a compressed payload of 20 bytes"):
        wire.unpack_envelope(sealed(big, flags=1, count=2))


def test_unstated_size_is_refused():
    # Given a frame that does not say how much it holds
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(20))
    with pytest.raises(DamagedBatch):
        wire.unpack_envelope(sealed(silent, flags=1, count=2))


@settings(max_examples=300)
@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 8))
def test_sealed_nonsense_never_does_worse_than_an_error(payload, flags, count):
    # Given any payload under a sound checksum
    data = sealed(payload, flags=flags, count=count)
    # Then it is a batch for both readers or for none
    plain = read_envelope(data)
    try:
        assert bytes(wire.unpack_envelope(data).frames) == plain.frames
    except DamagedBatch:
        assert plain is None or flags & 1   # the node is stricter about windows


def test_a_frame_has_one_size():
    # Given the struct of the documentation, the C header and what NumPy makes of a frame
    header = (Path(wire.__file__).parent / "layout.h").read_text()
    # Then all have the same size, and the channel stands where they say
    assert wire.FRAME_BYTES == struct.calcsize("!Ibf?") == wire.FRAME.itemsize == int(re.search(r"CC_FRAME = (\d+),", header)[1])
    frames = b"".join(struct.pack("!Ibf?", 7 * n, 3 + n % 2, n / 4, n % 2) for n in range(5))
    assert wire.channels_of(frames).tolist() == [3, 4, 3, 4, 3] and wire.channel_counts(frames) == {3: 3, 4: 2}
    assert np.frombuffer(frames, wire.FRAME).tolist() == [(7 * n, 3 + n % 2, n / 4, bool(n % 2)) for n in range(5)]


# --- checksums -------------------------------------------------------------------------------------

RFC_3720 = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (bytes.fromhex("01c00000000000000000000000000000140000000000040000000014000000182800000000000000" "0200000000000000"), 0xD9963A56),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


@pytest.fixture(params=[True, False], ids=["hardware", "table"])
def checksum(request):
    """crc32c, by instruction and by table."""
    wire.use_hardware_checksum(request.param)
    yield wire.crc32c
    wire.use_hardware_checksum(True)


@pytest.mark.parametrize(("data", "expected"), RFC_3720)
def test_checksums_of_rfc_3720(checksum, data, expected):
    assert checksum(data) == slow_crc32c(data) == expected


@given(st.binary(max_size=100), st.integers(0, 100))
def test_checksum_goes_on_where_it_stopped(data, cut):
    # Given data in two parts, then the checksum of the whole is that of the second, going on from the first
    assert wire.crc32c(data[cut:], wire.crc32c(data[:cut])) == wire.crc32c(data) == slow_crc32c(data)


@given(st.binary(max_size=300))
def test_hardware_and_table_agree(data):
    wire.use_hardware_checksum(False)
    by_table = wire.crc32c(data)
    wire.use_hardware_checksum(True)
    assert wire.crc32c(data) == by_table


def test_checksum_of_each_row():
    rows = np.array([(1, 2.5), (3, -4.5)], [("a", "<u4"), ("b", "<f8")])
    assert wire.crc32c_rows(rows).tolist() == [slow_crc32c(row.tobytes()) for row in rows]
