"""Compressed bytes: what one writes another reader understands, and a reader never holds more than it was told."""
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from corec.common import zstandard as packing

TEXT = b"a reading after the other " * 400


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_another_reader_unpacks_what_was_packed(data, times):
    packed = packing.pack(data * times)
    assert zstandard.ZstdDecompressor().decompress(packed) == data * times == packing.unpack(packed, len(data) * times)


@pytest.mark.parametrize("log", [10, 15, 20, 27])
@pytest.mark.parametrize("text", [TEXT, TEXT * 300])
def test_size_and_window_are_read_as_another_reader_reads_them(text, log):
    # Given a frame with a window of its own, and a checksum behind it
    how = zstandard.ZstdCompressionParameters.from_level(3, window_log=log, write_content_size=True, write_checksum=True)
    packer = zstandard.ZstdCompressor(compression_params=how).compressobj(size=len(text))
    frame = packer.compress(text) + packer.flush()
    # Then both say the same of it, and it unpacks
    other = zstandard.get_frame_parameters(frame)
    assert (packing.declared_size(frame), packing.declared_window(frame)) == (other.content_size, other.window_size)
    assert packing.unpack(frame, len(text)) == text


@pytest.mark.parametrize("cut", [0, 3, 8, 40, -1])
def test_a_frame_that_is_cut_off_is_refused(cut):
    with pytest.raises(packing.PackingError):
        packing.unpack(packing.pack(TEXT)[:cut], len(TEXT))


@pytest.mark.parametrize("size", [0, 1, len(TEXT) - 1, len(TEXT) + 1])
def test_another_size_than_was_asked_for_is_refused(size):
    with pytest.raises(packing.PackingError):
        packing.unpack(packing.pack(TEXT), size)


def test_what_lies_behind_a_frame_is_left_alone():
    assert packing.unpack(packing.pack(TEXT) + packing.pack(TEXT), len(TEXT)) == TEXT
