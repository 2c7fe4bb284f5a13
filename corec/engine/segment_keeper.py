"""What happens to segments between folds: hibernation, waking, and being handed to a snapshot while turns go on."""
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from corec._core.arena import Arena
from corec._core.block import examine_tiles
from corec._core.dtypes import (
    SEGMENT_ATTENTION,
    SEGMENT_DIRTY,
    SEGMENT_FROZEN,
    SEGMENT_HEARD,
    SEGMENT_PENDING,
)
from corec.common.zstandard import PackingError, declared_size, pack, unpack
from corec.errors import DamagedFile

#: Segments that hibernate in one go: 3 ms of work at most.
HIBERNATE_AT_ONCE = 32
OLDER = "use an older snapshot; the journal replays what came since"


class SegmentKeeper:
    """Owner of the flags FROZEN and PENDING: a segment that has one of them is not written to before `settle`.

    A FROZEN segment hibernates: `arena.frozen` has its tiles, compressed, and its memory reads as zero.  A PENDING one belongs
    to the running snapshot and has not been handed out yet; before it changes, a compressed copy of it is set aside.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._flags = arena.segments["flags"]
        self._queue: OrderedDict[int, None] = OrderedDict()  # segments that are PENDING
        self._aside: deque[tuple[int, bytes]] = deque()

    def refresh(self) -> None:
        """See the segments that `arena.extend` added."""
        self._flags = self._arena.segments["flags"]

    def packed(self, segment: int) -> bytes:
        """A segment as compressed tiles, awake or not."""
        return self._arena.frozen.get(segment) or pack(self._arena.read_segment(segment))

    # --- before a write ------------------------------------------------------------------------

    def settle(self, segment: int) -> None:
        """Make a segment ready to be written to."""
        if self._flags[segment] & SEGMENT_PENDING:
            self._aside.append(self._take(segment))
        if self._flags[segment] & SEGMENT_FROZEN:
            self._thaw(segment)

    def wake(self, segment: int) -> None:
        """Unpack a segment where it hibernates, for a look at its tiles."""
        if segment in self._arena.frozen:
            self._thaw(segment)

    def asleep_since_repair(self, segments: np.ndarray) -> np.ndarray:
        """bool[n]: the segment hibernates and was not heard since a repair looked at it.

        What fails in it is repaired once it is heard again.
        """
        rows = self._arena.segments[segments]
        return (rows["flags"] & SEGMENT_FROZEN > 0) & (rows["repaired_at"] > rows["last_tick"])

    def _thaw(self, segment: int) -> None:
        piece = self._arena.frozen.pop(segment)
        self._arena.write_segment(segment, unpack(piece, declared_size(piece)))
        self._flags[segment] &= ~np.uint8(SEGMENT_FROZEN)

    # --- hibernation ---------------------------------------------------------------------------

    def hibernate(self, after: int) -> None:
        """Compress segments that are idle for more than *after* seconds and whose entities all count as silent.

        0 means never.  At most HIBERNATE_AT_ONCE of them: the others follow in later calls.
        """
        if not after:
            return
        rows, policies = self._arena.segments, self._arena.policies
        silence = (policies["silence"] + 1) << policies["tick_shift"]
        idle = self._arena.tick - rows["last_tick"].astype(np.int64)
        awake = rows["flags"] & (SEGMENT_HEARD | SEGMENT_ATTENTION) == SEGMENT_HEARD
        asleep = (idle > np.maximum(after, silence[rows["policy"]])) & awake
        for segment in np.flatnonzero(asleep)[:HIBERNATE_AT_ONCE].tolist():
            self.freeze(segment)

    def freeze(self, segment: int) -> None:
        """Compress an awake segment whose entities all count as silent, and give its pages back."""
        self._arena.frozen[segment] = pack(self._arena.read_segment(segment))
        self._flags[segment] |= SEGMENT_FROZEN
        self._arena.release_segment(segment)

    # --- snapshots -----------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Segments that the running snapshot still has to hand out."""
        return len(self._queue) + len(self._aside)

    def begin(self, *, whole: bool, owed: Collection[int] = ()) -> None:
        """Begin a snapshot of this moment: of every segment that changed or is *owed*, or with *whole* of every heard one.

        A snapshot that runs already is given up, and what it did not hand out is part of this one.
        """
        self._abandon()
        self._flags[list(owed)] |= np.uint8(SEGMENT_DIRTY)
        wanted = SEGMENT_HEARD if whole else SEGMENT_DIRTY
        due = np.flatnonzero(self._flags & wanted)
        self._flags[due] |= np.uint8(SEGMENT_PENDING)
        self._flags[due] &= ~np.uint8(SEGMENT_DIRTY)
        self._queue.update(dict.fromkeys(due.tolist()))

    def hand_out(self, limit: int | None) -> Iterator[tuple[int, bytes]]:
        """Up to *limit* pieces (segment, compressed tiles), those set aside first."""
        given = 0
        while (limit is None or given < limit) and self.pending:
            given += 1
            yield self._aside.popleft() if self._aside else self._take(next(iter(self._queue)))

    def _take(self, segment: int) -> tuple[int, bytes]:
        del self._queue[segment]
        self._flags[segment] &= ~np.uint8(SEGMENT_PENDING)
        return segment, self.packed(segment)

    def _abandon(self) -> None:
        """Give up an unfinished snapshot: the segments that it did not hand out count as changed again."""
        self._flags[self._flags & SEGMENT_PENDING != 0] |= np.uint8(SEGMENT_DIRTY)
        self._flags &= ~np.uint8(SEGMENT_PENDING)
        for segment, _ in self._aside:
            self._flags[segment] |= np.uint8(SEGMENT_DIRTY)
        self._queue.clear()
        self._aside.clear()

    def restore(self, pieces: Mapping[int, bytes]) -> None:
        """Put back what `hand_out` gave (segment -> compressed tiles); what hibernated stays compressed.

        Blocks count anew which of their entities were heard and are failing.
        DamagedFile when a piece does not fit its segment, or when a segment that was heard has no piece.
        """
        counts = np.zeros((len(self._flags), 2), np.int64)
        for segment, piece in pieces.items():
            self._check_piece(segment, piece)
            tiles, counts[segment] = self._examined(segment, piece)
            if self._flags[segment] & SEGMENT_FROZEN:
                self._arena.frozen[segment] = bytes(piece)
            else:
                self._arena.write_segment(segment, tiles)
        missing = set(np.flatnonzero(self._flags & SEGMENT_HEARD).tolist()) - pieces.keys()
        if missing:
            raise misfit(f"no piece of segment {min(missing)}, which was heard")
        asleep = np.flatnonzero(self._flags & SEGMENT_FROZEN).tolist()
        if asleep != sorted(self._arena.frozen):
            raise misfit(f"segments {sorted(self._arena.frozen)} for those that hibernate, {asleep}")
        self._count(counts)

    def _count(self, counts: np.ndarray) -> None:
        """Write into blocks what they count; counts: int64[segments, 2], entities heard and entities failing."""
        rows, owners = self._arena.blocks, self._arena.segments["owner"]
        for column, name in enumerate(("heard", "failing")):
            rows[name] = np.bincount(owners, counts[:, column], len(rows))

    def _check_piece(self, segment: int, piece: bytes) -> None:
        """DamagedFile unless *piece* declares the size that the tiles of *segment* have."""
        if not 0 <= segment < len(self._flags):
            raise misfit(f"segment {segment} of {len(self._flags)}")
        expected = self._arena.segment_bytes(segment)
        try:
            declared = declared_size(piece)
        except PackingError as error:
            raise misfit(f"segment {segment}, which does not unpack: {error}") from None
        if declared not in expected:
            raise misfit(f"segment {segment} in {declared} bytes instead of {expected[0]}, or of {expected[1]} with event times")

    def _examined(self, segment: int, piece: bytes) -> tuple[bytes, tuple[int, int]]:
        """(*piece* unpacked, (entities heard, entities failing)); DamagedFile when an entity in it is such as no kernel leaves."""
        try:
            tiles = unpack(piece, declared_size(piece))
        except PackingError as error:
            raise misfit(f"segment {segment}, which does not unpack: {error}") from None
        slot, *counts = examine_tiles(self._arena, segment, tiles)
        if slot is not None:
            raise misfit(f"segment {segment} with an entity of a function or quality that is not there, in slot {slot}")
        return tiles, tuple(counts)


def misfit(got: str) -> DamagedFile:
    """The error of a snapshot whose parts do not fit each other."""
    return DamagedFile(f"expected a snapshot whose parts fit its configuration, got {got}", hint=OLDER)
