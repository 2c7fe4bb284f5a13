"""Readings that do not fit into one envelope, by their times or their number, are cut into several; none is lost."""
from contextlib import closing

import numpy as np
import pytest

from corec._core.wire import unpack_envelope
from corec.errors import FrameError
from corec.publish import Publisher
from corec.streams import reach
from corec.streams.journal import Journal
from corec.streams.reach import cut_to_reach
from corec.streams.redis.bare_frames import as_entries
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow

DAY_MS = 86_400_000
NOW = 1_800_000_000_000


def times_of(pieces):
    """id -> time of the readings of pieces."""
    found = {}
    for frames, time, offsets in pieces:
        ids = np.frombuffer(frames, ">u4,u1,>f4,u1")["f0"].tolist()
        offsets = [0] * len(ids) if offsets is None else offsets.tolist()
        found |= {id: time + offset for id, offset in zip(ids, offsets, strict=True)}
    return found


def test_a_batch_within_reach_is_left_as_it_is():
    (piece,) = cut_to_reach(readings(range(3)), NOW, [0, -5, 2**31 - 1])
    assert (piece.frames, piece.time, piece.offsets.tolist()) == (readings(range(3)), NOW, [0, -5, 2**31 - 1])
    assert list(cut_to_reach(readings(range(3)), NOW)) == [(readings(range(3)), NOW, None)]
    assert list(cut_to_reach(b"", NOW)) == []


@pytest.mark.parametrize("days", [[0, 30], [30, 0], [0, 30, 0, 30, 0], [-3000, 0, 3000], list(range(0, 100, 7))])
def test_a_batch_beyond_reach_keeps_every_reading_and_its_time(days):
    offsets = np.array(days, np.int64) * DAY_MS
    pieces = list(cut_to_reach(readings(range(len(days))), NOW, offsets))
    assert times_of(pieces) == dict(enumerate((NOW + offsets).tolist()))
    assert len(pieces) <= (max(days) - min(days)) // 24 + 1   # stretches in turns do not make an envelope of each reading


def test_more_readings_than_an_envelope_holds_are_cut(monkeypatch):
    monkeypatch.setattr(reach, "MAX_FRAMES", 10)
    for offsets in (None, np.arange(25)):
        pieces = list(cut_to_reach(readings(range(25)), NOW, offsets))
        assert [len(frames) // 10 for frames, _, _ in pieces] == [10, 10, 5]
        assert len(times_of(pieces)) == 25


def test_offsets_of_another_length_are_refused():
    with pytest.raises(FrameError, match="one offset for each of 3 readings"):
        list(cut_to_reach(readings(range(3)), NOW, [1, 2]))


def test_bare_frames_of_30_days_become_batches_of_their_own_times():
    # Given bare frames, a batch between them, and times further apart than 24.8 days
    rows = [(f"{NOW + day * DAY_MS}-0".encode(), readings([day])) for day in (0, 1, 30, 31, 90)]
    rows.insert(2, (rows[1][0].replace(b"-0", b"-1"), b"a batch"))
    # When they are gathered, then each has its time, and the offsets count every entry
    entries = list(as_entries(rows, 100))
    bare = [unpack_envelope(entry.payload) for entry in entries if entry.payload != b"a batch"]
    assert times_of((batch.frames, batch.time, batch.offsets) for batch in bare) == {day: NOW + day * DAY_MS for day in (0, 1, 30, 31, 90)}
    assert [(entry.offset, entry.arrival) for entry in entries] == [
        (102, NOW + DAY_MS), (103, NOW + DAY_MS), (105, NOW + 31 * DAY_MS), (106, NOW + 90 * DAY_MS)]  # fmt: skip


def test_a_publisher_keeps_times_that_one_envelope_does_not_reach(tmp_path):
    # Given a device that sends readings 30 days after they were taken
    now = now_ms()
    offsets = np.array([-30 * DAY_MS, 0, -60 * DAY_MS, 0])
    with Publisher(small(), name="gate", data=tmp_path, folder=tmp_path / "tail") as publisher:
        # When it publishes them together, by either call
        publisher.publish(readings(range(4)), time=now, offsets=offsets)
        publisher.submit(readings(range(4, 8)), now, offsets).result(30)
        # Then what it keeps has each at its time
        batches = [unpack_envelope(waiting.envelope) for waiting in publisher.unsent.read(0, 1 << 20)]
        expected = dict(enumerate((now + np.concatenate([offsets, offsets])).tolist()))
        assert times_of((batch.frames, batch.time, batch.offsets) for batch in batches) == expected
        # And a node takes all of them
        with running(small(), tmp_path) as nucleus:
            assert publisher.flush(30)
            assert until(lambda: nucleus.store.state.ledger.get("in") == 8)
            assert nucleus.store.state.ledger["rejected_malformed"] == 0
            assert nucleus.engine.marks.gaps == 0


def test_readings_handed_to_a_node_are_cut_too(tmp_path):
    now = now_ms()
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings(range(3)), time=now, offsets=np.array([-50 * DAY_MS, 0, -25 * DAY_MS])).result(30)
        assert until(lambda: nucleus.store.state.ledger.get("in") == 3)
    with closing(Journal(tmp_path / "journal")) as journal:
        batches = [unpack_envelope(entry.payload) for entry in journal.read(0)]
    assert times_of((batch.frames, batch.time, batch.offsets) for batch in batches) == {0: now - 50 * DAY_MS, 1: now, 2: now - 25 * DAY_MS}
