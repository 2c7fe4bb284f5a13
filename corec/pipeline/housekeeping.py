"""When the store is kept within its bounds: between two turns, in slices."""
import logging

from corec.common.clock import Clock
from corec.common.trouble import Trouble
from corec.errors import DiskFull
from corec.pipeline.recovery import Opened

log = logging.getLogger("corec.node.pipeline")

#: Seconds between two runs of rolling up and dropping old rows ...
EVERY_S = 0.5
#: ... and after one that found nothing to do: the look alone is a dozen queries.
LOOK_S = 10.0


class Housekeeping:
    """Runs the retention of a store in the thread that drives its pipeline."""

    def __init__(self, opened: Opened, instance: str, clock: Clock) -> None:
        self._opened, self._clock = opened, clock
        self._trouble = Trouble(log, f"Housekeeping-{instance}", clock=clock)
        self._due = 0.0

    def run(self) -> None:
        """Roll up and drop old rows for a few milliseconds, if it is due; a full disk is tried again later."""
        now, opened = self._clock.steady_s(), self._opened
        if now < self._due:
            return
        self._due = now + EVERY_S
        try:
            if not opened.retention.run(opened.engine.clock, opened.intake.first, boot_ms=self._clock.boot_ms()):
                self._due = now + LOOK_S
            self._trouble.recovered()
        except DiskFull as error:
            self._trouble.failed("old rows stay for now", error)
