"""A process of a simulated machine, which can be killed in the middle of a step."""
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from corec.common.clock import Step
from corec.simulation.pool import SimulatedPool
from corec.simulation.world import SimulatedClock, SimulatedDriver


class Killed(BaseException):
    """The process is gone: whatever one of its loops was about, it gets no further."""


class Process(SimulatedClock):
    """The clocks of *machine*, and the loops of one process on it."""

    def __init__(self, machine: SimulatedClock) -> None:
        self.world, self._machine = machine.world, machine
        self._drivers: list[SimulatedDriver] = []
        self._points_left: int | None = None  # until it is killed
        self.is_gone = False
        self._stands_until = 0.0  # seconds of the world

    def kill_within(self, points: int) -> None:
        """Let it be killed at a point to come: each time that it waits, or talks to a server, counts as one."""
        self._points_left = points

    def stand_still(self, seconds: float) -> None:
        """Let it stand at its next points, as a process that is stopped, or on a machine that is busy."""
        self._stands_until = self.world.now + seconds

    def kill(self) -> None:
        """Let none of its loops go on."""
        self.is_gone = True
        for driver in self._drivers:
            driver.end()

    def point(self) -> None:
        """Killed where the process is gone, or goes now; returns when it does not stand still."""
        if self._points_left is not None:
            self._points_left -= 1
            if self._points_left < 0:
                self.kill()
        self._stand()

    def _stand(self) -> None:
        if not self.is_gone and (left := self._stands_until - self.world.now) > 0:
            self.world.run_until(lambda: self.is_gone, left)
        if self.is_gone:
            raise Killed

    def drive(self, step: Step, *, name: str, woken: threading.Event | None = None, daemon: bool = True) -> SimulatedDriver:
        def unless_killed() -> float | None:
            try:
                self._stand()
                return step()
            except Killed:
                return None

        self._drivers.append(SimulatedDriver(self.world, unless_killed, name=name, woken=woken))
        return self._drivers[-1]

    def pool(self, most: int, name: str) -> Executor:
        return SimulatedPool(self, name)

    # --- its waits -------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        self.point()
        super().sleep(seconds)
        self.point()

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        self.point()
        found = super().wait(event, seconds)
        self.point()
        return found

    def wait_for(self, condition: threading.Condition, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        self.point()
        found = super().wait_for(condition, holds, seconds)
        self.point()
        return found

    # --- the clocks of its machine ---------------------------------------------------------------

    @property
    def boot(self) -> int:
        return self._machine.boot

    def wall_ms(self) -> int:
        return self._machine.wall_ms()

    def wall_us(self) -> int:
        return self._machine.wall_us()

    def steady_s(self) -> float:
        return self._machine.steady_s()

    def boot_ms(self) -> int:
        return self._machine.boot_ms()

    def boot_id(self) -> str:
        return self._machine.boot_id()
