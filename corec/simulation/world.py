"""Simulated time, and a scheduler that runs loops in it one after the other."""
import math
import random
import threading
from collections.abc import Callable

from corec.common.clock import Clock, Driver, Step
from corec.errors import InternalError

#: A step takes up to this many seconds of simulated time.
STEP_S = 0.002
#: After so many seconds without an event from outside, idle time is skipped.
SETTLE_S = 4.0


class SimulatedDriver(Driver):
    """A loop that a world runs."""

    def __init__(self, world: "World", step: Step, *, name: str, woken: threading.Event | None = None) -> None:
        self._world, self._step, self.name = world, step, name
        self.woken = woken or threading.Event()
        self.due = math.inf
        self.is_running = False  # inside its step, which may wait and let others run meanwhile
        self._is_alive = False

    def start(self) -> None:
        self._is_alive, self.due = True, self._world.now
        self._world.drivers.append(self)

    def join(self, seconds: float | None = None) -> None:
        if not self.is_running:
            self._world.run_until(lambda: not self._is_alive, seconds)

    @property
    def alive(self) -> bool:
        return self._is_alive

    def run(self) -> None:
        """Call the step once."""
        self.woken.clear()
        self.is_running = True
        try:
            rest = self._step()
        finally:
            self.is_running = False
        if rest is None:
            self.end()
        else:
            self.due = self._world.now + rest

    def end(self) -> None:
        """Run it no more."""
        if self._is_alive:
            self._is_alive = False
            self._world.drivers.remove(self)


class World:
    """Simulated time in seconds, and the loops that run in it.

    random: decides which loop is next and how long a step takes.  Whoever waits lets the others run until what he waits for is there.
    """

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.now = 0.0
        self.drivers: list[SimulatedDriver] = []
        self.steps = 0

    def run_until(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Let time go on until *holds* is true; False after *seconds*.  InternalError where nothing would ever happen."""
        end = math.inf if seconds is None else self.now + seconds
        while not holds():
            if self.now >= end:
                return False
            waiting = [each for each in self.drivers if not each.is_running]
            if ready := [each for each in waiting if each.due <= self.now or each.woken.is_set()]:
                self._run(self.random.choice(ready) if len(ready) > 1 else ready[0])
                continue
            self.now = min(end, min((each.due for each in waiting), default=end))
            if math.isinf(self.now):
                raise InternalError("every loop waits, and nothing will wake one")
        return True

    def pass_time(self, seconds: float, settle: float = SETTLE_S) -> None:
        """Let *seconds* go by.  After *settle* the loops get no turn until these are over, as on a machine that is busy or asleep."""
        end = self.now + seconds
        self.run_until(lambda: False, min(seconds, settle))
        self.now = max(self.now, end)

    def _run(self, driver: SimulatedDriver) -> None:
        self.steps += 1
        self.now += self.random.random() * STEP_S
        driver.run()


class SimulatedClock(Clock):
    """The clocks of one simulated machine.  `boot` counts the starts of the machine."""

    def __init__(self, world: World, *, wall_ms: int, boot: int = 1) -> None:
        self.world, self.boot = world, boot
        self._wall_at_start, self._began = wall_ms, world.now
        self._slept = 0.0

    def wall_ms(self) -> int:
        return self._wall_at_start + self.boot_ms()

    def wall_us(self) -> int:
        return 1_000 * self._wall_at_start + round(1e6 * (self.world.now - self._began))

    def steady_s(self) -> float:
        return self.world.now - self._slept

    def boot_ms(self) -> int:
        return round(1000 * (self.world.now - self._began))

    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def step_wall(self, ms: int) -> None:
        """Set the wall clock by *ms*."""
        self._wall_at_start += ms

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: its wall clock and its boot clock go on, its steady clock does not, and no loop runs."""
        self.world.now += seconds
        self._slept += seconds

    def start_again(self, wall_ms: int) -> None:
        """The machine starts again, with its wall clock at *wall_ms*."""
        self.boot += 1
        self._wall_at_start, self._began = wall_ms, self.world.now

    def sleep(self, seconds: float) -> None:
        self.world.run_until(lambda: False, seconds)

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        return self.world.run_until(event.is_set, seconds)

    def wait_for(self, condition: threading.Condition, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        condition.release()
        try:
            return self.world.run_until(holds, seconds)
        finally:
            condition.acquire()

    def drive(self, step: Step, *, name: str, woken: threading.Event | None = None, daemon: bool = True) -> SimulatedDriver:
        return SimulatedDriver(self.world, step, name=name, woken=woken)
