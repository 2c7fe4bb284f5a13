"""A thread that does its part again and again: one line for a problem however long it lasts, and a stop that ends it."""
import logging
import threading

from corec.common.retrying_thread import RetryingThread
from corec.errors import ServerError
from tests.support.nodes import until

log = logging.getLogger(__name__)


class Fetcher(RetryingThread):
    again_s = 0.001

    def __init__(self):
        super().__init__("fetcher", "Fetcher-n1", log, meanwhile="the rest waits")
        self.away, self.passes, self.ended = True, 0, threading.Event()

    def _pass(self):
        self.passes += 1
        if self.away:
            raise ServerError("nobody answers")
        self._recovered()
        return 60

    def _end(self):
        self.ended.set()


def test_a_problem_is_told_once_and_tried_again_until_it_is_over(caplog):
    # Given a thread whose server is away
    fetcher = Fetcher()
    fetcher.start()
    try:
        until(lambda: fetcher.passes > 5)
        # Then its problem is set and was logged once
        assert fetcher.problem == "nobody answers"
        assert [record.getMessage() for record in caplog.records] == ["[Fetcher-n1] nobody answers; the rest waits"]
        # When the server is back, then it works
        fetcher.away = False
        until(lambda: not fetcher.problem)
        # And says so
        assert len(caplog.records) == 2 and "[Fetcher-n1] works again, after" in caplog.records[1].getMessage()
    finally:
        fetcher.stop()
    # And a stop has ended a pass that was to rest for a minute
    assert fetcher.ended.is_set() and "fetcher" not in [thread.name for thread in threading.enumerate()]


def test_a_mistake_does_not_end_the_thread(caplog):
    # Given a thread that fails by a mistake of ours
    fetcher = Fetcher()
    fetcher.away, passes = False, fetcher._pass
    fetcher._pass = lambda: 1 // 0 if fetcher.passes == 0 and not fetcher.problem else passes()
    fetcher.start()
    try:
        # Then it says so, as a bug, and goes on
        assert until(lambda: fetcher.passes and not fetcher.problem)
        assert "ZeroDivisionError" in caplog.text and "this is a bug in CoreC" in caplog.text
    finally:
        fetcher.stop()


def test_stop_of_a_thread_that_never_started_returns():
    Fetcher().stop()
