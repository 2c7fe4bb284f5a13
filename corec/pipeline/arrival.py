"""What time it is for a shard: when an entry would arrive that came now, and whether the clock has to be set."""
import logging
from typing import Any

from corec.common.clock import Clock
from corec.common.times import iso
from corec.engine import Engine
from corec.engine.open_turn import STEP_MS
from corec.streams.intake import Intake

log = logging.getLogger("corec.pipeline.arrival")


class ArrivalClock:
    """The engine's clock between two entries: the log's own stamps, and the engine's offset to them.

    Where the log is stamped on another machine, its newest stamp and the time since are taken: no decision compares the clocks of
    two machines.
    """

    def __init__(self, intake: Intake, engine: Engine, instance: str, clock: Clock) -> None:
        self._intake, self._engine, self._instance, self._clock = intake, engine, instance, clock
        self._opened_clock, self._opened_at = engine.clock, clock.steady_s()

    def stamp_now(self) -> int:
        """How the log stamps an entry that comes now, ms; from any thread."""
        stamp = self._intake.stamp_now()
        return self._clock.wall_ms() if stamp is None else stamp

    def now(self) -> int:
        """The engine's clock as it would be for an entry that comes now, ms."""
        stamp = self._intake.stamp_now()
        if stamp is not None:
            return stamp + self._engine.clock_offset
        if not self._opened_clock:
            return self._clock.wall_ms()
        return self._opened_clock + round(1000 * (self._clock.steady_s() - self._opened_at))

    def correction(self) -> dict[str, Any] | None:
        """The command that sets the engine's clock where this machine's was stepped; None where all is well.

        The journal's stamps go on as they were: they know nothing of the step.  Readings that were refused for their time are tried again
        at each start of the machine too: its clock may be right now.
        """
        if self._intake.anchor is None:
            return None
        wall, stamp = self._clock.wall_ms(), self._intake.stamp_now()
        off, ahead = wall - stamp - self._engine.clock_offset, self._engine.clock - wall
        command = {"op": "clock", "to": wall, "offset": wall - stamp, "anchor": self._intake.anchor}
        if abs(off) <= STEP_MS and ahead <= STEP_MS:
            return command if self._engine.has_refused_times and self._engine.clock_anchor != self._intake.anchor else None
        log.warning("[Pipeline-%s] the node's clock stood %+.1f s off this machine's and goes on from %s UTC", self._instance,
                    max(-off, ahead, key=abs) / 1000, iso(wall)[:-4])  # fmt: skip
        return command
