"""What goes wrong again and again: said once, then once a minute with its count, until it is over."""

import logging
import time
from typing import Any, NamedTuple

from corec.common.times import wall_ms
from corec.errors import DiskFull, ServerAway

#: Lines about one trouble are at least this far apart.
EVERY_S = 60.0


class Failure(NamedTuple):
    since: int  # ms
    state: str  # "full", "away" or "failing"
    text: str


class Trouble:
    """The trouble that one part of a node has with its disk or its server.  Its own thread tells; any may ask."""

    def __init__(self, log: logging.Logger, who: str, *, every_s: float = EVERY_S, meanwhile: str = "") -> None:
        """*who*: `Component-instance`, for the log.  *meanwhile*: what happens until it is over, at the end of each line."""
        self._log, self._who, self._every, self._meanwhile = log, who, every_s, meanwhile and f"; {meanwhile}"
        self._due = 0.0
        self._unsaid = 0
        self._said = False
        self._failure: Failure | None = None

    def failed(self, what: str, error: Exception, count: int = 1) -> None:
        """*what* failed with *error*, *count* times; no *what* where the error says it."""
        since = self._failure.since if self._failure else wall_ms()
        state = "full" if isinstance(error, DiskFull) else "away" if isinstance(error, ServerAway) else "failing"
        self._failure = Failure(since, state, getattr(error, "text", str(error)))
        if time.monotonic() < self._due:
            self._unsaid += count
            return
        more = f" (and {self._unsaid:,} more since the last such line)" if self._unsaid else ""
        self._log.error("[%s] %s%s%s%s", self._who, f"{what}{more}: " if what else "", error, self._meanwhile, "" if what else more)
        self._due, self._unsaid, self._said = time.monotonic() + self._every, 0, True

    def recovered(self, said: str = "") -> None:
        """It works again; *said*: what the line about that says."""
        if self._failure is None:
            return
        if self._said:
            seconds = (wall_ms() - self._failure.since) / 1000
            self._log.warning("[%s] %s", self._who, said or f"works again, after {seconds:.1f} s")
        self._failure, self._said = None, False

    def status(self) -> dict[str, Any] | None:
        """What is wrong now, as plain values."""
        return self._failure._asdict() if self._failure else None
