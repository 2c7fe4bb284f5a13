"""The state as bytes: one small piece for all but the entities, one compressed piece a segment.

SegmentKeeper owns what happens to segments between folds: hibernation, waking, and being handed to a
snapshot unchanged while turns go on.
"""
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import zstandard

from corec._core.arena import Arena
from corec._core.wire import crc32c
from corec.config import parse
from corec.errors import DamagedFile
from corec.marks import Marks

if TYPE_CHECKING:
    from corec.engine import Engine

HEARD, DIRTY, FROZEN, PENDING = 1, 2, 4, 8
ATTENTION = FROZEN | PENDING
VERSION = 1
MAGIC = b"CCSNAP01"
#: Segments that hibernate in one go: 3 ms of work at most.
HIBERNATE_AT_ONCE = 32


class SegmentKeeper:
    """Sees to segments that must not simply be written to."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._flags = arena.segments["flags"]
        self._queue: OrderedDict[int, None] = OrderedDict()  # segments that are PENDING
        self._aside: deque[tuple[int, bytes]] = deque()
        self._pack = zstandard.ZstdCompressor(level=1).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def refresh(self) -> None:
        """The arena has more segments now."""
        self._flags = self._arena.segments["flags"]

    def packed(self, segment: int) -> bytes:
        """A segment as compressed tiles, awake or not."""
        return self._arena.frozen.get(segment) or self._pack(self._arena.read_segment(segment))

    # --- before a write ------------------------------------------------------------------------

    def settle(self, segment: int) -> None:
        """Make a segment ready to be written to."""
        if self._flags[segment] & PENDING:
            self._aside.append(self._take(segment))
        if self._flags[segment] & FROZEN:
            self.thaw(segment)

    def thaw(self, segment: int) -> None:
        """Wake a hibernated segment."""
        self._arena.write_segment(segment, self._unpack(self._arena.frozen.pop(segment)))
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
            self._freeze(segment)

    def _freeze(self, segment: int) -> None:
        self._arena.frozen[segment] = self._pack(self._arena.read_segment(segment))
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
            if self._flags[segment] & FROZEN:
                self._arena.frozen[segment] = bytes(piece)
            else:
                self._arena.write_segment(segment, self._unpack(piece))


def capture_state(engine: "Engine") -> bytes:
    """All state but the tiles."""
    arena = engine.arena
    return msgspec.msgpack.encode({
        "version": VERSION, "config": engine.config.to_mapping(), "stepped_at": sorted(engine._stepped_at.items()),
        "clock": arena.clock, "watermark": arena.watermark, "counters": list(arena.counters), "ledger": arena.ledger.tobytes(),
        "blocks": arena.blocks.tobytes(), "flags": arena.segments["flags"].tobytes(),
        "owners": arena.segments["owner"].tobytes(), "last_ticks": arena.segments["last_tick"].tobytes(),
        "marks": engine.marks.to_list(), "gaps": engine.marks.gaps, "forgotten": engine.marks.forgotten,
    })


def assemble_state(cls: type["Engine"], meta: bytes, segments: Mapping[int, bytes]) -> "Engine":
    """The engine that `capture_state` saw, with these tiles."""
    state = _decode(meta)
    engine = cls(parse(state["config"], source="the snapshot"))
    arena = engine.arena
    for view, name in ((arena.ledger, "ledger"), (arena.blocks, "blocks")):
        view[:] = np.frombuffer(state[name], view.dtype)
    for column, name in (("flags", "flags"), ("owner", "owners"), ("last_tick", "last_ticks")):
        view = arena.segments[column]
        view[:] = np.frombuffer(state[name], view.dtype)
    arena.segments["flags"] &= ~np.uint8(PENDING | DIRTY)
    arena.advance(state["clock"], state["clock"] - state["watermark"])
    arena.counters = state["counters"]
    engine._stepped_at = dict(state["stepped_at"])
    engine.marks = Marks.from_list(state["marks"], state["gaps"], state["forgotten"])
    engine.restore_segments(segments)
    engine._begin()
    return engine


def _decode(meta: bytes) -> dict[str, Any]:
    try:
        state = msgspec.msgpack.decode(meta)
    except msgspec.DecodeError as error:
        raise DamagedFile(f"the snapshot does not decode: {error}") from None
    if state.get("version") != VERSION:
        raise DamagedFile(f"expected a snapshot of version {VERSION}, got {state.get('version')!r}")
    return state


def pack_whole(meta: bytes, segments: Mapping[int, bytes]) -> bytes:
    """One blob: magic, checksum, then both parts."""
    body = msgspec.msgpack.encode([meta, sorted(segments.items())])
    return MAGIC + crc32c(body, crc32c(MAGIC)).to_bytes(4, "little") + body


def unpack_whole(blob: bytes) -> tuple[bytes, dict[int, bytes]]:
    """(meta, segments) of `pack_whole`; DamagedFile when a byte changed."""
    view = memoryview(blob)
    body = view[12:]
    if len(view) < 12 or view[:8] != MAGIC or crc32c(body, crc32c(MAGIC)) != int.from_bytes(view[8:12], "little"):
        raise DamagedFile("the snapshot does not match its checksum",
                          hint="use an older snapshot; the journal replays what came since")
    meta, segments = msgspec.msgpack.decode(body)
    return meta, dict(segments)
