"""The state as bytes: one small piece for all but the entities, one compressed piece a segment.

SegmentKeeper owns what happens to segments between folds: hibernation, waking, and being handed to a
snapshot unchanged while turns go on.
"""
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from corec._core.arena import Arena
from corec._core.dtypes import TILE
from corec._core.wire import crc32c
from corec.common.zstandard import PackingError, declared_size, pack, unpack
from corec.config import parse
from corec.engine.columns import LATEST_TIME
from corec.engine.fusion import Fusion
from corec.engine.mutes import Mute
from corec.engine.producer_marks import Marks
from corec.errors import DamagedFile

if TYPE_CHECKING:
    from corec.engine import Engine

HEARD, DIRTY, FROZEN, PENDING, MIXED = 1, 2, 4, 8, 16
ATTENTION = FROZEN | PENDING
VERSION = 1
MAGIC = b"CCSNAP01"
LANES = 8
OLDER = "use an older snapshot; the journal replays what came since"
#: Segments that hibernate in one go: 3 ms of work at most.
HIBERNATE_AT_ONCE = 32


class SegmentKeeper:
    """Sees to segments that must not simply be written to."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._flags = arena.segments["flags"]
        self._queue: OrderedDict[int, None] = OrderedDict()  # segments that are PENDING
        self._aside: deque[tuple[int, bytes]] = deque()

    def refresh(self) -> None:
        """The arena has more segments now."""
        self._flags = self._arena.segments["flags"]

    def packed(self, segment: int) -> bytes:
        """A segment as compressed tiles, awake or not."""
        return self._arena.frozen.get(segment) or pack(self._arena.read_segment(segment))

    # --- before a write ------------------------------------------------------------------------

    def settle(self, segment: int) -> None:
        """Make a segment ready to be written to."""
        if self._flags[segment] & PENDING:
            self._aside.append(self._take(segment))
        if self._flags[segment] & FROZEN:
            self.thaw(segment)

    def asleep_since_repair(self, segments: np.ndarray) -> np.ndarray:
        """bool[n]: hibernated and not heard since a repair looked at them: what fails of them waits until it is heard."""
        rows = self._arena.segments[segments]
        return (rows["flags"] & FROZEN > 0) & (rows["repaired_at"] > rows["last_tick"])

    def thaw(self, segment: int) -> None:
        """Wake a hibernated segment."""
        piece = self._arena.frozen.pop(segment)
        self._arena.write_segment(segment, unpack(piece, declared_size(piece)))
        self._flags[segment] &= ~np.uint8(FROZEN)

    # --- hibernation ---------------------------------------------------------------------------

    def hibernate(self, after: int) -> None:
        """Compress segments idle for more than *after* seconds whose entities all count as silent; 0 is never."""
        if not after:
            return
        rows, policies = self._arena.segments, self._arena.policies
        silence = (policies["silence"] + 1) << policies["tick_shift"]
        idle = self._arena.tick - rows["last_tick"].astype(np.int64)
        asleep = (idle > np.maximum(after, silence[rows["policy"]])) & (rows["flags"] & (HEARD | ATTENTION) == HEARD)
        for segment in np.flatnonzero(asleep)[:HIBERNATE_AT_ONCE].tolist():
            self.freeze(segment)

    def freeze(self, segment: int) -> None:
        """Compress an awake segment whose entities all count as silent, and give its pages back."""
        self._arena.frozen[segment] = pack(self._arena.read_segment(segment))
        self._flags[segment] |= FROZEN
        self._arena.release_segment(segment)

    # --- snapshots -----------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Segments still to be handed out."""
        return len(self._queue) + len(self._aside)

    def begin(self, *, whole: bool, owed: Collection[int] = ()) -> None:
        """From now on every changed or *owed* segment (every heard one, if *whole*) is due as it is."""
        self._abandon()
        self._flags[list(owed)] |= np.uint8(DIRTY)
        wanted = HEARD if whole else DIRTY
        due = np.flatnonzero(self._flags & wanted)
        self._flags[due] |= np.uint8(PENDING)
        self._flags[due] &= ~np.uint8(DIRTY)
        self._queue.update(dict.fromkeys(due.tolist()))

    def hand_out(self, limit: int | None) -> Iterator[tuple[int, bytes]]:
        """Up to *limit* pieces, those set aside first."""
        given = 0
        while (limit is None or given < limit) and self.pending:
            given += 1
            yield self._aside.popleft() if self._aside else self._take(next(iter(self._queue)))

    def _take(self, segment: int) -> tuple[int, bytes]:
        del self._queue[segment]
        self._flags[segment] &= ~np.uint8(PENDING)
        return segment, self.packed(segment)

    def _abandon(self) -> None:
        """An unfinished snapshot is given up: what it still wanted counts as changed again."""
        self._flags[self._flags & PENDING != 0] |= np.uint8(DIRTY)
        self._flags &= ~np.uint8(PENDING)
        for segment, _ in self._aside:
            self._flags[segment] |= np.uint8(DIRTY)
        self._queue.clear()
        self._aside.clear()

    def restore(self, segments: Mapping[int, bytes]) -> None:
        """Put tiles back; what hibernated stays compressed."""
        for segment, piece in segments.items():
            self._check_piece(segment, piece)
            if self._flags[segment] & FROZEN:
                self._arena.frozen[segment] = bytes(piece)
            else:
                self._arena.write_segment(segment, self._unpack(segment, piece))
        asleep = np.flatnonzero(self._flags & FROZEN).tolist()
        if asleep != sorted(self._arena.frozen):
            raise _misfit(f"segments {sorted(self._arena.frozen)} for those that hibernate, {asleep}")

    def _check_piece(self, segment: int, piece: bytes) -> None:
        """DamagedFile unless *piece* says that it unpacks to the tiles of *segment*."""
        if not 0 <= segment < len(self._flags):
            raise _misfit(f"segment {segment} of {len(self._flags)}")
        expected = -(-int(self._arena.segments[segment]["used"]) // LANES) * TILE.itemsize
        try:
            declared = declared_size(piece)
        except PackingError as error:
            raise _misfit(f"segment {segment}, which does not unpack: {error}") from None
        if declared != expected:
            raise _misfit(f"segment {segment} in {declared} bytes instead of {expected}")

    def _unpack(self, segment: int, piece: bytes) -> bytes:
        try:
            return unpack(piece, declared_size(piece))
        except PackingError as error:
            raise _misfit(f"segment {segment}, which does not unpack: {error}") from None


Count = Annotated[int, msgspec.Meta(ge=0)]


class State(msgspec.Struct):
    """All state but the tiles, as a snapshot has it; columns as their bytes."""

    version: int
    config: dict[str, Any]
    stepped_at: list[tuple[int, int]]
    clock: Annotated[int, msgspec.Meta(ge=0, le=LATEST_TIME)]
    watermark: Annotated[int, msgspec.Meta(ge=-LATEST_TIME, le=LATEST_TIME)]
    counters: tuple[Count, Count, Count]
    ledger: bytes
    blocks: bytes
    flags: bytes
    owners: bytes
    last_ticks: bytes
    marks: list[tuple[int, int, int]]
    gaps: int
    forgotten: int
    cursor: dict[str, str] = {}
    shard: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)] = 0
    fusions: list[tuple[int, int, int, tuple[int, ...]]] = []
    mutes: list[tuple[str | int, int, str]] = []
    audit: bytes = b""
    shed_by: dict[str, dict[str, Count]] = {}


