"""A thread that does its part again and again; what fails is tried again a little later, and told as every trouble is."""

import logging
import threading
import traceback

from corec.common.trouble import Trouble
from corec.errors import CoreCError, InternalError


class RetryingThread:
    """What it does stands in `_pass`, which takes a bounded time; it calls `_works` once it knows that what failed does not any more."""

    again_s = 0.1  # between a failure and the next try
    join_s: float | None = None  # how long `stop` waits for the pass that runs; None: to its end

    def __init__(self, thread: str, who: str, log: logging.Logger, *, meanwhile: str = "") -> None:
        """*who*: `Component-instance`, for the log.  *meanwhile*: what a line about a problem says that happens until it is over."""
        self._who, self._log = who, log
        self._trouble = Trouble(log, who, meanwhile=meanwhile)
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
            except Exception as error:  # a mistake of ours: told, and tried again, rather than a thread that is silently gone
                self._failed(InternalError(f"{type(error).__name__}: {error}", detail=traceback.format_exc()))
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
        self._trouble.failed("", error)
        self.problem = error.text

    def _works(self, said: str = "") -> None:
        """*said*: what the line about that says."""
        self._trouble.recovered(said)
        self.problem = ""
