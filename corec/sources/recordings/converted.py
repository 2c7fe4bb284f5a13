"""Bytes of a file as plain UTF-8 with LF line ends: unpacked from gzip or zstd, decoded from UTF-16."""

import io
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable
from typing import IO, Any

import zstandard

#: What reading raises where packed data ends early or is damaged. All that could be unpacked was given before.
DAMAGE = (EOFError, zlib.error, zstandard.ZstdError)
_PART = 1 << 16
#: Bytes that are unpacked at once. 16 MB may come of them: deflate packs up to 1,032 times, a block of zstd 128 KB into four bytes.
_GZIP_PART, _ZSTD_PART = 1 << 14, 512
#: First bytes of files that are often taken for a CSV -> what they are, and what to do.
FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"BZh": ("data packed by bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ": ("data packed by xz", "unpack it: unxz"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it"),
    b"PAR1": ("a Parquet file", "save it as CSV"),
    b"SQLite f": ("an SQLite database", "export its table as CSV"),
    b"%PDF": ("a PDF", "export the table as CSV"),
}


def foreign(begin: bytes) -> tuple[str, str] | None:
    """(what a file of another kind is, what to do with it), by its first eight bytes."""
    return next((what for magic, what in FOREIGN.items() if begin.startswith(magic)), None)


def unpacked(raw: IO[bytes], begin: bytes) -> tuple[IO[bytes], str]:
    """(the content, the name of the packing).  begin: the first bytes."""
    if begin.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Unpacked(raw, lambda: zlib.decompressobj(31), _GZIP_PART), _PART), "gzip"
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        return io.BufferedReader(_Unpacked(raw, lambda: zstandard.ZstdDecompressor().decompressobj(), _ZSTD_PART), _PART), "zstd"
    return raw, ""


def as_utf8(stream: IO[bytes]) -> tuple[IO[bytes], str]:
    """(the text as UTF-8 without a byte-order mark, what it was)."""
    try:
        head = stream.peek(_PART)
    except DAMAGE:
        return stream, "UTF-8"  # the first line says what is wrong
    name = "UTF-8"
    if head.startswith(BOM_UTF8):
        stream.read(len(BOM_UTF8))
        name = "UTF-8 with a byte-order mark"
    elif encoding := _utf16(head[:512]):
        stream, name = io.BufferedReader(_Utf16(stream, encoding), _PART), "UTF-16"
        head = stream.peek(_PART)
    if b"\r" in head and b"\n" not in head:
        return io.BufferedReader(_Cr(stream, _PART), _PART), f"{name} with CR line ends"
    return stream, name


def _utf16(head: bytes) -> str:
    """The codec of text of which a quarter or more of the characters are ASCII, or that has a byte-order mark; else ''."""
    even, odd = head[: len(head) // 2 * 2 : 2], head[1::2]
    if head.startswith(BOM_UTF16_LE) or len(head) > 3 and not even.count(0) and 4 * odd.count(0) > len(odd):
        return "utf-16-le"
    return "utf-16-be" if head.startswith(BOM_UTF16_BE) or len(head) > 3 and not odd.count(0) and 4 * even.count(0) > len(even) else ""


class _Converted(io.RawIOBase):
    """A stream whose bytes are made from those of another."""

    def __init__(self, stream: IO[bytes], part: int) -> None:
        """part: bytes that are converted at once."""
        self._stream, self._part = stream, part
        self._ready, self._given = b"", 0  # converted bytes, and how many of them were read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        while self._given == len(self._ready):
            part = self._stream.read1(self._part)
            self._ready, self._given = self.convert(part), 0
            if not part and not self._ready:
                return 0
        following = self._ready[self._given : self._given + len(buffer)]
        buffer[: len(following)] = following
        self._given += len(following)
        return len(following)

    def convert(self, part: bytes) -> bytes:
        """The bytes made from *part*; b"" is the end."""
        raise NotImplementedError


class _Utf16(_Converted):
    """UTF-16 as UTF-8, without byte-order marks; what does not decode becomes U+FFFD."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        super().__init__(stream, _PART)
        self._decoder = getincrementaldecoder(encoding)("replace")

    def convert(self, part: bytes) -> bytes:
        return self._decoder.decode(part, final=not part).lstrip("\ufeff").encode()


class _Cr(_Converted):
    """Lines that ended in CR, with LF."""

    def convert(self, part: bytes) -> bytes:
        return part.replace(b"\r", b"\n")


class _Unpacked(_Converted):
    """The content of one or more packed members. One of DAMAGE is raised behind all content, where there is any."""

    def __init__(self, stream: IO[bytes], opened: Callable[[], Any], part: int) -> None:
        """opened: makes the decompressor of a member, with the attributes of zlib's."""
        super().__init__(stream, part)
        self._opened, self._member = opened, opened()
        self._begun, self._error = False, None

    def convert(self, part: bytes) -> bytes:
        if self._error:
            raise self._error
        if not part and self._begun and not self._member.eof:
            raise EOFError("the last member ends early")
        content = b""
        while part:
            if self._member.eof:
                part = part.lstrip(b"\0")  # padding
                if not part:
                    break
                self._member = self._opened()
            try:
                content += self._member.decompress(part)
            except DAMAGE as error:
                self._error = error
                if not content:
                    raise
                break
            self._begun, part = True, self._member.unused_data
        return content
