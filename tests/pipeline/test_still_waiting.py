"""When arrival goes on by ticks: one rule for starts, for a Redis that is away or refuses, and its bound."""
import time

import pytest

from corec.pipeline.still_waiting import StillWaiting


class Held:
    """Something that holds readings back, and a rule that asks for it."""

    def __init__(self):
        self.why, self.at = "", time.monotonic()
        self.rule = StillWaiting(lambda: self.why, 2, "test1")

    def holds_after(self, seconds):
        self.at += seconds
        return self.rule.holds(self.at)


def test_senders_have_a_moment_after_a_start():
    held = Held()
    assert held.holds_after(0.1) and held.holds_after(0.8) and held.rule.status() is None
    assert not held.holds_after(0.2)


def test_time_stands_still_while_readings_are_held_back_and_a_moment_after(caplog):
    # Given a node at work
    held = Held()
    assert not held.holds_after(5)
    # When something holds readings back for less than the bound
    held.why = "Redis is away"
    assert all(held.holds_after(10) for _ in range(6))
    assert held.rule.status() == {"why": "Redis is away", "goes_on": False}
    # Then time goes on a second after it is over
    held.why = ""
    assert held.holds_after(0.5) and not held.holds_after(1.1)
    assert held.rule.status() is None and not caplog.records


@pytest.mark.parametrize("comes", [False, True])
def test_time_goes_on_after_retraso_max_and_a_minute_and_log_and_status_say_why(caplog, comes):
    # Given something that holds readings back for long
    held = Held()
    held.why = "Redis is away"
    assert held.holds_after(61.5)
    # When the bound is reached, then time goes on, and the log says so once
    assert not any(held.holds_after(1) for _ in range(100))
    assert held.rule.status() == {"why": "Redis is away", "goes_on": True}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "goes on" in line and "Redis is away" in line
    # And when it is over, or readings come all the same, then that is said, and another time has a bound of its own
    if comes:
        held.rule.over()
    else:
        held.why = ""
        assert not held.holds_after(2)
    assert len(caplog.records) == 2 and held.rule.status() is None
    held.why = "Redis is full"
    assert held.holds_after(2) and held.holds_after(55)
