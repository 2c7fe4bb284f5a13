"""Group commit: a ticket resolves once its batch is durable."""

import threading
import time

import pytest

from corec.errors import DiskFull, InternalError, StorageError
from corec.streams.journal import Journal
from corec.streams.journal.group_commit import GroupCommitter


class FakeLog:
    """A log in memory whose sync takes as long as it is told, or fails."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.arrivals: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.last = 0

    def append(self, payloads, arrival):
        self.groups.append(list(payloads))
        self.arrivals += arrival
        self.last += len(payloads)
        return self.last

    def sync(self):
        self.gate.wait()
        if self.error:
            self.last -= len(self.groups.pop())
            raise self.error
        return self.last


@pytest.fixture
def log():
    return FakeLog()


@pytest.fixture
def committer(log):
    committer = GroupCommitter(log, group_ms=10)
    yield committer
    log.gate.set()
    committer.stop()


def test_each_producer_gets_its_own_offset(log, committer):
    tickets = [committer.submit(b"%d" % n, 100 + n) for n in range(50)]
    assert [ticket.result(60) for ticket in tickets] == list(range(1, 51))
    assert [payload for group in log.groups for payload in group] == [b"%d" % n for n in range(50)]
    assert log.arrivals == [100 + n for n in range(50)]


def test_batches_handed_in_together_are_accepted_together_or_not_at_all(log):
    # Given groups that one batch fills, and a disk that fails now and then
    committer = GroupCommitter(log, group_bytes=1)
    try:
        log.error = DiskFull("full")
        assert isinstance(committer.submit_all((b"1", b"2", b"3")).exception(60), DiskFull) and not log.groups
        log.error = None
        # When they are handed in again, Then they are one group, whose ticket gives the last one's offset
        first, after = committer.submit_all((b"1", b"2", b"3")), committer.submit(b"4")
        assert (first.result(60), after.result(60)) == (3, 4) and log.groups == [[b"1", b"2", b"3"], [b"4"]]
    finally:
        committer.stop()


def test_batches_that_come_together_share_a_sync(log, committer):
    log.gate.clear()    # the disk takes its time over the first
    committer.submit(b"x")
    while not log.groups:
        time.sleep(0.001)
    tickets = [committer.submit(b"x") for _ in range(200)]
    log.gate.set()
    tickets[-1].result(60)
    assert [len(group) for group in log.groups] == [1, 200]


def test_a_lone_batch_waits_no_longer_than_the_group_time(committer):
    begun = time.monotonic()
    committer.submit(b"x").result(60)
    assert 0.008 < time.monotonic() - begun < 1


def test_an_urgent_batch_does_not_wait_for_company(log):
    committer = GroupCommitter(log, group_ms=60_000)
    ticket = committer.submit(b"plain")
    assert committer.submit(b"critical", urgent=True).result(60) == 2
    assert ticket.result(0) == 1
    committer.stop()


def test_a_large_group_does_not_wait_either(log):
    committer = GroupCommitter(log, group_ms=60_000, group_bytes=1_000)
    tickets = [committer.submit(b"x" * 400) for _ in range(3)]
    assert [ticket.result(60) for ticket in tickets] == [1, 2, 3]
    committer.stop()


def test_a_slow_disk_holds_producers_back(log):
    # Given a disk that does not answer, and room for 1,000 bytes
    committer = GroupCommitter(log, group_ms=0, pending_bytes=1_000)
    log.gate.clear()
    first = committer.submit(b"x" * 400)
    while not log.groups:
        time.sleep(0.001)
    waiting = [committer.submit(b"y" * 400) for _ in range(3)]
    # When one more comes, it has to wait
    with pytest.raises(StorageError, match="did not take a batch within"):
        committer.submit(b"z", timeout=0.02)
    # Then it passes once the disk answers
    late = []
    thread = threading.Thread(target=lambda: late.append(committer.submit(b"z")))
    thread.start()
    log.gate.set()
    thread.join(60)
    assert [ticket.result(60) for ticket in (first, *waiting, *late)] == [1, 2, 3, 4, 5]
    committer.stop()


def test_an_error_of_the_disk_reaches_every_producer_of_the_group(log, committer):
    log.error = DiskFull("no room left")
    tickets = [committer.submit(b"x") for _ in range(3)]
    for ticket in tickets:
        with pytest.raises(DiskFull):
            ticket.result(60)
    # And the next group passes
    log.error = None
    assert committer.submit(b"y").result(60) == 1


def test_no_producer_waits_for_ever_on_a_bug(log, committer):
    log.error = ValueError("unforeseen")
    with pytest.raises(ValueError):
        committer.submit(b"x").result(60)


def test_stop_commits_what_is_pending(log):
    committer = GroupCommitter(log, group_ms=60_000)
    tickets = [committer.submit(b"x") for _ in range(10)]
    committer.stop()
    assert [ticket.result(0) for ticket in tickets] == list(range(1, 11))
    with pytest.raises(InternalError, match="after the committer had stopped"):
        committer.submit(b"y")


def test_a_batch_is_bytes_and_cannot_be_taken_back(committer):
    with pytest.raises(InternalError, match="expected a batch as bytes, got str"):
        committer.submit("x")
    ticket = committer.submit(b"x")
    assert not ticket.cancel()
    assert ticket.result(60) == 1


def test_it_measures_itself(log):
    seen = []
    committer = GroupCommitter(log, on_commit=seen.append)
    for _ in range(5):
        committer.submit(b"x", readings=1_000, urgent=True).result(60)
    stats = committer.stats()
    assert (stats.accepted, stats.groups, stats.pending_bytes) == (5_000, 5, 0)
    assert stats.readings_per_s > 0 and 0 <= stats.sync_p50_ms <= stats.sync_p99_ms
    assert seen == [1, 2, 3, 4, 5]
    committer.stop()


def test_what_a_ticket_promised_is_in_the_journal(tmp_path):
    # Given eight producers on one journal
    journal = Journal(tmp_path / "journal", segment_bytes=1 << 16)
    committer = GroupCommitter(journal, group_ms=1)
    promised: dict[int, bytes] = {}

    def produce(name: int) -> None:
        tickets = [(payload := b"%d-%d" % (name, n), committer.submit(payload)) for n in range(200)]
        promised.update({ticket.result(60): payload for payload, ticket in tickets})

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # When it stops without the journal being closed
    committer.stop()
    # Then every promise is kept
    entries = Journal(tmp_path / "journal").read(0)
    assert {entry.offset: entry.payload for entry in entries} == promised and len(promised) == 1_600
