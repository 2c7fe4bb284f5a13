"""Snapshots of a shard in PostgreSQL, where the next machine that gets the shard finds them.

The interface is that of `corec.storage.snapshots`. A generation is a head, and the segments that changed since the one
before. The last two are kept. Checksums are verified, although PostgreSQL is expected to detect damage itself.
"""
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from corec._core.wire import crc32c
from corec.common.times import wall_ms
from corec.config.servers import DbServer
from corec.errors import DamagedFile, FenceLost, InternalError
from corec.storage.postgres.session import Session
from corec.storage.snapshots import Snapshot
from corec.storage.snapshots.files import Head

log = logging.getLogger("corec.storage.postgres_snapshots")

KEPT = 2
_HEADS = "SELECT generation, turn, to_offset, created, meta, crc, live FROM snapshot_heads WHERE instance_id = %s AND shard = %s"
_SEGMENTS = """SELECT DISTINCT ON (segment) segment, blob, crc FROM snapshot_segments
 WHERE instance_id = %s AND shard = %s AND generation <= %s ORDER BY segment, generation DESC"""
#: Deletes blobs that a newer blob replaced before the oldest kept head.
_PRUNE = """DELETE FROM snapshot_segments AS old WHERE instance_id = %s AND shard = %s AND EXISTS (SELECT FROM snapshot_segments AS new
 WHERE new.instance_id = old.instance_id AND new.shard = old.shard AND new.segment = old.segment AND new.generation > old.generation
 AND new.generation <= %s)"""


