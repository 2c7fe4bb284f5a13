"""The state as bytes: one small piece for all but the entities, one compressed piece a segment."""
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from corec._core.arena import Arena
from corec._core.dtypes import BLOCK, POOL
from corec._core.wire import crc32c
from corec.config import Config, parse
from corec.engine.audit import saved_scores
from corec.engine.producer_marks import MOST_GAPS, Marks
from corec.engine.refused_times import RefusedTimes
from corec.engine.segment_keeper import OLDER, misfit
from corec.engine.snapshot_checks import (
    FLAGS,
    AccountRow,
    Channel,
    Count,
    Moment,
    Number64,
    Place,
    RefusedRow,
    Span,
    check_accounts,
    check_blocks,
    check_flags,
    check_ledger,
    check_passes,
    check_pool,
    check_scores,
    check_size,
    fusions_of,
    mutes_of,
)
from corec.engine.state import VERSION, EngineState
from corec.errors import DamagedFile, StorageError
from corec.version import VERSION as COREC_VERSION

MAGIC = b"CCSNAP01"


class Meta(msgspec.Struct):
    """All state but the tiles, as a snapshot has it: field by field in EngineState, columns of the arena as their bytes."""

    version: int
    config: dict[str, Any]
    stepped_at: list[tuple[Count, Span]]
    clock: Moment
    watermark: Span
    counters: tuple[Number64, Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)], Number64]
    ledger: bytes
    blocks: bytes
    flags: bytes
    owners: bytes
    last_ticks: bytes
    marks: list[AccountRow]
    gaps: Number64  # up to MOST_GAPS
    forgotten: Count
    cursor: dict[str, Place] = {}
    shard: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)] = 0
    fusions: list[tuple[Span, Count, Count, tuple[Count, ...]]] = []
    mutes: list[tuple[str | int, Span, str]] = []
    audit: bytes = b""
    shed_by: dict[str, dict[Channel, Count]] = {}
    pool: bytes = b""  # dtypes.POOL; before version 2 there was none
    clock_offset: Span = 0
    clock_anchor: Span = 0
    skipped: Span = 0
    refused: list[RefusedRow] = []

    @property
    def scores(self) -> np.ndarray:
        """dtypes.BLOCK_SCORE[blocks], or none where blocks have no score."""
        return saved_scores(self.audit, self.version)

    def running_config(self) -> Config:
        """The configuration as it ran; ConfigError where this CoreC no longer takes it, DamagedFile where the state is of another."""
        config = parse(self.config, source="the snapshot")
        check_size(config, self.blocks, self.flags, BLOCK.itemsize)
        check_accounts(self.marks)
        check_passes(config, self.stepped_at)
        check_scores(self.scores, len(self.blocks) // BLOCK.itemsize)
        if self.watermark > self.clock or self.gaps > MOST_GAPS:
            raise misfit("a clock that is behind its watermark, or more gaps than are counted")
        return config


def capture_state(state: EngineState) -> bytes:
    """All state but the tiles, as msgpack of `Meta`."""
    arena, marks = state.arena, state.marks
    segments = arena.segments
    return msgspec.msgpack.encode(Meta(
        version=VERSION, config=state.config.to_mapping(), stepped_at=sorted(state.stepped_at.items()),
        clock=arena.clock, watermark=arena.watermark, counters=arena.counters, ledger=arena.ledger.tobytes(),
        blocks=arena.blocks.tobytes(), flags=segments["flags"].tobytes(), owners=segments["owner"].tobytes(),
        last_ticks=segments["last_tick"].tobytes(), marks=marks.to_list(), gaps=marks.gaps, forgotten=marks.forgotten,
        cursor=state.cursor, shard=state.shard,
        fusions=[tuple(fusion) for fusion in state.fusions], mutes=[tuple(mute) for mute in state.mutes],
        audit=state.audit.state.tobytes() if state.audit else b"", shed_by=state.shed_by,
        pool=arena.pool.tobytes(), clock_offset=state.clock_offset, clock_anchor=state.clock_anchor, skipped=arena.skipped,
        refused=state.refused.packed(),
    ))  # fmt: skip


def restore_state(state: EngineState, meta: Meta, segments: Mapping[int, bytes]) -> None:
    """Put a saved state into a new one of the same configuration; DamagedFile when the parts do not fit each other.

    segments: segment -> compressed tiles.
    """
    arena = state.arena
    _restore_headers(arena, meta)
    arena.skipped, state.clock_offset, state.clock_anchor = meta.skipped, meta.clock_offset, meta.clock_anchor
    arena.advance(meta.clock, meta.clock - meta.watermark)
    _restore_pool(arena, meta)
    arena.counters = meta.counters
    state.stepped_at = dict(meta.stepped_at)
    state.fold_as(meta.version)
    state.cursor, state.shed_by = meta.cursor, meta.shed_by
    state.marks = Marks(meta.marks, meta.gaps, meta.forgotten)
    state.refused = _refused(meta)
    state.fusions = fusions_of(arena, state.topology.first_segment, arena.segments["owner"], meta.fusions)
    state.mutes = mutes_of(meta.mutes, state.block_ids)
    if state.audit and meta.audit:
        state.audit.restore(meta.scores)
    state.keeper.restore(segments)


def _restore_headers(arena: Arena, meta: Meta) -> None:
    """Put back blocks, ledger and what segments have beside their tiles."""
    rows, blocks = arena.segments, _elements("blocks", meta.blocks, arena.blocks)
    owners, flags = _elements("owners", meta.owners, rows["owner"]), _elements("flags", meta.flags, rows["flags"]) & np.uint8(FLAGS)
    ledger = _elements("ledger", meta.ledger, arena.ledger)
    check_blocks(arena, blocks, owners)
    check_ledger(ledger)
    check_flags(flags)
    arena.ledger[:], arena.blocks[:] = ledger, blocks
    rows["owner"], rows["flags"] = owners, flags
    rows["last_tick"] = _elements("last_ticks", meta.last_ticks, rows["last_tick"])


def _restore_pool(arena: Arena, meta: Meta) -> None:
    """DamagedFile when a window is of a block that does not exist."""
    try:
        pool = np.frombuffer(meta.pool, POOL)
        check_pool(arena, pool)
        arena.restore_pool(pool)
    except (IndexError, ValueError) as error:
        raise misfit(f"open windows that do not fit: {error}") from None


def _refused(meta: Meta) -> RefusedTimes:
    """DamagedFile when a batch is not whole."""
    try:
        return RefusedTimes(meta.refused)
    except ValueError as error:
        raise misfit(f"readings put aside that do not fit: {error}") from None


def _elements(name: str, data: bytes, like: np.ndarray) -> np.ndarray:
    if len(data) != like.nbytes:
        raise misfit(f"{len(data)} bytes of {name} instead of {like.nbytes}")
    return np.frombuffer(data, like.dtype)


class _Versioned(msgspec.Struct):
    version: int


def read_meta(data: bytes) -> Meta:
    """What `capture_state` gave as *data*; DamagedFile when it does not decode, StorageError when a newer CoreC wrote it."""
    try:
        version = msgspec.msgpack.decode(data, type=_Versioned).version
        if version > VERSION:
            raise StorageError(f"expected a snapshot of version 1 to {VERSION}, got {version}: a newer CoreC wrote it",
                               hint=f"this is CoreC {COREC_VERSION}: use the version that wrote it, or a newer one; nothing was changed")
        if version < 1:
            raise DamagedFile(f"expected a snapshot of version 1 to {VERSION}, got {version}", hint=OLDER)
        return msgspec.msgpack.decode(data, type=Meta)
    except msgspec.DecodeError as error:
        raise DamagedFile(f"the snapshot does not decode: {error}", hint=OLDER) from None


def pack_whole(state: EngineState) -> bytes:
    """The whole state in one piece: magic, CRC-32C of all that follows and the magic, then meta and segments."""
    meta, segments = capture_state(state), {segment: state.keeper.packed(segment) for segment in state.heard_segments()}
    body = msgspec.msgpack.encode([meta, sorted(segments.items())])
    return MAGIC + crc32c(body, crc32c(MAGIC)).to_bytes(4, "little") + body


def unpack_whole(blob: bytes) -> tuple[bytes, dict[int, bytes]]:
    """(meta, segment -> compressed tiles) of what `pack_whole` gave; DamagedFile when a byte changed."""
    view = memoryview(blob)
    body = view[12:]
    if len(view) < 12 or view[:8] != MAGIC or crc32c(body, crc32c(MAGIC)) != int.from_bytes(view[8:12], "little"):
        raise DamagedFile("the snapshot does not match its checksum", hint=OLDER)
    try:
        meta, segments = msgspec.msgpack.decode(body, type=tuple[bytes, list[tuple[int, bytes]]])
    except msgspec.DecodeError as error:
        raise DamagedFile(f"the snapshot does not decode: {error}", hint=OLDER) from None
    return meta, dict(segments)
