"""One log line for a failure that repeats: at once, then once a minute with a count, and one line when it is over.

A server that is away is one failure for all who need it: one line at its beginning, one at its end.
"""

import logging
from typing import Any, NamedTuple

from corec.common.clock import MACHINE, Clock
from corec.common.outages import Outage, outage_of
from corec.errors import DiskFull, ServerAway

#: Seconds between two log lines about the same failure, at least.
EVERY_S = 60.0


class Failure(NamedTuple):
    since: int  # ms
    state: str  # "full", "away" or "failing"
    text: str


class Trouble:
    """The current failure of one component with its disk or its server. One thread writes it; any thread may read `status`."""

    def __init__(self, log: logging.Logger, who: str, *, every_s: float = EVERY_S, meanwhile: str = "",
                 clock: Clock = MACHINE) -> None:  # fmt: skip
        """*who*: `Component-instance`, for the log.  *meanwhile*: what happens until the failure is over, at the end of each line."""
        self._clock = clock
        self._log, self._who, self._every, self._meanwhile = log, who, every_s, meanwhile and f"; {meanwhile}"
        self._due = 0.0
        self._unlogged = 0
        self._logged = False
        self._failure: Failure | None = None
        self._server = ""  # the one that is away
        self._outage: Outage | None = None

    def failed(self, what: str, error: Exception, count: int = 1) -> None:
        """Note that *what* failed *count* times with *error*, and log it if a line is due.

        what: "" where the error says it.
        """
        since = self._failure.since if self._failure else self._clock.wall_ms()
        away = getattr(error, "away", None)
        state = "full" if isinstance(error, DiskFull) else "away" if away or isinstance(error, ServerAway) else "failing"
        self._failure = Failure(since, state, getattr(error, "text", str(error)))
        if self._outage and away != self._server:
            self._end_outage()
        if away:
            self._server, self._outage = away, outage_of(away)
            if self._outage.begin(self, self._clock):
                self._log.error("[%s] %s%s%s", self._who, f"{what}: " if what else "", error, self._meanwhile)
            return
        if self._clock.steady_s() < self._due:
            self._unlogged += count
            return
        more = f" (and {self._unlogged:,} more since the last such line)" if self._unlogged else ""
        self._log.error("[%s] %s%s%s%s", self._who, f"{what}{more}: " if what else "", error, self._meanwhile, "" if what else more)
        self._due, self._unlogged, self._logged = self._clock.steady_s() + self._every, 0, True

    def recovered(self, line: str = "") -> None:
        """Note that the work succeeded, and log the end of a failure that was logged.

        line: the text to log, instead of how long the failure took.
        """
        if self._failure is None:
            return
        if self._outage:
            self._end_outage()
        if self._logged:
            seconds = (self._clock.wall_ms() - self._failure.since) / 1000
            self._log.warning("[%s] %s", self._who, line or f"works again, after {seconds:.1f} s")
        self._failure, self._logged = None, False

    def forget(self) -> None:
        """Its component has ended; a server that was away for it is back as far as it knows."""
        if self._outage:
            self._outage.forget(self)

    def _end_outage(self) -> None:
        seconds = self._outage.end(self, self._clock)
        if seconds is not None:
            self._log.warning("[%s] %s answers again, after %.1f s", self._who, self._server, seconds)
        self._server, self._outage = "", None

    def status(self) -> dict[str, Any] | None:
        """The failure that goes on, as {since: ms, state, text}; None when there is none."""
        return self._failure._asdict() if self._failure else None