def capture_state(engine: "Engine") -> bytes:
    """All state but the tiles."""
    arena, marks = engine.arena, engine.marks
    segments = arena.segments
    return msgspec.msgpack.encode(State(
        version=VERSION, config=engine.config.to_mapping(), stepped_at=sorted(engine._stepped_at.items()),
        clock=arena.clock, watermark=arena.watermark, counters=arena.counters, ledger=arena.ledger.tobytes(),
        blocks=arena.blocks.tobytes(), flags=segments["flags"].tobytes(), owners=segments["owner"].tobytes(),
        last_ticks=segments["last_tick"].tobytes(), marks=marks.to_list(), gaps=marks.gaps, forgotten=marks.forgotten,
        cursor=engine.cursor, shard=engine.shard,
        fusions=[tuple(fusion) for fusion in engine.fusions], mutes=[tuple(mute) for mute in engine.mutes],
        audit=engine.audit.state.tobytes() if engine.audit else b"", shed_by=engine.shed_by,
    ))  # fmt: skip


def assemble_state(cls: type["Engine"], meta: bytes, segments: Mapping[int, bytes]) -> "Engine":
    """The engine that `capture_state` saw, with these tiles; DamagedFile when they do not fit each other."""
    state = _decode(meta)
    engine = cls(parse(state.config, source="the snapshot"), shard=state.shard)
    arena = engine.arena
    _restore_headers(arena, state)
    arena.advance(state.clock, state.clock - state.watermark)
    arena.counters = state.counters
    engine._stepped_at = dict(state.stepped_at)
    engine.cursor, engine.shed_by = state.cursor, state.shed_by
    engine.marks = Marks.from_list(state.marks, state.gaps, state.forgotten)
    engine.fusions = _fusions(arena, state)
    engine.mutes = _mutes(engine, state)
    if engine.audit and state.audit:
        engine.audit.restore(state.audit)
    engine.restore_segments(segments)
    engine._begin()
    return engine


