"""Zstandard: other readers understand what is packed, and nothing is unpacked beyond the size that was asked for."""
import struct
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from corec.common import zstandard as packing
from tests.support.oracle.wire import zstd

TEXT = b"a reading after the other " * 400


def window_of(frame):
    """By RFC 8878, 3.1.1.1, by hand."""
    if frame[4] & 0x20:
        return packing.declared_size(frame)
    base = 1 << 10 + (frame[5] >> 3)
    return base + base // 8 * (frame[5] & 7)


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_another_reader_unpacks_what_was_packed(data, times):
    packed = packing.pack(data * times)
    assert zstd.decompress(packed) == data * times == packing.unpack(packed, len(data) * times)


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_a_frame_is_the_one_that_earlier_versions_wrote(data, times):
    # Given the compressor of the standard library at level 1, with which batches and snapshots were written before
    content = data * times
    earlier = zstd.ZstdCompressor(level=1)
    frame = earlier.compress(content, earlier.FLUSH_FRAME)
    # Then its frame opens, and what is packed now opens in its reader: one plain frame that declares its size
    assert packing.unpack(frame, len(content)) == content
    packed = packing.pack(content)
    assert zstd.get_frame_info(packed).decompressed_size == len(content) and packed[:5] == frame[:5]
    reader = zstd.ZstdDecompressor()
    assert reader.decompress(packed, len(content) + 1) == content and reader.eof and not reader.unused_data


@pytest.mark.parametrize("log", [10, 15, 20, 27])
@pytest.mark.parametrize("text", [TEXT, TEXT * 300])
def test_size_and_window_are_read_as_the_format_says(text, log):
    # Given a frame with a window of its own, and a checksum behind it
    how = zstandard.ZstdCompressionParameters.from_level(3, window_log=log, write_content_size=True, write_checksum=True)
    packer = zstandard.ZstdCompressor(compression_params=how).compressobj(size=len(text))
    frame = packer.compress(text) + packer.flush()
    # Then both are read as by hand and by the other reader, and it unpacks
    assert packing.declared_size(frame) == zstd.get_frame_info(frame).decompressed_size == len(text)
    assert packing.declared_window(frame) == window_of(frame)
    assert packing.unpack(frame, len(text)) == text


@pytest.mark.parametrize("text", [TEXT, b""])
@pytest.mark.parametrize("cut", [0, 3, 6, 8, 40, -1])
def test_a_frame_that_is_cut_off_is_refused(cut, text):
    packed = packing.pack(text)
    with pytest.raises(packing.PackingError):
        packing.unpack(packed[: min(cut, len(packed) - 1)], len(text))


@pytest.mark.parametrize("size", [0, 1, len(TEXT) - 1, len(TEXT) + 1])
def test_another_size_than_was_asked_for_is_refused(size):
    with pytest.raises(packing.PackingError):
        packing.unpack(packing.pack(TEXT), size)


@pytest.mark.parametrize("declared", [8 << 30, 1 << 62])
def test_a_frame_that_declares_more_than_was_asked_for_is_not_unpacked(declared):
    # Given 13 bytes that declare gigabytes; unpacked by the package, they ask for that memory
    bomb = struct.pack("<IBQ", zstandard.MAGIC_NUMBER, 0xE0, declared)
    # When they are unpacked as a small frame, then that is refused before anything is allocated
    with pytest.raises(packing.PackingError, match=f"it declares {declared}"):
        packing.unpack(bomb + b"\1\0\0", 1000)


@pytest.mark.parametrize("declared", [0, 10, len(TEXT) - 1])
def test_a_frame_that_holds_more_than_it_declares_is_refused(declared):
    # Given a frame of TEXT whose header declares less
    packed = bytearray(zstandard.ZstdCompressor(level=1).compress(TEXT))
    assert packed[4] == 0x60 and packing.declared_size(packed) == len(TEXT)    # one segment, its size in two bytes, less 256
    forged = packed[:4] + bytes([0xA0]) + struct.pack("<I", declared) + packed[7:]
    assert packing.declared_size(forged) == declared
    with pytest.raises(packing.PackingError):
        packing.unpack(forged, declared)


def test_a_frame_that_declares_no_size_is_refused():
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    assert packing.declared_size(silent) is None
    with pytest.raises(packing.PackingError):
        packing.unpack(silent, len(TEXT))


def test_what_lies_behind_a_frame_is_left_alone():
    assert packing.unpack(packing.pack(TEXT) + packing.pack(TEXT), len(TEXT)) == TEXT


def test_threads_pack_and_unpack_at_the_same_time():
    # Given frames large enough for the interpreter's lock to be given back while one is worked on
    texts = [bytes([number]) * 7 + TEXT * (20 + number) for number in range(8)]
    failures = []

    def work(text):
        for _ in range(200):
            if packing.unpack(packing.pack(text), len(text)) != text:
                failures.append(text[0])
                return

    # When eight threads pack and unpack, each its own
    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Then each gets what it packed, and a frame that was refused spoils nothing
    assert not failures and not any(thread.is_alive() for thread in threads)
    with pytest.raises(packing.PackingError):
        packing.unpack(packing.pack(TEXT)[:-1], len(TEXT))
    assert packing.unpack(packing.pack(TEXT), len(TEXT)) == TEXT
