"""The journal keeps every accepted batch, in order, whatever happens to its files."""

import errno
import os
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.errors import DiskFull, StorageError
from corec.streams.base import Entry
from corec.streams.journal import Journal, verify
from corec.streams.journal.files import HEADER_BYTES, file_name
from tests.support.faults.memory import memory_folder

pytestmark = pytest.mark.chaos

CHAOS = os.environ.get("COREC_CHAOS") == "1"


@pytest.fixture
def tmp_path():
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def payload(n: int, size: int = 40) -> bytes:
    return random.Random(n).randbytes(size)


def fill(journal: Journal, first: int, last: int, size: int = 40) -> None:
    """One synced group for each batch."""
    for n in range(first, last + 1):
        journal.append([payload(n, size)], 1_000 + n)
        journal.sync()


def read_all(journal: Journal, after: int = 0, max_bytes: int = 1 << 20) -> list[Entry]:
    entries = []
    while more := journal.read(after, max_bytes):
        entries += more
        after = more[-1].offset
    return entries


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def expected(first: int, last: int, size: int = 40) -> list[Entry]:
    return [Entry(n, 1_000 + n, payload(n, size)) for n in range(first, last + 1)]


def test_what_is_appended_and_synced_is_read_back(folder):
    journal = Journal(folder)
    assert (journal.first, journal.last, journal.read(0)) == (1, 0, [])
    assert journal.append([b"one", b"two"], 7) == 2
    assert journal.append([b"", b"four"], [8, 9]) == 4
    assert journal.sync() == 4
    assert journal.read(0) == [Entry(1, 7, b"one"), Entry(2, 7, b"two"), Entry(3, 8, b""), Entry(4, 9, b"four")]
    assert journal.read(2) == [Entry(3, 8, b""), Entry(4, 9, b"four")]


def test_only_what_is_synced_is_read(folder):
    journal = Journal(folder)
    journal.append([b"one"], 1)
    journal.sync()
    journal.append([b"two"], 1)
    assert journal.last == 1
    assert [entry.payload for entry in journal.read(0)] == [b"one"]


def test_opening_again_goes_on_where_it_ended(folder):
    journal = Journal(folder)
    fill(journal, 1, 5)
    journal.close()
    journal = Journal(folder)
    fill(journal, 6, 8)
    assert read_all(journal) == expected(1, 8)
    assert (journal.gaps, journal.torn_bytes) == ([], 0)


def test_without_close_nothing_accepted_is_missing(folder):
    # Given a journal that is not closed, as after kill -9
    fill(Journal(folder), 1, 5)
    # When it is opened again
    journal = Journal(folder)
    # Then all that was synced is there
    assert read_all(journal) == expected(1, 5)


