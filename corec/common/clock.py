"""The time of a node, and whatever waits for it: its clocks, its pauses and the threads that drive its loops.

A node takes one `Clock` and hands it down.  `MACHINE` is that of this machine; `corec.simulation` has one in which nothing waits.
"""
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from corec.common.times import wall_ms

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: One pass of a loop; returns the seconds until the next one (inf: until it is woken), or None at its end.
Step = Callable[[], float | None]


class Driver:
    """A thread that calls a step until it returns None.  *woken* ends a pause early."""

    def __init__(self, step: Step, *, name: str, woken: threading.Event | None = None, daemon: bool = True) -> None:
        self._step, self._woken = step, woken or threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=daemon)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end, for up to *seconds*; at once where it was not started, or from its own thread."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while (rest := self._step()) is not None:
            if rest > 0:
                self._woken.wait(None if math.isinf(rest) else rest)
            self._woken.clear()


class Clock:
    """This machine's clocks and threads."""

    def wall_ms(self) -> int:
        """Now, in ms since 1970.  It jumps when the system clock is set."""
        return wall_ms()

    def wall_us(self) -> int:
        """The same in microseconds."""
        return time.time_ns() // 1_000

    def steady_s(self) -> float:
        """Seconds since some moment; nobody sets it, and it stands still while the machine sleeps."""
        return time.monotonic()

    def boot_ms(self) -> int:
        """Milliseconds since the machine started, its sleep included."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        """What tells this start of the machine from others; empty where the system does not say."""
        try:
            return BOOT_ID.read_text().strip()
        except OSError:
            return ""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """Wait until *event* is set; False after *seconds*."""
        return event.wait(seconds)

    def wait_for(self, condition: threading.Condition, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until *holds* is true, with the lock of *condition* held; False after *seconds*."""
        return condition.wait_for(holds, seconds)

    def settled(self, future: "Future[Any]", seconds: float | None = None) -> "Future[Any]":
        """*future*, once it is done, or after *seconds*."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        self.wait(done, seconds)
        return future

    def drive(self, step: Step, *, name: str, woken: threading.Event | None = None, daemon: bool = True) -> Driver:
        """What calls *step* again and again, once it is started; a step that returns None is called once."""
        return Driver(step, name=name, woken=woken, daemon=daemon)

    def pool(self, most: int, name: str) -> Executor:
        """What runs calls beside its caller, up to *most* at a time."""
        return ThreadPoolExecutor(most, thread_name_prefix=name)


MACHINE = Clock()
