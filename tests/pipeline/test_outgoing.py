"""Stream entries of plugins wait for a commit of their own where somebody waits for the next one."""
from types import SimpleNamespace

import pytest

from corec.pipeline import plugin_entries as outgoing
from corec.pipeline.plugin_entries import CHUNK_BYTES, FEW_BYTES, PATIENCE_S, Outgoing
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


def filled(count, size, *, urgent=(), clock=(100.0,)):
    """So many entries of so many bytes; *clock* holds the time."""
    out = Outgoing(SimpleNamespace(steady_s=lambda: clock[0]))
    first = [out.put(("s", number, bytes(size)), number in urgent) for number in range(count)]
    assert first == [True] + [False] * (count - 1)
    return out


def numbers(sent):
    return [number for _, number, _ in sent]


def test_much_stays_where_somebody_waits_and_goes_in_order_and_pieces_else():
    # Given more than one commit takes
    out = filled(100, 1000)
    assert out.due
    # When somebody waits for a commit, then it carries nothing; others carry a piece each, in order
    assert out.take(waited_for=True) == []
    pieces = [numbers(out.take(waited_for=False)) for _ in range(3)]
    assert [number for piece in pieces for number in piece] == list(range(100))
    assert len(pieces[0]) == -(-CHUNK_BYTES // 1000) and not pieces[2] and not len(out) and not out.due


def test_little_comes_along():
    out = filled(4, FEW_BYTES // 4)
    assert not out.due
    assert numbers(out.take(waited_for=True)) == [0, 1, 2, 3]


def test_urgent_entry_takes_along_what_stands_before_it():
    out = filled(100, 1000, urgent=[90])
    assert numbers(out.take(waited_for=True)) == list(range(91))
    assert len(out) == 9


def test_what_waited_long_enough_is_due_and_then_comes_along():
    clock = [100.0]
    out = filled(10, 1000, clock=clock)
    assert not out.due
    clock[0] += PATIENCE_S
    assert out.due and not out.take(waited_for=True)
    clock[0] += PATIENCE_S
    assert len(out.take(waited_for=True)) == 10


def test_entry_larger_than_a_piece_goes_alone():
    out = filled(2, 2 * CHUNK_BYTES)
    assert [numbers(out.take(waited_for=False)) for _ in range(2)] == [[0], [1]]


def test_commits_of_critical_readings_carry_no_flood(tmp_path, monkeypatch):
    monkeypatch.setattr(outgoing, "PATIENCE_S", 60.0)   # a slow machine makes nothing old
    # Given a node whose commits are looked at
    with running(small(), tmp_path) as nucleus:
        commit, seen = nucleus.store.commit, []

        def look(turn, **named):
            seen.append((turn.to_offset - turn.from_offset, sum(len(entry) for _, _, entry in named["sent"])))
            return commit(turn, **named)

        nucleus.store.commit = look
        # When 2,000 entries and critical readings come at the same time
        for number in range(2000):
            nucleus.pipeline.put_out("ruido", bytes(1000))
            if number % 100 == 0:
                nucleus.submit(readings([2500], canal=2), time=now_ms()).result()
        # Then all entries are committed, in pieces, the most of them in commits of their own
        assert until(lambda: sum(size for _, size in seen) == 2_000_000)
        assert max(size for _, size in seen) <= CHUNK_BYTES + 1000
        assert sum(size for batches, size in seen if not batches) > 1_000_000
        assert until(lambda: len(nucleus.pipeline.read_out("ruido")) == 2000)


def test_a_stop_commits_what_waits(tmp_path):
    with running(small(), tmp_path) as nucleus:
        for _ in range(300):
            nucleus.pipeline.put_out("ruido", bytes(1000))
    with running(small(), tmp_path) as nucleus:
        assert len(nucleus.pipeline.read_out("ruido")) == 300