def test_files_are_of_bounded_size_and_read_as_one(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    assert len(files(folder)) > 3
    assert max(path.stat().st_size for path in files(folder)) <= 4096
    assert read_all(journal, max_bytes=500) == expected(1, 200)
    assert journal.size_bytes == sum(path.stat().st_size for path in files(folder))


def test_reading_can_begin_anywhere(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    for after in (199, 3, 117, 0, 60):
        assert read_all(journal, after) == expected(after + 1, 200)


def test_a_group_is_never_split_over_files(folder):
    journal = Journal(folder, segment_bytes=4096)
    journal.append([b"x" * 3000], 1)
    journal.append([b"y" * 900, b"z" * 900], 1)
    journal.sync()
    assert [path.name for path in files(folder)] == [file_name(1), file_name(2)]


@pytest.mark.parametrize("before", [0, 1])
def test_an_entry_larger_than_a_file_or_a_read_passes(folder, before):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, before)
    large = random.Random(1).randbytes(100_000)
    journal.append([large, b"small"], 5)
    journal.sync()
    assert [entry.payload for entry in read_all(journal, before, 1_000)] == [large, b"small"]


def test_trim_removes_whole_files_and_keeps_what_is_asked_for(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    journal.trim(100)
    assert 1 < journal.first <= 101
    assert read_all(journal, 100) == expected(101, 200)
    journal.trim(200)
    assert len(files(folder)) == 1
    journal.close()
    assert Journal(folder, segment_bytes=4096).last == 200


def test_trim_keeps_a_stretch_of_journal_for_replay(folder):
    journal = Journal(folder, segment_bytes=4096, keep_bytes=10_000)
    fill(journal, 1, 400)
    journal.trim(400)
    assert 10_000 <= sum(path.stat().st_size for path in files(folder)) < 10_000 + 2 * 4096


def test_trimmed_files_are_used_again_and_what_was_in_them_never_comes_back(folder):
    # Given files that were trimmed and are full of old batches
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 220)
    journal.trim(150)
    spares = {path.stat().st_ino for path in folder.glob("*.spare")}
    assert len(spares) == 2
    # When they are used again, in groups of other sizes
    fill(journal, 221, 300, size=33)
    assert spares & {path.stat().st_ino for path in files(folder)} and journal.size_bytes == 4096 * len(list(folder.iterdir()))
    # Then each crash on the way finds the new batches and no old one
    for n in range(301, 360):
        fill(journal, n, n, size=n % 50)
        crashed = Journal(folder, segment_bytes=4096)
        assert (crashed.last, crashed.gaps, crashed.torn_bytes) == (n, [], 0)
        assert crashed.read(n - 1) == expected(n, n, n % 50)
        journal = crashed


def test_a_full_budget_is_an_error_and_trimming_ends_it(folder):
    journal = Journal(folder, max_bytes=16_384, segment_bytes=4096)
    accepted = 0
    with pytest.raises(DiskFull, match="max_disk_mb|16,384"):
        for n in range(1, 1_000):
            journal.append([payload(n)], 1_000 + n)
            accepted = journal.sync()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16_384
    assert journal.last == accepted
    journal.trim(accepted // 2)
    fill(journal, accepted + 1, accepted + 10)
    assert read_all(journal, accepted - 5) == expected(accepted - 4, accepted + 10)


@pytest.mark.parametrize("left", range(1, HEADER_BYTES + 40))
def test_a_torn_end_is_cut_off_and_said(folder, left):
    # Given a last record of which only *left* bytes got to the disk
    journal = Journal(folder)
    fill(journal, 1, 4)
    path = files(folder)[0]
    end = HEADER_BYTES + 3 * (HEADER_BYTES + 40) + left
    content = path.read_bytes()[:end]
    path.write_bytes(content + bytes(500))
    # When the journal is opened
    journal = Journal(folder)
    # Then the records before are there, the rest is gone, and appending goes on soundly
    assert (journal.last, journal.gaps) == (3, [])
    assert bool(journal.torn_bytes) == (left >= 4)  # less is no record yet, and nothing to cut
    fill(journal, 4, 6)
    journal.close()
    journal = Journal(folder)
    assert read_all(journal) == expected(1, 6)
    assert journal.torn_bytes == 0


def test_a_group_that_lost_its_middle_goes_as_a_whole(folder):
    # Given a last group of three of which the second never got to the disk
    journal = Journal(folder)
    fill(journal, 1, 2)
    journal.append([payload(n) for n in (3, 4, 5)], 9)
    path = files(folder)[0]
    position = path.read_bytes().index(payload(4)) - HEADER_BYTES
    _write(path, position, bytes(HEADER_BYTES + 40))
    # When the journal is opened, the cut-off batch counts as never accepted
    journal = Journal(folder)
    # Then what is left of it ends before the hole: kept, 5 would make 4, sent again, look like a repeat
    assert (journal.last, journal.gaps) == (3, [])
    assert journal.torn_bytes > HEADER_BYTES


def test_the_stores_offset_proves_that_a_damaged_record_had_been_accepted(folder):
    journal = Journal(folder)
    fill(journal, 1, 2)
    journal.append([payload(n) for n in (3, 4, 5)], 9)
    journal.sync()
    path = files(folder)[0]
    _flip(path, path.read_bytes().index(payload(4)))
    journal = Journal(folder, floor=5)
    assert [(gap.first, gap.last) for gap in journal.gaps] == [(4, 4)]
    assert [entry.offset for entry in read_all(journal)] == [1, 2, 3, 5]


def test_damage_in_the_middle_is_stepped_over_and_reported(folder, caplog):
    # Given three damaged records in two places
    journal = Journal(folder)
    fill(journal, 1, 20)
    journal.close()
    path = files(folder)[0]
    for n in (5, 6, 12):
        _flip(path, path.read_bytes().index(payload(n)) + 3)
    # When the journal is opened and read
    journal = Journal(folder)
    # Then exactly they are missing, and it is said
    assert [entry.offset for entry in read_all(journal)] == [n for n in range(1, 21) if n not in (5, 6, 12)]
    assert [(gap.first, gap.last, gap.lost) for gap in journal.gaps] == [(5, 6, 2), (12, 12, 1)]
    assert "[Journal-corec1] damage" in caplog.text and "offsets 5 to 6 lost" in caplog.text


def test_damage_while_running_is_stepped_over_too(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    path = files(folder)[1]
    first = int(path.stem)
    _flip(path, path.read_bytes().index(payload(first + 2)))
    entries = read_all(journal)
    assert [n for n in range(1, 201) if n not in {entry.offset for entry in entries}] == [first + 2]
    assert [(gap.first, gap.last, gap.file) for gap in journal.gaps] == [(first + 2, first + 2, path.name)]


def test_a_missing_file_is_a_gap(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    journal.close()
    first, missing, following = files(folder)[:3]
    missing.unlink()
    journal = Journal(folder, segment_bytes=4096)
    lost = (int(missing.stem), int(following.stem) - 1)
    assert [(gap.first, gap.last, gap.file) for gap in journal.gaps] == [(*lost, first.name)]
    assert len(read_all(journal)) == 200 - (lost[1] - lost[0] + 1)
    assert len(journal.gaps) == 1


def test_a_file_removed_while_running_is_a_gap(folder):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 200)
    missing, following = files(folder)[1:3]
    missing.unlink()
    assert len(read_all(journal)) == 200 - (int(following.stem) - int(missing.stem))
    assert [gap.first for gap in journal.gaps] == [int(missing.stem)]


def test_no_offset_is_ever_given_twice(folder):
    # Given a store that has folded up to 50, and a journal that ends at 3
    journal = Journal(folder)
    fill(journal, 1, 3)
    journal.close()
    # When the journal is opened with the store's offset
    journal = Journal(folder, floor=50)
    # Then it goes on behind the store, and says what is missing
    assert (journal.last, [(gap.first, gap.last) for gap in journal.gaps]) == (50, [(4, 50)])
    fill(journal, 51, 52)
    assert read_all(journal, 50) == expected(51, 52)
    journal.close()
    assert read_all(Journal(folder, floor=52)) == expected(1, 3) + expected(51, 52)
    assert Journal(folder.parent / "gone", floor=9).first == 10


def test_every_flipped_byte_is_detected_or_changes_nothing(folder, tmp_path):
    """A journal of a few files, used before and full of old batches; each byte in turn is inverted."""
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 210, size=30)
    journal.trim(210)
    for n in range(211, 300, 3):
        journal.append([payload(n), payload(n + 1), payload(n + 2)], 5)
        journal.sync()
    journal.trim(220)
    journal.close()
    whole = read_all(Journal(folder, segment_bytes=4096))
    assert len(whole) > 70 and len(files(folder)) == 2
    names = [path.name for path in files(folder)]
    content = {name: (folder / name).read_bytes() for name in names}
    for number, (name, position) in enumerate(_positions(content, step=1 if CHAOS else 23)):
        place = tmp_path / "flipped"
        place.mkdir(exist_ok=True)
        for other in names:
            (place / other).write_bytes(content[other])
        _flip(place / name, position)
        found = verify(place)
        journal = Journal(place, segment_bytes=4096)
        entries = read_all(journal)
        assert set(entries) <= set(whole), (name, position)
        assert len(entries) >= len(whole) - 3, (name, position)
        assert entries == whole or journal.gaps or journal.torn_bytes, (name, position)
        assert bool(found) or entries == whole, (name, position)
        if number % 20 == 0:
            fill(journal, journal.last + 1, journal.last + 2)
        journal.close()


def _positions(content: dict[str, bytes], step: int) -> list[tuple[str, int]]:
    return [(name, position) for name, data in content.items() for position in range(0, len(data.rstrip(b"\0")), step)]


def test_unreadable_blocks_are_damage_not_an_end(folder, monkeypatch):
    journal = Journal(folder)
    fill(journal, 1, 300)
    journal.close()
    real = os.pread

    def failing(fd, length, position):
        if position < 8192 and position + length > 4096:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, length, position)

    monkeypatch.setattr(os, "pread", failing)
    journal = Journal(folder)
    offsets = [entry.offset for entry in read_all(journal)]
    lost = [n for n in range(1, 301) if n not in offsets]
    assert 50 < len(lost) < 70 and lost == list(range(lost[0], lost[-1] + 1))
    assert [(gap.first, gap.last) for gap in journal.gaps] == [(lost[0], lost[-1])]


def test_a_failed_sync_is_not_tried_again_on_the_same_file(folder, monkeypatch):
    journal = Journal(folder)
    fill(journal, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _failing(errno.EIO))
        journal.append([b"refused"], 1)
        with pytest.raises(StorageError, match="sync"):
            journal.sync()
    assert journal.last == 2
    fill(journal, 3, 4)
    assert len(files(folder)) == 2
    journal.close()
    assert read_all(Journal(folder)) == expected(1, 4)


def test_a_failed_sync_of_an_empty_journal_leaves_a_working_one(folder, monkeypatch):
    journal = Journal(folder)
    assert journal.read(0) == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _failing(errno.EIO))
        journal.append([b"refused"], 1)
        with pytest.raises(StorageError):
            journal.sync()
    fill(journal, 1, 3)
    assert read_all(journal) == expected(1, 3)


