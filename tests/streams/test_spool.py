"""The spool: what was taken off Redis while the store was away, given back in order and piece by piece."""
from contextlib import closing

import pytest

from corec.streams.journal import Journal
from corec.streams.redis.spool import PREFIX, Spool, Spooled


def rows(number, count=3):
    """Entries of one read, with their ids."""
    return [(f"{1000 + number}-{place}".encode(), bytes([number % 256]) * 50) for place in range(count)]


@pytest.fixture
def spool(tmp_path):
    with closing(Spool(tmp_path / "spool", max_bytes=64 << 20, instance="test1")) as spool:
        yield spool


def test_records_come_back_in_order_while_others_are_added(spool):
    # Given records, of which some were read on
    for number in range(10):
        spool.put(Spooled(number, "run", rows(number)))
    given = [spool.next() for _ in range(4)]
    # When more are added, then all come, once, in order
    spool.put(Spooled(10, "run", rows(10)))
    while spool.waiting:
        given.append(spool.next())
    assert [record.rows for _, record in given] == [rows(number) for number in range(11)]
    assert spool.next() is None
    # And each can be had again by its name, in any order
    assert [spool.again(name) for name, _ in reversed(given)] == [record.rows for _, record in reversed(given)]
    assert spool.again(f"{PREFIX}99") == []
    # And those that are still needed after others were let go
    spool.trim("1006-0")
    assert spool.again(given[6][0]) == rows(6)


def test_a_long_spool_is_read_a_piece_at_a_time(spool, monkeypatch):
    # Given as many records as some minutes give
    for number in range(3000):
        spool.put(Spooled(number, "run", rows(number)))
    reads, read = [], Journal.read
    monkeypatch.setattr(Journal, "read", lambda journal, after: reads.append(after) or read(journal, after))
    # When all are read on, and read again, then the file is gone through once each time
    names = [spool.next()[0] for _ in range(3000)]
    assert all(spool.again(name) for name in names)
    assert len(reads) < 10
