"""A thread that does its part again and again: what fails is told once and tried again a little later, until it is stopped."""

import logging
import threading

from corec.errors import CoreCError


class RetryingThread:
    """What it does stands in `_pass`, which takes a bounded time; it sets `problem` back once it knows that things work."""

    again_s = 0.1  # between a failure and the next try
    join_s: float | None = None  # how long `stop` waits for the pass that runs; None: to its end

    def __init__(self, thread: str, who: str, log: logging.Logger, *, meanwhile: str = "") -> None:
        """*who*: `Component-instance`, for the log.  *meanwhile*: what a line about a problem says that happens until it is over."""
        self._who, self._log, self._meanwhile = who, log, meanwhile and f"; {meanwhile}"
        self._wake, self._stop = threading.Event(), threading.Event()
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Stop soon."""
        self._stop.set()
        self._wake.set()

    def stop(self) -> None:
        """Stop; once it has, nothing is done any more."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(self.join_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._pass()
            except CoreCError as error:
                self._failed(error)
                self._stop.wait(self.again_s)
        self._end()

    def _pass(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """What is left to do in the thread once it stops."""

    def _rest(self, seconds: float) -> None:
        """Until somebody wakes it, or *seconds*."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _failed(self, error: CoreCError) -> None:
        if not self.problem:
            self._log.error("[%s] %s%s", self._who, error, self._meanwhile)
        self.problem = error.text