def _restore_headers(arena: Arena, state: State) -> None:
    """Kernels trust indexes: none may lead out of the arena."""
    rows, blocks = arena.segments, _elements("blocks", state.blocks, arena.blocks)
    owners = _elements("owners", state.owners, rows["owner"])
    if (blocks["policy"] != arena.blocks["policy"]).any() or (owners >= len(blocks)).any():
        raise _misfit("blocks of another configuration")
    arena.ledger[:] = _elements("ledger", state.ledger, arena.ledger)
    arena.blocks[:], rows["owner"] = blocks, owners
    rows["flags"] = _elements("flags", state.flags, rows["flags"]) & np.uint8(HEARD | FROZEN | MIXED)
    rows["last_tick"] = _elements("last_ticks", state.last_ticks, rows["last_tick"])


def _fusions(arena: Arena, state: State) -> list[Fusion]:
    """The fusions that stand; their blocks and segments are there."""
    fusions = [Fusion(*fields) for fields in state.fusions]
    blocks = [index for fusion in fusions for index in (fusion.block, fusion.host)]
    segments = [segment for fusion in fusions for segment in fusion.segments]
    if not all(0 <= index < len(arena.blocks) for index in blocks) or not all(0 <= index < len(arena.segments) for index in segments):
        raise _misfit("fusions of blocks that are not there")
    return fusions


def _mutes(engine: "Engine", state: State) -> list[Mute]:
    """The mutes that stand; their blocks are there."""
    mutes = [Mute(*fields) for fields in state.mutes]
    if any(isinstance(mute.subject, str) and mute.subject not in engine.block_ids for mute in mutes):
        raise _misfit("mutes of blocks that are not there")
    return mutes


def _elements(name: str, data: bytes, like: np.ndarray) -> np.ndarray:
    if len(data) != like.nbytes:
        raise _misfit(f"{len(data)} bytes of {name} instead of {like.nbytes}")
    return np.frombuffer(data, like.dtype)


def _misfit(got: str) -> DamagedFile:
    return DamagedFile(f"expected a snapshot whose parts fit its configuration, got {got}", hint=OLDER)


class _Versioned(msgspec.Struct):
    version: int


def _decode(meta: bytes) -> State:
    try:
        version = msgspec.msgpack.decode(meta, type=_Versioned).version
        if version != VERSION:
            raise DamagedFile(f"expected a snapshot of version {VERSION}, got {version}")
        return msgspec.msgpack.decode(meta, type=State)
    except msgspec.DecodeError as error:
        raise DamagedFile(f"the snapshot does not decode: {error}", hint=OLDER) from None


def pack_whole(meta: bytes, segments: Mapping[int, bytes]) -> bytes:
    """One blob: magic, checksum, then both parts."""
    body = msgspec.msgpack.encode([meta, sorted(segments.items())])
    return MAGIC + crc32c(body, crc32c(MAGIC)).to_bytes(4, "little") + body


def unpack_whole(blob: bytes) -> tuple[bytes, dict[int, bytes]]:
    """(meta, segments) of `pack_whole`; DamagedFile when a byte changed."""
    view = memoryview(blob)
    body = view[12:]
    if len(view) < 12 or view[:8] != MAGIC or crc32c(body, crc32c(MAGIC)) != int.from_bytes(view[8:12], "little"):
        raise DamagedFile("the snapshot does not match its checksum", hint=OLDER)
    try:
        meta, segments = msgspec.msgpack.decode(body, type=tuple[bytes, list[tuple[int, bytes]]])
    except msgspec.DecodeError as error:
        raise DamagedFile(f"the snapshot does not decode: {error}", hint=OLDER) from None
    return meta, dict(segments)
