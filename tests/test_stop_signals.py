"""SIGINT and SIGTERM end what waits, whatever they interrupt."""
import os
import signal
import threading

import pytest

from corec.node.stop_signals import on_stop_signals


@pytest.fixture
def handlers():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_within_the_lock_of_the_event_sets_it(handlers, number):
    # Given an event that a signal is to set
    over = threading.Event()
    on_stop_signals(over.set)
    # When the signal comes while the main thread holds the event's own lock, as it does for a moment in each wait
    with over._cond:
        os.kill(os.getpid(), number)
        assert not over._flag
    # Then it is set as soon as the lock is free
    assert over.wait(10)
