"""Recordings of frames: batches in envelopes behind a magic, or bare frames that share one time."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from corec._core.wire import AGE, FRAME_BYTES, HEADER, MAX_FRAMES, OFFSETS, ZSTD, envelope_head, pack_envelope, unpack_envelope
from corec.common.times import iso
from corec.common.units import MB
from corec.errors import DamagedBatch, FrameError
from corec.sources.recordings.recording import RecordingPiece

#: First bytes of a .frames file. Envelopes follow.
MAGIC = b"CCFRAME1"
_ENVELOPE = b"CB\x01"
#: Bytes of the age before the payload of an envelope that has one.
AGE_BYTES = 8
_BLOCK = 1 << 16
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
#: How many times its size may be read in a damaged file, in search of sound batches.
SEARCHED = 16
#: Bare frames in one piece.
BARE = 10_000


class FramesRecording:
    """Batches with checksums. Damaged bytes are left out and counted."""

    unit = "batch"
    reading = "batches"
    names: Mapping[int, str] = {}
    first_line = 0
    newest_first = False
    replaced = ""

    def __init__(self, path: Path) -> None:
        self.about = (f"{path}: batches of frames, each with its own time",)
        self.size = path.stat().st_size
        self.rows = 0
        self.first_damage = 0
        self.damaged_bytes = 0
        self._path = path
        if self.size == len(MAGIC):
            raise FrameError(f"{path}: expected at least one batch, got an empty recording")

    @property
    def damaged(self) -> bool:
        """Whether bytes were found that belong to no sound batch."""
        return self.damaged_bytes > 0

    def pieces(self, span: int | None = None) -> Iterator[RecordingPiece]:
        """One piece for each batch. *span* does not cut it, because a batch was sent at one moment."""
        self._search = SEARCHED * self.size + MB
        with self._path.open("rb", buffering=MB) as stream:
            position = len(MAGIC)
            while position < self.size:
                envelope = _envelope_at(stream, position, self.size)
                if envelope is None:
                    position = self._skip(stream, position)
                    continue
                position += len(envelope)
                self.rows += 1
                start, end, count = _span(envelope)
                yield RecordingPiece(envelope, start, end, count, position)

    def notes(self) -> list[str]:
        """How many bytes were damaged, if any."""
        left_out = f"{self.damaged_bytes:,} bytes are in no sound batch and were left out"
        return [f"{left_out}, the first at byte {self.first_damage:,}"] if self.damaged else []

    def _skip(self, stream: BinaryIO, position: int) -> int:
        """Count the damage at *position*; return where the next sound batch begins, or the size where none is found."""
        self.first_damage = self.first_damage or position
        for following in _begins(stream, position + 1):
            envelope = _envelope_at(stream, following, self.size)
            if envelope is not None:
                break
            self._search -= _claimed(stream, following, self.size)
            if self._search < 0:  # a file made of heads of batches that are none
                following = self.size
                break
        else:
            following = self.size
        self.damaged_bytes += following - position
        return following


class BareRecording:
    """Frames without envelopes, all of one time."""

    unit = "frame"
    names: Mapping[int, str] = {}
    first_line = 0
    newest_first = False
    replaced = ""
    damaged = False

    def __init__(self, path: Path, at: int) -> None:
        self.size = path.stat().st_size
        self.reading = f"bare frames of {at}"
        self.about = (f"{path}: {self.size // FRAME_BYTES:,} bare frames, all of {iso(at)}",)
        self.rows = 0
        self._path, self._at = path, at
        if self.size % FRAME_BYTES:
            hint = "a recording of batches begins with " + repr(MAGIC) + "; a CSV takes no --at"
            raise FrameError(
                f"{path}: expected whole frames of {FRAME_BYTES} bytes, got {self.size:,} bytes", hint=hint
            )

    def pieces(self, span: int | None = None) -> Iterator[RecordingPiece]:
        with self._path.open("rb") as stream:
            while frames := stream.read(BARE * FRAME_BYTES):
                count = len(frames) // FRAME_BYTES
                envelope = pack_envelope(frames, producer=0, epoch=0, sequence=self.rows, time=self._at)
                self.rows += count
                yield RecordingPiece(envelope, self._at, self._at, count, stream.tell())

    def notes(self) -> list[str]:
        """Always empty: the engine counts bad frames."""
        return []


def write_frames(path: Path, envelopes: Iterable[bytes]) -> int:
    """Write a .frames file; return the number of batches."""
    count = 0
    with path.open("wb") as stream:
        stream.write(MAGIC)
        for envelope in envelopes:
            stream.write(envelope)
            count += 1
    return count


def _span(envelope: bytes) -> tuple[int, int, int]:
    """(oldest and newest time of an envelope in ms, its readings)."""
    _, count, _, _, _, time = envelope_head(envelope)
    try:
        offsets = unpack_envelope(envelope).offsets
    except DamagedBatch:  # who unpacks it counts that
        return time, time, count
    if offsets is None or not count:
        return time, time, count
    return time + int(offsets.min()), time + int(offsets.max()), count


def _envelope_at(stream: BinaryIO, position: int, size: int) -> bytes | None:
    """The sound envelope at *position*; None when there is none, or when the file ends before it does."""
    length = _claimed(stream, position, size)
    if not length:
        return None
    stream.seek(position)
    envelope = stream.read(length)
    try:
        envelope_head(envelope)
    except DamagedBatch:
        return None
    return envelope


def _claimed(stream: BinaryIO, position: int, size: int) -> int:
    """Bytes of the envelope of which the head at *position* may be; 0 where it is none."""
    stream.seek(position)
    head = stream.read(HEADER.size + AGE_BYTES + len(_ZSTD_FRAME))
    if len(head) < HEADER.size or not head.startswith(_ENVELOPE):
        return 0
    _, _, flags, count, _, _, _, _, length, _ = HEADER.unpack_from(head)
    aged = AGE_BYTES * bool(flags & AGE)
    plain = aged + (FRAME_BYTES + 4 * bool(flags & OFFSETS)) * count
    if flags & ZSTD:
        possible = head[HEADER.size + aged :].startswith(_ZSTD_FRAME) and length <= plain + MB
    else:
        possible = length == plain
    end = position + HEADER.size + length
    return HEADER.size + length if possible and count <= MAX_FRAMES and end <= size else 0


def _begins(stream: BinaryIO, position: int) -> Iterator[int]:
    """Where envelopes may begin, from *position* on."""
    while True:
        stream.seek(position)
        block = stream.read(_BLOCK)
        found = -1
        while (found := block.find(_ENVELOPE, found + 1)) >= 0:
            yield position + found
        if len(block) < _BLOCK:
            return
        position += _BLOCK - len(_ENVELOPE) + 1
