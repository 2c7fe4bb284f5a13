"""Snapshots of the engine: only what changed, in files with checksums. Two generations are kept, and they share no byte.

A generation refers to blobs in files of the generation before the last, never to the last. So damage anywhere in
`snapshots/` leaves one of the two whole. Blobs that changed only in the last generation are copied.
"""

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from corec._core.wire import crc32c
from corec.common.units import MB
from corec.errors import DamagedFile, InternalError
from corec.storage import disk
from corec.storage.numbered import number_of, numbered, put_aside_strangers
from corec.storage.private import FILE_MODE, make_private
from corec.storage.snapshots import files as form
from corec.storage.snapshots.files import Extent, Generation, Head

log = logging.getLogger("corec.storage.snapshots")

#: A generation spread over more files than this is written whole again.
MOST_FILES = 64
#: Bytes of garbage that are not worth writing a whole generation for.
LITTLE_GARBAGE = MB


class Segments(Mapping[int, bytes]):
    """The blobs of a snapshot, read and checked on access."""

    def __init__(self, folder: Path, index: dict[int, Extent]) -> None:
        self.folder = folder
        self._index = index
        self._fds: dict[int, int] = {}

    def __getitem__(self, segment: int) -> bytes:
        return form.read_blob(self.folder, self._fds, segment, self._index[segment])

    def __iter__(self) -> Iterator[int]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __del__(self) -> None:
        self.close()


class Snapshot(NamedTuple):
    meta: bytes
    segments: Segments
    turn: int
    offset: int
    generation: int


class Snapshots:
    """The folder `snapshots/` of one node."""

    def __init__(self, folder: Path, *, instance: str = "corec1", node: int = 0, little_garbage: int = LITTLE_GARBAGE) -> None:
        """*node*: the id of the node, written into its snapshots."""
        self.folder, self._little_garbage = Path(folder), little_garbage
        self._instance, self._node = instance, node
        self._last: Generation | None = None  # the generation that unchanged segments are compared with
        self._before: Generation | None = None
        self.problems: list[str] = []
        self.owed: frozenset[int] = frozenset()
        """Segments that the next snapshot has to be given, because the one they were meant for failed."""

    @property
    def safe_offset(self) -> int:
        """The journal may be trimmed up to here: the older of the two generations starts from it."""
        return self._before.head.offset if self._before else 0

    @property
    def last_turn(self) -> int | None:
        """Turn of the newest snapshot, written or loaded."""
        return self._last.head.turn if self._last else None

    def load(self, upto_turn: int | None = None) -> Snapshot | None:
        """The newest sound snapshot of a turn up to *upto_turn*; None when there is none.

        A damaged snapshot, or one ahead of the store, is put aside, logged, and noted in `problems`.
        """
        with disk.explained("open", self.folder):
            make_private(self.folder)
            put_aside_strangers(self.folder, (".snap", ".new"), self._instance)
            for unfinished in self.folder.glob("*.new"):
                unfinished.unlink()
        with disk.explained("read", self.folder):
            self._last = next(self._readable(upto_turn), None)
            self._before = next(self._older(self._last), None) if self._last else None
        if self._last is None:
            return None
        head, meta, index = self._last
        return Snapshot(meta, Segments(self.folder, index), head.turn, head.offset, head.generation)

    def reject(self, generation: int, problem: str) -> None:
        """Put aside a snapshot whose checksums are true and whose content cannot be; `load` gives the one before it then."""
        self._put_aside(generation, problem)

    def begin(self, meta: bytes, turn: int, offset: int) -> "SnapshotWriter":
        """Start a snapshot. Pass the engine's changed segments to `add`, then call `finish`.

        Call `load` before, even if it returns None.  `finish` does not use the engine and may run in another thread.
        """
        head = Head(self._newest_number() + 1, turn, offset, self._node)
        return SnapshotWriter(self, head, meta)

    def write(
        self, meta: bytes, segments: Iterable[tuple[int, bytes]], turn: int, offset: int, live: Collection[int] = ()
    ) -> int:
        """Write a whole snapshot; return its generation.  *segments*: those changed since the last."""
        writer = self.begin(meta, turn, offset)
        with writer:
            for segment, blob in segments:
                writer.add(segment, blob)
            writer.finish(live)
        return writer.head.generation

    def inspect(self) -> tuple[list[Head], list[str]]:
        """(sound snapshots, every problem with the files as text). Changes nothing."""
        sound, problems = [], []
        for number in self._numbers():
            try:
                sound.append(self._check(number).head)
            except DamagedFile as error:
                problems.append(error.text)
        return sound, problems

    # -- loading

    def _numbers(self) -> list[int]:
        """Generations with a file of their own, newest first. Older files may only hold blobs that are still in use."""
        return sorted((int(path.stem) for path in numbered(self.folder, ".snap")), reverse=True)

    def _newest_number(self) -> int:
        return max((number_of(path.name) or 0 for path in self.folder.iterdir()), default=0)

    def _readable(self, upto_turn: int | None) -> Iterator[Generation]:
        for number in self._numbers():
            try:
                generation = self._check(number)
            except DamagedFile as error:
                self._put_aside(number, error.text)
                continue
            if upto_turn is not None and generation.head.turn > upto_turn:
                self._put_aside(number, f"it is of turn {generation.head.turn}, the store ends at {upto_turn}")
                continue
            yield generation

    def _older(self, last: Generation) -> Iterator[Generation]:
        """Sound generations before *last* that share no file with it."""
        for number in self._numbers():
            if number < last.head.generation and number not in _files(last):
                with suppress(DamagedFile):
                    generation = self._check(number)
                    if not _files(generation) & _files(last):
                        yield generation

    def _check(self, number: int) -> Generation:
        path = self.folder / form.file_name(number)
        generation = form.read(path)
        if generation.head.generation != number:
            raise DamagedFile(f"{path} is damaged: it holds generation {generation.head.generation}")
        segments = Segments(self.folder, generation.index)
        for segment in segments:
            segments[segment]
        segments.close()
        return generation

    def _put_aside(self, number: int, problem: str) -> None:
        path = self.folder / form.file_name(number)
        aside = path.with_name(path.name + ".damaged")
        log.error("[Snapshots-%s] %s; kept as %s, falling back to the one before", self._instance, problem, aside.name)
        self.problems.append(problem)
        path.rename(aside)
        disk.sync_folder(self.folder)

    # -- what a writer asks

    def inherited(self, changed: Collection[int], live: Collection[int]) -> dict[int, Extent]:
        """Where the last generation has the segments that did not change."""
        index = self._last.index if self._last else {}
        kept = set(live) if live else index.keys()
        return {segment: extent for segment, extent in index.items() if segment in kept and segment not in changed}

    def reusable(self, inherited: Mapping[int, Extent], new_bytes: int) -> dict[int, Extent]:
        """Those of *inherited* that the older generation has unchanged; none when its files are mostly garbage."""
        before = self._before.index if self._before else {}
        same = {
            segment: before[segment]
            for segment, extent in inherited.items()
            if segment in before and before[segment].version == extent.version
        }
        files = {extent.file for extent in same.values()}
        taken = new_bytes + sum(self._size(file) for file in files)
        used = new_bytes + sum(extent.length for extent in same.values())
        return {} if taken > 2 * used + self._little_garbage or len(files) >= MOST_FILES else same

    def _size(self, file: int) -> int:
        return (self.folder / form.file_name(file)).stat().st_size

    def accept(self, generation: Generation) -> None:
        """Make a durable generation the last one. Delete files that neither of the two kept generations needs."""
        self._before, self._last = self._last, generation
        self.owed = frozenset()
        wanted = _files(generation) | (_files(self._before) if self._before else set())
        for number in self._numbers():
            if number not in wanted:
                (self.folder / form.file_name(number)).unlink()

    def owe(self, segments: Collection[int]) -> None:
        """Require *segments* in the next snapshot: they were handed out and are in no generation."""
        self.owed |= frozenset(segments)


