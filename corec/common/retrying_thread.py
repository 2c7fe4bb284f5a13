"""A thread that repeats one pass until it is stopped. After a failure, which is logged as a `Trouble`, the pass is tried again."""

import logging
import threading
import traceback

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.errors import CoreCError, InternalError


class RetryingThread:
    """A subclass puts its work into `_pass`, which takes a bounded time and returns the seconds until the next pass, which `_wake` ends
    early (None: at once). It calls `_recovered` once a failure is known to be over.
    """

    again_s = 0.1  # seconds between a failure and the next try
    join_s: float | None = None  # how long `stop` waits for the current pass; None: to its end

    def __init__(self, thread: str, who: str, log: logging.Logger, *, meanwhile: str = "", clock: Clock = MACHINE) -> None:
        """*who*: `Component-instance`, for the log.  *meanwhile*: what happens until the failure is over, for the log line."""
        self._who, self._log, self._clock = who, log, clock
        self._trouble = Trouble(log, who, meanwhile=meanwhile, clock=clock)
        self._wake, self._stop = threading.Event(), threading.Event()
        self.problem = ""
        self._again_at = 0.0  # by the steady clock
        self._driver = clock.drive(self._step, name=thread, woken=self._wake)

    def start(self) -> None:
        self._driver.start()

    def ask_to_stop(self) -> None:
        """Return at once; the thread ends after its current pass."""
        self._stop.set()
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to stop and wait for it, for up to `join_s` seconds."""
        self.ask_to_stop()
        self._driver.join(self.join_s)

    def _step(self) -> float | None:
        if self._stop.is_set():
            self._trouble.forget()
            self._end()
            return None
        if (left := self._again_at - self._clock.steady_s()) > 0:  # woken, but not by the end of the pause behind a failure
            return left
        try:
            return self._pass() or 0.0
        except CoreCError as error:
            return self._try_again(error)
        except Exception as error:  # a bug of CoreC: log it and try again, instead of a thread that ends silently
            return self._try_again(InternalError(f"{type(error).__name__}: {error}", detail=traceback.format_exc()))

    def _try_again(self, error: CoreCError) -> float:
        self._failed(error)
        self._again_at = self._clock.steady_s() + self.again_s
        return self.again_s

    def _pass(self) -> float | None:
        raise NotImplementedError

    def _end(self) -> None:
        """Runs in the thread after the last pass. A subclass closes its connections here."""

    def _failed(self, error: CoreCError) -> None:
        self._trouble.failed("", error)
        self.problem = error.text

    def _recovered(self, line: str = "") -> None:
        """*line*: the text to log, instead of how long the failure took."""
        self._trouble.recovered(line)
        self.problem = ""