@pytest.mark.parametrize("through", [0, 1, 33, 60])
def test_a_write_that_fails_halfway_leaves_nothing_behind(folder, monkeypatch, through):
    journal = Journal(folder)
    fill(journal, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", _short_write(through))
        with pytest.raises(DiskFull, match="no room left to append"):
            journal.append([payload(90), payload(91)], 1)
    fill(journal, 3, 3, size=10)
    fill(journal, 4, 5)
    journal.close()
    journal = Journal(folder)
    assert read_all(journal) == expected(1, 2) + expected(3, 3, 10) + expected(4, 5)
    assert (journal.gaps, journal.torn_bytes) == ([], 0)


def test_an_error_takes_back_all_since_the_last_sync(folder, monkeypatch):
    journal = Journal(folder)
    journal.append([payload(1)], 1_001)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", _failing(errno.ENOSPC))
        with pytest.raises(DiskFull):
            journal.append([payload(2)], 1)
    assert journal.sync() == 0
    fill(journal, 1, 2)
    assert read_all(journal) == expected(1, 2)


def test_a_file_that_cannot_be_begun_costs_nothing(folder, monkeypatch):
    journal = Journal(folder, segment_bytes=4096)
    fill(journal, 1, 10)
    large = b"x" * 3900
    for name in ("posix_fallocate", "rename", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, _failing(errno.ENOSPC))
            with pytest.raises(DiskFull):
                journal.append([large], 1)
        assert not list(folder.glob("*.new")) or name != "posix_fallocate"
    fill(journal, 11, 12)
    journal.close()
    assert read_all(Journal(folder, segment_bytes=4096)) == expected(1, 12)


def test_one_thread_may_read_and_trim_while_another_writes(folder):
    journal = Journal(folder, segment_bytes=8192)
    last = 600
    writer = threading.Thread(target=fill, args=(journal, 1, last))
    writer.start()
    seen = 0
    while seen < last:
        for entry in journal.read(seen, 2_000):
            assert entry == Entry(seen + 1, 1_001 + seen, payload(seen + 1))
            seen = entry.offset
        journal.trim(seen)
        time.sleep(0.001)
    writer.join()
    assert journal.gaps == []


@settings(max_examples=500 if CHAOS else 60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("ascrt"), st.integers(0, 400)), max_size=40))
def test_any_order_of_use_gives_what_a_list_would(steps):
    with memory_folder() as folder:
        _use(folder / "journal", steps)


