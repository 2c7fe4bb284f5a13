"""Snapshots: only what changed is written, and any damage leaves the generation before."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from corec.errors import DamagedFile, DiskFull, InternalError
from corec.storage.snapshots import Snapshots
from tests.support.faults.memory import memory_folder

pytestmark = pytest.mark.chaos

CHAOS = os.environ.get("COREC_CHAOS") == "1"


@pytest.fixture
def tmp_path():
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "snapshots"


@pytest.fixture
def snapshots(folder):
    snapshots = Snapshots(folder)
    assert snapshots.load() is None
    return snapshots


def blob(segment: int, turn: int, size: int = 200) -> bytes:
    return random.Random(1_000 * segment + turn).randbytes(size)


class Engine:
    """Twenty segments, of which each turn changes three."""

    def __init__(self, segments: int = 20) -> None:
        self.truth: dict[int, bytes] = {}
        self.turn = 0
        self._segments = segments

    def step(self) -> dict[int, bytes]:
        self.turn += 1
        every = range(self._segments)
        chosen = every if self.turn == 1 else random.Random(self.turn).sample(every, 3)
        changed = {segment: blob(segment, self.turn) for segment in chosen}
        self.truth.update(changed)
        return changed

    def save(self, snapshots: Snapshots) -> None:
        changed = self.step()
        snapshots.write(b"meta %d" % self.turn, changed.items(), self.turn, 10 * self.turn)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def restore(folder: Path, files: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_a_snapshot_is_loaded_as_it_was_written(snapshots, folder):
    snapshots.write(b"meta", [(7, b"seven"), (2, b""), (4_000_000_000, b"last")], turn=3, offset=30)
    loaded = Snapshots(folder).load()
    assert (loaded.meta, loaded.turn, loaded.offset, loaded.generation) == (b"meta", 3, 30, 1)
    assert dict(loaded.segments) == {7: b"seven", 2: b"", 4_000_000_000: b"last"}


def test_what_did_not_change_is_not_written_again(snapshots, folder):
    engine = Engine()
    sizes = []
    for _ in range(6):
        before = set(content(folder))
        engine.save(snapshots)
        sizes.append(sum(len(data) for name, data in content(folder).items() if name not in before))
        assert dict(Snapshots(folder).load().segments) == engine.truth
    # The second holds all again, so that the two share nothing; from then on what changed in two turns
    assert sizes[0] > 4_000 and sizes[1] > 4_000
    assert max(sizes[2:]) < 2_500


def test_two_generations_share_no_file(snapshots, folder, tmp_path):
    engine, truths = Engine(), []
    for number in range(30):
        engine.save(snapshots)
        truths.append(dict(engine.truth))
        # When any one file of two generations is gone, Then one of them can be loaded
        for name in content(folder) if number else ():
            copy = tmp_path / f"{number}-{name}"
            shutil.copytree(folder, copy)
            (copy / name).unlink()
            assert dict(Snapshots(copy).load().segments) in truths[-2:], name
            shutil.rmtree(copy)


def test_garbage_is_bounded_and_nobody_needs_what_is_deleted(folder):
    snapshots, engine = Snapshots(folder, little_garbage=2_000), Engine()
    snapshots.load()
    for _ in range(80):
        engine.save(snapshots)
        live = sum(map(len, engine.truth.values()))
        assert sum(map(len, content(folder).values())) < 2 * (2 * live + 2_000) + 40 * 1_000
    assert dict(Snapshots(folder).load().segments) == engine.truth


def test_the_journal_may_be_trimmed_up_to_the_generation_before(snapshots, folder):
    engine = Engine()
    assert snapshots.safe_offset == 0
    engine.save(snapshots)
    assert snapshots.safe_offset == 0
    engine.save(snapshots)
    assert snapshots.safe_offset == 10
    engine.save(snapshots)
    again = Snapshots(folder)
    again.load()
    assert again.safe_offset == snapshots.safe_offset == 20


def test_segments_that_are_gone_are_left_out(snapshots, folder):
    snapshots.write(b"", [(1, b"one"), (2, b"two"), (3, b"three")], 1, 1)
    snapshots.write(b"", [(1, b"uno")], 2, 2, live={1, 3})
    assert dict(Snapshots(folder).load().segments) == {1: b"uno", 3: b"three"}


def test_every_flipped_byte_is_detected_and_the_generation_before_is_used(folder, snapshots, caplog):
    """Of the newest generation and of every file that it refers to."""
    engine = Engine(segments=6)
    for _ in range(5):
        before = dict(engine.truth)
        engine.save(snapshots)
    files = content(folder)
    step = 1 if CHAOS else 11
    fallbacks = 0
    for name, data in files.items():
        for position in range(0, len(data), step):
            restore(folder, files)
            damaged = bytearray(data)
            damaged[position] ^= 1 << position % 8
            (folder / name).write_bytes(damaged)
            caplog.clear()
            recovered = Snapshots(folder)
            loaded = recovered.load()
            if loaded.turn == 5:  # the damage is in the other generation, or in garbage
                assert dict(loaded.segments) == engine.truth and loaded.meta == b"meta 5"
                continue
            fallbacks += 1
            assert (loaded.turn, dict(loaded.segments)) == (4, before)
            assert recovered.problems and "[Snapshots-corec1]" in caplog.text
            # And it goes on from there
            if fallbacks % 10 == 0:
                recovered.write(b"on", [(0, b"new")], 6, 60)
                assert dict(Snapshots(folder).load().segments) == before | {0: b"new"}
    assert fallbacks > sum(map(len, files.values())) / step / 5


def test_a_snapshot_cut_short_is_detected(folder, snapshots):
    engine = Engine()
    engine.save(snapshots)
    engine.save(snapshots)
    files = content(folder)
    newest = max(files)
    for length in range(0, len(files[newest]), 37):
        restore(folder, files)
        (folder / newest).write_bytes(files[newest][:length])
        assert Snapshots(folder).load().turn == 1
    restore(folder, {newest: files[newest]})
    assert Snapshots(folder).load().turn == 2


def test_damage_that_comes_after_loading_is_an_error_not_wrong_bytes(folder, snapshots):
    Engine().save(snapshots)
    loaded = Snapshots(folder).load()
    path = next(folder.iterdir())
    data = bytearray(path.read_bytes())
    data[data.index(blob(5, 1)) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="segment 5 at byte"):
        loaded.segments[5]


def test_no_sound_snapshot_is_none_and_said(folder, snapshots):
    Engine().save(snapshots)
    path = next(folder.iterdir())
    path.write_bytes(b"not a snapshot")
    damaged = Snapshots(folder)
    assert damaged.load() is None and len(damaged.problems) == 1
    Engine().save(damaged)
    assert Snapshots(folder).load().turn == 1


def test_a_snapshot_ahead_of_the_store_is_put_aside(folder, snapshots):
    # Given snapshots of turns 1 to 3 and a store that ends at turn 2
    engine = Engine()
    for _ in range(3):
        before = dict(engine.truth)
        engine.save(snapshots)
    recovered = Snapshots(folder)
    # When the newest that fits is asked for
    loaded = recovered.load(upto_turn=2)
    # Then it is that of turn 2, and that of turn 3 cannot come back later
    assert (loaded.turn, dict(loaded.segments)) == (2, before)
    assert Snapshots(folder).load().turn == 2
    assert "of turn 3, the store ends at 2" in recovered.problems[0]


@pytest.mark.parametrize("call", ["pwritev", "fsync", "rename"])
def test_a_full_disk_costs_the_snapshot_and_nothing_else(folder, snapshots, monkeypatch, call):
    engine = Engine()
    engine.save(snapshots)
    before = dict(engine.truth)
    # When the disk fills up during the second
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _full)
        with pytest.raises(DiskFull, match="write a snapshot"):
            engine.save(snapshots)
    assert [path.name for path in folder.iterdir()] == ["00000000000000000001.snap"]
    assert dict(Snapshots(folder).load().segments) == before
    # Then the next must be given what that one was given
    if call != "pwritev":
        lost = engine.truth.items() - before.items()
        assert {segment for segment, _ in lost} <= snapshots.owed
        with pytest.raises(InternalError, match="snapshot that failed"):
            snapshots.write(b"", [], 3, 30)
        snapshots.write(b"", engine.truth.items(), 3, 30)
        assert not snapshots.owed
        assert dict(Snapshots(folder).load().segments) == engine.truth


def _full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_snapshot_may_be_handed_over_in_pieces_or_taken_back(folder, snapshots):
    with snapshots.begin(b"first", 1, 10) as writer:
        writer.add(1, b"one")
        writer.add(2, b"two")
        writer.finish()
    with snapshots.begin(b"second", 2, 20) as writer:
        writer.add(1, b"uno")
    assert snapshots.owed == {1}
    assert (Snapshots(folder).load().meta, len(list(folder.iterdir()))) == (b"first", 1)


def test_what_an_unfinished_snapshot_left_is_removed(folder, snapshots):
    (folder / "00000000000000000009.snap.new").write_bytes(b"half")
    assert Snapshots(folder).load() is None
    assert list(folder.iterdir()) == []


def test_verify_names_what_is_wrong(folder, snapshots):
    engine = Engine()
    engine.save(snapshots)
    engine.save(snapshots)
    assert snapshots.inspect()[1] == []
    path = folder / "00000000000000000001.snap"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    _, problems = snapshots.inspect()
    assert len(problems) == 1 and "00001.snap is damaged: the footer" in problems[0]
