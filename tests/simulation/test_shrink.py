"""A life that fails is shrunk to what makes it fail."""
import pytest

from corec.engine.outcome import is_amending
from corec.pipeline import recovery
from tests.support.lives.events import Event, Life, drawn
from tests.support.lives.shrink import failure_of, shrunk

pytestmark = pytest.mark.slow


def test_only_the_events_that_matter_stay():
    # Given a life that fails where a kill comes anywhere behind a step of the clock
    life = drawn(5, 150, 0.15)

    def fails(each):
        steps = [event.minute for event in each.events if event.what == "clock"]
        return bool(steps) and any(event.what == "kill" and event.minute > steps[0] for event in each.events)

    assert fails(life) and len(life.events) > 10
    # When it is shrunk, Then it has these two, close to each other, and nothing they do takes long
    small = shrunk(life, fails)
    assert [event.what for event in small.events] == ["clock", "kill"] and small.minutes < 10
    assert all(event.seconds == event.right_after == 0 for event in small.events)


def test_what_it_prints_is_the_life():
    life = drawn(5, 150, 0.15)
    assert eval(str(life), {"Life": Life, "Event": Event}) == life


def test_a_node_that_drops_amending_rows_is_found_out_by_two_events_at_most(monkeypatch):
    # Given a node that writes no row which amends one
    monkeypatch.setattr(recovery, "one_row_a_window", lambda rows: rows[~is_amending(rows)])
    # When lives are played until one fails, and that is shrunk
    life, failure = next((life, failure) for number in range(20) if (failure := failure_of(life := drawn(number, 60, 0.15))))
    small = shrunk(life, lambda each: failure_of(each) == failure, tries=150)
    # Then it says what is lost, and all that is left of its events is what makes readings late
    assert failure == "readings lost" and len(life.events) > len(small.events) <= 2
    # When the node works again, Then that life passes
    monkeypatch.undo()
    assert failure_of(small) is None
