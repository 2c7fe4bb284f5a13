"""Damaged journals: opened, read, verified and gone on with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from corec.streams.base import Entry
from corec.streams.journal import Journal, verify
from corec.streams.journal import files as form
from tests.support.fuzz.envelopes import sample
from tests.support.fuzz.mutation import ODD, Choices, mutated

SEGMENT_BYTES = 4096
RECORDS = 40


def payload(number: int) -> bytes:
    """Envelopes of several sizes, and bytes that look like the beginnings of records."""
    if number % 10 == 9:
        return b"CCJ1" * number + b"CCJF"
    return sample(number % 7 * 12, number, number % 2 == 0)


def written(folder: Path, close: bool) -> dict[str, bytes]:
    """The files of a journal that was closed, or killed."""
    journal = Journal(folder, segment_bytes=SEGMENT_BYTES)
    for first in range(1, RECORDS + 1, 2):
        journal.append([payload(first), payload(first + 1)], [first, first + 1])
        journal.sync()
    if close:
        journal.close()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Journals:
    name = "journals"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "journal"
        self._samples = [written(folder / f"sample{close}", close) for close in (False, True)]
        self._truth = {number: Entry(number, number, payload(number)) for number in range(1, RECORDS + 1)}

    def check(self, choices: Choices) -> str:
        original = choices.one_of(self._samples)
        mode = choices.one_of((self._damaged, self._damaged, self._forged, self._lost))
        return mode(dict(original), choices)

    def _damaged(self, files: dict[str, bytes], choices: Choices) -> str:
        """Bytes of one file changed: what is read is what was written, and what is missing is reported."""
        name = choices.one_of(sorted(files))
        files[name] = mutated(files[name], choices)
        return self._compare(files, choices)

    def _lost(self, files: dict[str, bytes], choices: Choices) -> str:
        """A file is gone."""
        del files[choices.one_of(sorted(files))]
        return self._compare(files, choices)

    def _forged(self, files: dict[str, bytes], choices: Choices) -> str:
        """A record whose header says anything, under a true checksum: no error, no standstill."""
        name = choices.one_of(sorted(files))
        files[name] = forged(files[name], choices)
        self._put(files)
        with_floor = choices.below(2) * RECORDS
        verify(self._folder, with_floor)
        journal = Journal(self._folder, floor=with_floor, segment_bytes=SEGMENT_BYTES)
        offsets = [entry.offset for entry in entries(journal)]
        assert all(a < b for a, b in zip(offsets, offsets[1:], strict=False)), f"expected rising offsets, got {offsets}"
        self._go_on(journal)
        return "read"

    def _compare(self, files: dict[str, bytes], choices: Choices) -> str:
        self._put(files)
        floor = choices.below(2) * RECORDS
        verify(self._folder, floor)
        journal = Journal(self._folder, floor=floor, segment_bytes=SEGMENT_BYTES)
        read = {entry.offset: entry for entry in entries(journal)}
        changed = [offset for offset, entry in read.items() if self._truth.get(offset) != entry]
        assert not changed, f"expected what was written, got other bytes at offsets {changed}"
        assert journal.last >= floor, f"expected offsets up to {floor} to stay used, got {journal.last}"
        unsaid = missing(journal) - read.keys()
        assert not unsaid, f"expected every loss to be reported, nothing was said of offsets {sorted(unsaid)}"
        self._go_on(journal)
        return "the same" if len(read) == RECORDS else "some lost"

    def _go_on(self, journal: Journal) -> None:
        """What is appended now is there when the journal is opened again."""
        offset = journal.append([b"after"], 99)
        journal.sync()
        journal.close()
        journal = Journal(self._folder, floor=offset, segment_bytes=SEGMENT_BYTES)
        again = list(entries(journal, offset - 1))
        journal.close()
        assert again == [Entry(offset, 99, b"after")], f"expected the batch at offset {offset}, got {again}"

    def _put(self, files: dict[str, bytes]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for name, data in files.items():
            (self._folder / name).write_bytes(data)


def entries(journal: Journal, after: int = 0) -> Iterator[Entry]:
    while found := journal.read(after, 1 << 16):
        yield from found
        assert found[-1].offset > after, f"expected offsets above {after}, got {found[-1].offset}"
        after = found[-1].offset


def missing(journal: Journal) -> set[int]:
    """Offsets that should be there and of which no damage was reported."""
    told = {offset for gap in journal.gaps for offset in range(max(gap.first, 1), min(gap.last, RECORDS) + 1)}
    return set(range(journal.first, min(journal.last, RECORDS) + 1)) - told


def forged(data: bytes, choices: Choices) -> bytes:
    """One record's header changed, its checksum made to fit; or the file's own header."""
    found = list(form.records(data, form.HEADER_BYTES))
    record = choices.one_of([None, *found])
    start = record.start - form.HEADER_BYTES if record else 0
    header = bytearray(data[start : start + form.RECORD_HEADER.size])
    field = choices.one_of((4, 8, 16, 24))
    size = 4 if field in (4, 24) else 8
    value = choices.one_of((choices.one_of(ODD), choices.below(RECORDS + 5)))
    header[field : field + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    body = data[record.start : record.end] if record else b""
    return data[:start] + form.seal(bytes(header), body) + data[start + form.HEADER_BYTES :]
