"""SIGINT and SIGTERM end what waits, whatever they interrupt."""
import os
import signal
import threading

import pytest

from corec.node.stop_signals import stop_signals
from tests.support.nodes import until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_within_the_lock_of_the_event_sets_it(number):
    # Given an event that a signal is to set
    over = threading.Event()
    with stop_signals(over.set):
        # When the signal comes while the main thread holds the event's own lock, as it does for a moment in each wait
        with over._cond:
            os.kill(os.getpid(), number)
            assert not over._flag
        # Then it is set as soon as the lock is free
        assert over.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_do_what_they_did_before_once_the_node_has_ended(number):
    # Given a program that hears a signal itself
    caught, over, former = threading.Event(), threading.Event(), signal.getsignal(number)
    signal.signal(number, lambda *_: caught.set())
    try:
        # When something that ends at signals has ended, by an error too
        with pytest.raises(RuntimeError), stop_signals(over.set):
            raise RuntimeError
        os.kill(os.getpid(), number)
        # Then the program hears them again, and what ended does not
        assert caught.wait(60)
        assert not over.is_set()
    finally:
        signal.signal(number, former)
    # And no thread is left to attend to them
    assert until(lambda: not [thread for thread in threading.enumerate() if thread.name == "signals"])