class SnapshotWriter:
    """One snapshot under way. Leaving the `with` block before `finish` abandons it."""

    def __init__(self, owner: Snapshots, head: Head, meta: bytes) -> None:
        self.head = head
        self._owner = owner
        self._meta = meta
        self._index: dict[int, Extent] = {}
        self._path = owner.folder / form.file_name(head.generation)
        self._unfinished = self._path.with_name(self._path.name + ".new")
        self._position = 0
        self._fd = -1
        self._settling = threading.Lock()
        self._cancelled = False
        self._guarded(self._open)

    def __enter__(self) -> "SnapshotWriter":
        return self

    def __exit__(self, *failure: object) -> None:
        if self._fd >= 0:
            self.abandon()

    def add(self, segment: int, blob: bytes) -> None:
        """Add the blob of a segment that changed since the last snapshot."""
        self._guarded(self._add, segment, blob, self.head.generation)

    def finish(self, live: Collection[int] = ()) -> None:
        """Add the unchanged segments, and make the snapshot durable.  *live*: all segments of the engine, when some are gone."""
        missing = self._owner.owed - self._index.keys()
        if missing:
            raise InternalError(f"expected the segments of the snapshot that failed too, {len(missing)} are missing")
        self._guarded(self._finish, live)

    def abandon(self) -> None:
        """Give the snapshot up. The next one has to contain its segments."""
        self._owner.owe(self._index)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        if not self._cancelled:
            self._unfinished.unlink(missing_ok=True)

    def cancel(self) -> bool:
        """Give up a snapshot that another thread finishes; False when it is finished already.

        That thread then changes nothing in the folder any more: another node may own it.
        """
        with self._settling:
            if not self._unfinished.exists():
                return False
            self._cancelled = True
            self._unfinished.unlink()
        return True

    def _open(self) -> None:
        self._fd = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        self._put(form.pack_header(self.head, self._meta), self._meta)

    def _guarded(self, step: Callable[..., None], *values: Any) -> None:
        """Run *step*; a disk error abandons the snapshot."""
        try:
            step(*values)
        except OSError as error:
            self.abandon()
            raise disk.explain(error, "write a snapshot to", self._unfinished) from error

    def _put(self, *buffers: bytes) -> None:
        self._position = disk.write_all(self._fd, [buffer for buffer in buffers if buffer], self._position)

    def _add(self, segment: int, blob: bytes, version: int) -> None:
        extent = Extent(len(blob), version, self.head.generation, self._position, crc32c(blob))
        self._put(blob)
        self._index[segment] = extent

    def _finish(self, live: Collection[int]) -> None:
        inherited = self._owner.inherited(self._index.keys(), live)
        reused = self._owner.reusable(inherited, self._position)
        self._copy({segment: extent for segment, extent in inherited.items() if segment not in reused})
        index = self._index | reused
        self._put(form.pack_end(index, self._position))
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        with self._settling:
            if not self._cancelled:
                disk.publish(self._unfinished, self._path)
                self._owner.accept(Generation(self.head, self._meta, index))

    def _copy(self, extents: dict[int, Extent]) -> None:
        source = Segments(self._owner.folder, extents)
        for segment, extent in extents.items():
            self._add(segment, source[segment], extent.version)
        source.close()


def _files(generation: Generation) -> set[int]:
    return {generation.head.generation, *(extent.file for extent in generation.index.values())}
