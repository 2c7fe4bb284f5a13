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

    On Redis the server's clock says what time it is, whoever owns the shard: no decision compares the clocks of two machines.
    """

    def __init__(self, intake: Intake, engine: Engine, instance: str, clock: Clock) -> None:
        self._intake, self._engine, self._instance, self._clock = intake, engine, instance, clock
        self._opened_clock, self._opened_at = engine.clock, clock.steady_s()
        self._anchor: int | None = None  # of the stamps, when the clock was right last

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
        """The command that sets the engine's clock where the clock that it follows was stepped; None where all is well.

        It follows this machine's clock, or the server's on Redis.  The journal's stamps go on as they were: they know nothing of a step.
        Readings that were refused for their time are tried again after a step, and at each start: the clock may be right now.
        """
        if (anchor := self._intake.anchor) is None:
            return None
        server, wall = self._intake.server_ms(), self._clock.wall_ms()
        right, stamp = (wall, self._intake.stamp_now()) if server is None else (server, server)
        command = {"op": "clock", "to": right, "offset": right - stamp, "anchor": anchor}
        step = 0 if self._anchor is None else anchor - self._anchor
        off, ahead = right - stamp - self._engine.clock_offset, self._engine.clock - right
        if abs(off) > STEP_MS or ahead > STEP_MS:
            log.warning("[Pipeline-%s] the node's clock stood %+.1f s off that of %s and goes on from %s UTC", self._instance,
                        max(-off, ahead, key=abs) / 1000, "this machine" if server is None else "Redis", iso(right)[:-4])  # fmt: skip
        elif server is not None and ahead < -STEP_MS:
            anchor, command = self._anchor or anchor, None  # what came before is not folded yet
        elif step:
            command["was"] = right - step
            log.warning("[Pipeline-%s] the clock of Redis was set by %+.1f s, to %s UTC", self._instance, step / 1000, iso(right)[:-4])
        elif not self._engine.has_refused_times or self._engine.clock_anchor == anchor:
            command = None
        self._anchor = anchor
        return command
