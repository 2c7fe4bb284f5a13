"""The embedded log: batches in segmented, append-only, checksummed files.

Why not SQLite: docs/decisions/0001-journal-is-a-segmented-log.md.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from corec.common.units import MB
from corec.errors import CoreCError, DiskFull
from corec.storage import disk
from corec.storage.numbered import numbered, put_aside_strangers
from corec.storage.private import make_private
from corec.streams.base import Entry
from corec.streams.journal import files as form
from corec.streams.journal.files import HEADER_BYTES, Gap
from corec.streams.journal.read import JournalFile, Reader, View

log = logging.getLogger("corec.streams.journal")

SEGMENT_BYTES = 16 * MB
#: Trimmed files kept to be used again.  A file that was written before takes half as many bytes on the
#: disk for each sync, and a third of the time: its blocks are there already.
SPARE_FILES = 4
#: Files that a small bound is cut into: whole files are trimmed.
LEAST_FILES = 16
#: Buffers of one gathered write; Linux takes 1,024.
WRITE_BUFFERS = 1_000


class Journal:
    """A `Log` of files in *folder*.

    One thread appends, syncs and closes; one thread reads; either may trim.  What they share is one
    immutable `View`, replaced under a lock, so a reader never waits for the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        floor: int = 0,
        max_bytes: int = 0,
        keep_bytes: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        instance: str = "corec1",
        node: int = 0,
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """*floor*: the store's offset, so that no offset is ever given twice; *max_bytes*: 0 for no bound.

        node: the id that files of this node carry.  elsewhere: asked only where the journal ends before *floor*: whether the
        offsets between are those of another log, so that nothing is lost.
        """
        self._folder = Path(folder)
        self.max_bytes = max_bytes
        self._keep_bytes = keep_bytes
        self._segment_bytes = max(4096, min(segment_bytes, max_bytes // LEAST_FILES)) if max_bytes else segment_bytes
        self._instance, self._node, self._elsewhere = instance, node, elsewhere
        self._lock = threading.Lock()
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._spares: list[Path] = []
        self.written_bytes = 0  # since it was opened
        self._reader = Reader(self._report)
        self._fd = -1
        self._fresh_file = False  # the next append begins a file: the open one cannot be trusted
        self._written = False  # bytes behind the durable end of the open file
        self._view = View((), 0, HEADER_BYTES)
        self._next = 1
        self._end = self._capacity = HEADER_BYTES
        self.torn_bytes = 0  # cut off at opening: the end of a write that was never confirmed
        with disk.explained("open", self._folder):
            make_private(self._folder)
            self._recover(floor)

    @property
    def first(self) -> int:
        return self._view.files[0].first

    @property
    def last(self) -> int:
        return self._view.last

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self._view.files) + len(self._spares) * self._segment_bytes

    @property
    def fullness(self) -> float:
        """The share of its bound that accepted batches take, files whole; 0 where there is no bound."""
        return sum(file.size for file in self._view.files) / self.max_bytes if self.max_bytes else 0.0

    @property
    def gaps(self) -> list[Gap]:
        """The damage found so far: at opening in the newest file, elsewhere once reading comes there."""
        return list(self._gaps.values())

    def append(self, payloads: Sequence[bytes], arrival: int | Sequence[int]) -> int:
        if not payloads:
            return self._next - 1
        flags = form.FLAG_GROUP if self._end == self._view.end else 0
        buffers = form.pack_records(payloads, arrival, self._next, flags)
        needed = sum(map(len, buffers))
        try:
            if self._fresh_file or self._is_full(needed):
                self._roll(needed)
            self._write(buffers)
        except (OSError, CoreCError) as error:
            self._take_back()
            raise disk.explain(error, "append to", self._folder) from error
        self._end += needed
        self.written_bytes += needed
        self._next += len(payloads)
        return self._next - 1

    def sync(self) -> int:
        if self._end == self._view.end:
            return self.last
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # Linux drops the dirty pages of a failed sync: trying again would promise what is not on disk.
            self._fresh_file = True
            self._take_back()
            raise disk.explain(error, "sync", self._folder) from error
        self._publish(last=self._next - 1, end=self._end)
        return self.last

    def read(self, after: int, max_bytes: int = MB) -> list[Entry]:
        return self._reader.read(after, max_bytes, self._view)

    def trim(self, upto: int) -> None:
        """Unlink files that hold nothing above *upto*, oldest first, but keep `keep_bytes` of journal."""
        while len(self._view.files) > 1 and self._view.files[1].first <= upto + 1:
            if sum(file.size for file in self._view.files[1:]) < self._keep_bytes:
                break
            with self._lock:
                oldest, *kept = self._view.files
                self._view = self._view._replace(files=tuple(kept))
            with disk.explained("trim", self._folder):
                self._retire(oldest)

    def _retire(self, file: JournalFile) -> None:
        spare = file.path.with_suffix(".spare")
        if len(self._spares) < SPARE_FILES and file.size == self._segment_bytes:
            file.path.rename(spare)
            self._spares.append(spare)
        else:
            file.path.unlink(missing_ok=True)
        disk.sync_folder(self._folder)  # one by one, so that a power cut leaves no hole in the row of files

    def close(self) -> None:
        if self._fd >= 0:
            self.sync()
            with suppress(OSError):
                disk.write_all(self._fd, [form.pack_mark(self.last)], self._end)
                os.fdatasync(self._fd)
            os.close(self._fd)
        self._fd = -1
        self._reader.close()

    # -- opening

    def _recover(self, floor: int) -> None:
        put_aside_strangers(self._folder, (".log", ".spare", ".new"), self._instance)
        for unfinished in self._folder.glob("*.new"):
            unfinished.unlink()
        files = list_files(self._folder)
        self._spares = numbered(self._folder, ".spare")[:SPARE_FILES]
        self._view = self._view._replace(files=tuple(files))
        if files:
            self._check_row(files)
            self._reopen(files[-1], floor)
        if not files or self.last < floor:
            self._start_at(max(floor, self.last) + 1)

    def _check_row(self, files: list[JournalFile]) -> None:
        """A file that is missing shows in the header of the next."""
        for file, following in pairwise(files):
            if _records_before(following) != following.first - file.first:
                for gap in form.scan_file(file.path, file.first, following.first).gaps:
                    self._report(gap)

    def _reopen(self, newest: JournalFile, floor: int) -> None:
        scan = form.scan_file(newest.path, newest.first, None, floor)
        for gap in scan.gaps:
            self._report(gap)
        self._fd = os.open(newest.path, os.O_RDWR)
        self._next, self._end = scan.last + 1, scan.end
        self._capacity = max(newest.size, self._segment_bytes)
        if scan.torn:
            self._report_torn(scan, newest)
            self._cut_off()
        os.fsync(self._fd)
        self._publish(last=scan.last, end=scan.end)

    def _start_at(self, first: int) -> None:
        if self._view.files and not self._elsewhere():
            self._report(Gap(self._next, first - 1, self._view.files[-1].path.name, self._end))
        self._next = first
        self._roll(0)

    def _report(self, gap: Gap) -> None:
        if (gap.file, gap.position) in self._gaps:
            return
        self._gaps[gap.file, gap.position] = gap
        lost = f"offsets {gap.first} to {gap.last} lost" if gap.lost else "no batch lost"
        log.error("[Journal-%s] damage in %s at byte %d: %s", self._instance, gap.file, gap.position, lost)

    def _report_torn(self, scan: form.Scan, file: JournalFile) -> None:
        self.torn_bytes = scan.torn
        log.warning("[Journal-%s] %s ends in %d bytes of a write that did not finish, %d whole batches among them: "
                    "cut off behind offset %d; their producers were not told that they were accepted",
                    self._instance, file.path.name, scan.torn, scan.torn_records, scan.last)  # fmt: skip

    # -- writing

    def _write(self, buffers: list[bytes]) -> None:
        position = self._end
        self._written = True
        for start in range(0, len(buffers), WRITE_BUFFERS):
            position = disk.write_all(self._fd, buffers[start : start + WRITE_BUFFERS], position)

    def _is_full(self, needed: int) -> bool:
        """An empty file takes a group of any size; else a group does not begin where it cannot end."""
        return self._end > HEADER_BYTES and self._end + needed + HEADER_BYTES > self._capacity

    def _roll(self, needed: int) -> None:
        """Begin a new file with room for *needed* bytes; all of the old one is durable before."""
        if not self._fresh_file:
            self.sync()
        size = max(self._segment_bytes, needed + 2 * HEADER_BYTES)
        path = self._folder / form.file_name(self._next)
        older = [file for file in self._view.files if file.path != path]
        fd = self._create(path, size, self._next - older[-1].first if older else 0)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._fresh_file, self._capacity, self._end = fd, False, size, HEADER_BYTES
        with self._lock:
            # What was trimmed meanwhile stays away.
            older = [file for file in self._view.files if file.path != path]
            self._view = View((*older, JournalFile(self._next, path, size)), self._next - 1, HEADER_BYTES)

    def _create(self, path: Path, size: int, records_before: int) -> int:
        unfinished = path.with_name(path.name + ".new")
        if self._spares and size == self._segment_bytes:
            self._spares.pop().rename(unfinished)
        else:
            self._require_budget(size)
        header = form.pack_file_header(self._next, self._node, records_before)
        fd = disk.prepare(unfinished, header, size)
        try:
            disk.publish(unfinished, path)
        except OSError:
            # The new name may be there or not: another append to the old file could get lost behind it.
            self._fresh_file = True
            os.close(fd)
            raise
        return fd

    def _take_back(self) -> None:
        """Forget what was appended since the last sync, on disk too: part of it may have got there."""
        self._next, self._end = self.last + 1, self._view.end
        if not self._written:
            return
        try:
            self._cut_off()
        except OSError:
            self._fresh_file = True
        self._written = False

    def _cut_off(self) -> None:
        """Remove what is behind the end: a batch in there must not look like one that follows later."""
        os.ftruncate(self._fd, self._end)
        disk.make_room(self._fd, self._capacity)

    def _require_budget(self, size: int) -> None:
        if not self.max_bytes:
            return
        while self._spares and self.size_bytes + size > self.max_bytes:
            self._spares.pop().unlink()
        if self.size_bytes + size > self.max_bytes:
            raise DiskFull(
                f"the journal may take {self.max_bytes:,} bytes and takes {self.size_bytes:,}: "
                f"no room for a file of {size:,} - at {self._folder}",
                hint="raise max_disk_mb, or find out why the node has stopped committing what it accepted",
            )

    def _publish(self, last: int, end: int) -> None:
        self._written = False
        with self._lock:
            self._view = self._view._replace(last=last, end=end)


def list_files(folder: Path) -> list[JournalFile]:
    return [JournalFile(int(path.stem), path, path.stat().st_size) for path in numbered(folder, ".log")]


def scan_newest(files: Sequence[JournalFile], floor: int = 0) -> form.Scan:
    """What the newest file holds; nothing is cut off."""
    return form.scan_file(files[-1].path, files[-1].first, None, floor)


def verify(folder: Path, floor: int = 0) -> list[Gap]:
    """Read a whole journal that no node is using; every damage in it, an unfinished end included."""
    files = list_files(folder)
    gaps = []
    for file, following in zip(files, [*files[1:], None], strict=True):
        scan = form.scan_file(file.path, file.first, following.first if following else None, floor)
        gaps += scan.gaps
        if scan.torn:
            gaps.append(Gap(scan.last + 1, scan.last, file.path.name, scan.end))
    return gaps


def _records_before(file: JournalFile) -> int | None:
    """How many records the file before *file* held when that was begun; None if its header is damaged."""
    with file.path.open("rb") as stream:
        return form.read_header(stream.read(HEADER_BYTES), file.first)
