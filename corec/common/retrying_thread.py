"""A thread that repeats one pass until it is stopped. After a failure, which is logged as a `Trouble`, the pass is tried again."""

import logging
import threading
import traceback

from corec.common.trouble import Trouble
from corec.errors import CoreCError, InternalError


class RetryingThread:
    """A subclass puts its work into `_pass`, which takes a bounded time. It calls `_recovered` once a failure is known to be over."""

    again_s = 0.1  # seconds between a failure and the next try
    join_s: float | None = None  # how long `stop` waits for the current pass; None: to its end

    def __init__(self, thread: str, who: str, log: logging.Logger, *, meanwhile: str = "") -> None:
        """*who*: `Component-instance`, for the log.  *meanwhile*: what happens until the failure is over, for the log line."""
        self._who, self._log = who, log
        self._trouble = Trouble(log, who, meanwhile=meanwhile)
        self._wake, self._stop = threading.Event(), threading.Event()
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Return at once; the thread ends after its current pass."""
        self._stop.set()
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to stop and wait for it, for up to `join_s` seconds."""
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
            except Exception as error:  # a bug of CoreC: log it and try again, instead of a thread that ends silently
                self._failed(InternalError(f"{type(error).__name__}: {error}", detail=traceback.format_exc()))
                self._stop.wait(self.again_s)
        self._end()

    def _pass(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Runs in the thread after the last pass. A subclass closes its connections here."""

    def _rest(self, seconds: float) -> None:
        """Sleep for *seconds*, or until `_wake` is set."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _failed(self, error: CoreCError) -> None:
        self._trouble.failed("", error)
        self.problem = error.text

    def _recovered(self, line: str = "") -> None:
        """*line*: the text to log, instead of how long the failure took."""
        self._trouble.recovered(line)
        self.problem = ""