def _use(folder: Path, steps: list[tuple[str, int]]) -> None:
    journal, model, synced = Journal(folder, segment_bytes=4096), [], 0
    for step, number in steps:
        if step == "a":
            model.append(payload(number, number * 5))
            assert journal.append(model[-1:], 1) == len(model)
        elif step == "s":
            synced = journal.sync()
            assert synced == len(model)
        elif step == "c":
            journal.close()
            journal, synced = Journal(folder, segment_bytes=4096), len(model)
        elif step == "r":
            after = max(min(number, synced), journal.first - 1)
            assert [entry.payload for entry in read_all(journal, after, 1_000)] == model[after : journal.last]
        else:
            journal.trim(min(number, synced))
            assert journal.first <= synced + 1
        assert synced <= journal.last <= len(model)  # beginning a file syncs what is before it
    assert [entry.payload for entry in read_all(journal, journal.first - 1)] == model[journal.first - 1 : journal.last]
    assert journal.gaps == []
    journal.close()


def _write(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(position)
        stream.write(data)


def _flip(path: Path, position: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ 0xFF]))


def _failing(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def _short_write(through: int):
    """A disk that fills up after *through* bytes."""
    state = {"room": through}
    real = os.pwritev

    def write(fd, buffers, position):
        if not state["room"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, [b"".join(buffers)[: state["room"]]], position)
        state["room"] -= written
        return written

    return write


def test_other_logs_are_asked_for_only_where_offsets_are_missing(folder):
    # Given a journal that ends at 3
    asked = []
    fill(Journal(folder), 1, 3)
    # When it is opened for a store that has no more, Then no other log is asked for; when the store is ahead, one is
    for floor, questions, gaps in ((3, 0, 0), (9, 1, 0)):
        journal = Journal(folder, floor=floor, elsewhere=lambda: asked.append(True) or True)
        assert (len(asked), len(journal.gaps)) == (questions, gaps)
        journal.close()
