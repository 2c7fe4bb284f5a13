"""Whether readings may still wait somewhere that the node sees: then arrival does not go on by ticks."""
import logging
from collections.abc import Callable
from typing import Any

from corec.common.clock import MACHINE, Clock

log = logging.getLogger("corec.pipeline.still_waiting")

#: Seconds that senders have after a start, and after what held readings back is over.
MOMENT_S = 1.0
#: Arrival goes on by ticks, this long after `retraso_max`, whatever holds readings back.
MOST_S = 60.0


class StillWaiting:
    """The one rule for time that stands still.  Used by the thread that drives the pipeline; any thread may read `status`."""

    def __init__(self, reason: Callable[[], str], lateness_s: float, instance: str, clock: Clock = MACHINE) -> None:
        """reason: what holds readings back now, as text; "" where nothing does."""
        self._reason, self._instance = reason, instance
        self._most = lateness_s + MOST_S
        self._since: float | None = clock.steady_s()  # a start is as if something had held readings back until now
        self._seen = self._since
        self._why, self._goes_on = "", False

    def holds(self, now: float) -> bool:
        """Whether time stands still at *now* (s, by the steady clock), when nothing comes."""
        if why := self._reason():
            self._why, self._seen = why, now
            self._since = now if self._since is None else self._since
        elif now - self._seen >= MOMENT_S:
            self.over()
        if self._since is None:
            return False
        if now - self._since < self._most:
            return True
        if not self._goes_on and why:
            self._goes_on = True
            log.warning("[Pipeline-%s] time goes on after %.0f s, though readings may wait: %s; what comes later amends its windows",
                        self._instance, now - self._since, why)  # fmt: skip
        return False

    def over(self) -> None:
        """Note that readings come, or that nothing holds them back any more."""
        if self._goes_on:
            log.warning("[Pipeline-%s] readings come again, or nothing holds them back any more", self._instance)
        self._since, self._why, self._goes_on = None, "", False

    def status(self) -> dict[str, Any] | None:
        """{why, goes_on: whether time goes on all the same}; None where nothing holds readings back."""
        why = self._why
        return {"why": why, "goes_on": self._goes_on} if why else None