class PostgresSnapshots:
    """The snapshots of one shard."""

    def __init__(self, server: DbServer, *, instance: str, shard: int = 0) -> None:
        self._server, self._key = server, (instance, shard)
        self._name = f"{instance}.s{shard:02d}"
        self._heads: list[Head] = []    # the kept ones, newest first
        self._segments: set[int] = set()    # of the newest generation
        self.epoch: int | None = None   # fence epoch of the store, once it is open
        self.problems: list[str] = []
        self._rejected: set[int] = set()    # generations
        self.owed: frozenset[int] = frozenset()

    @property
    def safe_offset(self) -> int:
        """The log may be trimmed up to here: the older of the two generations starts from it."""
        return self._heads[1].offset if len(self._heads) > 1 else 0

    @property
    def last_turn(self) -> int | None:
        """Turn of the newest snapshot."""
        return self._heads[0].turn if self._heads else None

    def load(self, upto_turn: int | None = None) -> Snapshot | None:
        """The newest sound snapshot of a turn up to *upto_turn*; None when there is none."""
        with self.session() as session:
            rows = session.query(_HEADS + " ORDER BY generation DESC", self._key)
            sound = [row for row in rows if row[0] not in self._rejected and self._is_sound(row)]
            found = [row for row in sound if upto_turn is None or row[1] <= upto_turn]
            self._heads = [Head(*row[:4]) for row in found[:KEPT]]
            if upto_turn is not None:
                self._drop_ahead(session, self._heads[0].generation if found else 0)
            if not found:
                return None
            head, meta = self._heads[0], bytes(found[0][4])
            try:
                segments = self._read(session, head, _numbers(found[0][6], f"snapshot {head.generation} of {self._name}"))
            except DamagedFile as error:
                self.reject(head.generation, error.text)
                return self.load(upto_turn)
        self._segments = set(segments)
        return Snapshot(meta, segments, head.turn, head.offset, head.generation)

    def reject(self, generation: int, problem: str) -> None:
        """Pass over a snapshot whose checksums are true and whose content cannot be; `load` gives the one before it then."""
        self._rejected.add(generation)
        self._note(problem if problem.startswith("snapshot ") else f"snapshot {generation} of {self._name}: {problem}")

    def begin(self, meta: bytes, turn: int, offset: int) -> "PostgresSnapshotWriter":
        """Start a snapshot. Pass the changed segments to `add`, then call `finish`, which may run in another thread."""
        return PostgresSnapshotWriter(self, Head(self._heads[0].generation + 1 if self._heads else 1, turn, offset, wall_ms()), meta)

    def write(self, meta: bytes, segments: Iterable[tuple[int, bytes]], turn: int, offset: int, live: Collection[int] = ()) -> int:
        """Write a whole snapshot; return its generation."""
        with self.begin(meta, turn, offset) as writer:
            for segment, blob in segments:
                writer.add(segment, blob)
            writer.finish(live)
        return writer.head.generation

    def session(self) -> "_Sessions":
        """A separate connection, because a snapshot is finished while turns are committed."""
        return _Sessions(self._server, self._name)

    def _is_sound(self, row: tuple[Any, ...]) -> bool:
        if crc32c(bytes(row[4])) != row[5]:
            self._note(f"snapshot {row[0]} of {self._name} does not match its checksum")
            return False
        if min(row[:4]) < 0:
            self._note(f"snapshot {row[0]} of {self._name}: expected counts for turn, offset and time, got {row[1:4]}")
            return False
        return True

    def _note(self, problem: str) -> None:
        self.problems.append(problem)
        log.error("[Snapshots-%s] %s; falling back to the one before", self._name, problem)

    def _drop_ahead(self, session: Session, generation: int) -> None:
        """Delete snapshots of turns that the store does not have: it was restored to an older state."""
        with session.transaction() as cursor:
            for table in ("snapshot_heads", "snapshot_segments"):
                cursor.execute(f"DELETE FROM {table} WHERE instance_id = %s AND shard = %s AND generation > %s", (*self._key, generation))

    def _read(self, session: Session, head: Head, live: set[int]) -> Mapping[int, bytes]:
        rows = session.query(_SEGMENTS, (*self._key, head.generation))
        segments = {segment: bytes(blob) for segment, blob, _ in rows if segment in live}
        wrong = [segment for segment, blob, crc in rows if segment in live and crc32c(bytes(blob)) != crc]
        missing = live - segments.keys()
        if wrong or missing:
            raise DamagedFile(f"snapshot {head.generation} of {self._name} is damaged: segments {sorted(missing | set(wrong))[:5]}",
                              hint="delete its row in snapshot_heads: the one before is used then")  # fmt: skip
        return segments

    def keep_generation(self, head: Head, meta: bytes, blobs: Mapping[int, bytes], live: Collection[int]) -> None:
        """Make a generation with the changed segments durable.

        live: all segments of the engine, when some are gone; otherwise empty.
        """
        from psycopg2.extras import execute_values

        segments = (self._segments & set(live) if live else self._segments) | blobs.keys()
        with self.session() as session, session.transaction() as cursor:
            cursor.execute("SELECT coalesce(max(generation), 0) FROM snapshot_heads WHERE instance_id = %s AND shard = %s", self._key)
            head = head._replace(generation=cursor.fetchone()[0] + 1)
            rows = [(*self._key, segment, head.generation, blob, crc32c(blob)) for segment, blob in blobs.items()]
            if rows:
                execute_values(cursor, "INSERT INTO snapshot_segments VALUES %s", rows, page_size=64)
            cursor.execute("INSERT INTO snapshot_heads VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                           (*self._key, *head, meta, crc32c(meta), np.array(sorted(segments), "<u4").tobytes()))  # fmt: skip
            kept = [head, *self._heads[: KEPT - 1]]
            cursor.execute("DELETE FROM snapshot_heads WHERE instance_id = %s AND shard = %s AND generation < %s",
                           (*self._key, kept[-1].generation))  # fmt: skip
            cursor.execute(_PRUNE, (*self._key, kept[-1].generation))
            self._require_fence(cursor)
        self._heads, self._segments, self.owed = kept, segments, frozenset()

    def _require_fence(self, cursor: Any) -> None:
        """Check the fence last, and lock it until the commit.

        A snapshot of an earlier owner must not come between those of the later one.
        """
        if self.epoch is None:
            return
        cursor.execute("SELECT epoch FROM shards WHERE instance_id = %s AND shard = %s FOR SHARE", self._key)
        row = cursor.fetchone()
        if row is None or row[0] != self.epoch:
            raise FenceLost(f"expected to own epoch {self.epoch} of {self._name}, got {row and row[0]}: another node took over")


class PostgresSnapshotWriter:
    """One snapshot under way. Leaving the `with` block before `finish` abandons it."""

    def __init__(self, owner: PostgresSnapshots, head: Head, meta: bytes) -> None:
        self.head = head
        self._owner, self._meta = owner, meta
        self._blobs: dict[int, bytes] = {}
        self._finished = False

    def __enter__(self) -> "PostgresSnapshotWriter":
        return self

    def __exit__(self, *failure: object) -> None:
        if not self._finished:
            self.abandon()

    def add(self, segment: int, blob: bytes) -> None:
        """Add the blob of a segment that changed since the last snapshot."""
        self._blobs[segment] = blob

    def finish(self, live: Collection[int] = ()) -> None:
        """Make the snapshot durable.  *live*: all segments of the engine, when some are gone."""
        missing = self._owner.owed - self._blobs.keys()
        if missing:
            raise InternalError(f"expected the segments of the snapshot that failed too, {len(missing)} are missing")
        self._owner.keep_generation(self.head, self._meta, self._blobs, live)
        self._finished = True

    def cancel(self) -> bool:
        """Always True. A `finish` that still runs in another thread may succeed; the fence decides."""
        return True

    def abandon(self) -> None:
        """Give the snapshot up. The next one has to contain its segments."""
        self._owner.owed |= frozenset(self._blobs)


class _Sessions:
    """Opens a session for a `with` block."""

    def __init__(self, server: DbServer, name: str) -> None:
        self._session = Session(server, name=f"{name} snapshots")

    def __enter__(self) -> Session:
        return self._session

    def __exit__(self, *failure: object) -> None:
        self._session.close()


def _numbers(packed: Any, what: str) -> set[int]:
    """The numbers of segments of a head."""
    content = bytes(packed or b"")
    if packed is None or len(content) % 4:
        raise DamagedFile(f"{what}: expected numbers of segments of 4 bytes each, got {len(content)} bytes")
    return set(np.frombuffer(content, "<u4").tolist())
