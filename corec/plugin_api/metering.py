"""Measures what a plugin costs: CPU time of its calls, bytes in and out, and a bound on the bytes out.

A plugin runs in a context of its own, in which CURRENT is its meter.  Code that sends bytes for a plugin calls `charge` first.
"""
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

from corec.common.units import MB

log = logging.getLogger("PluginManager")

#: The documented figures for a plugin without a base of its own, printed beside what was measured.
TARGETS = {"ram_kb": [10, 20], "cpu_percent": [0.001, 0.01], "mb_s": 0.01}
#: Seconds over which rates are averaged; seconds of its bound that a plugin may send in one burst.
RATE_S, BURST_S = 30.0, 2.0
#: Seconds between two log lines about a plugin that sends too much.
LOG_EVERY_S = 60.0


class Meter:
    """The costs of one plugin; its methods may be called from any thread."""

    def __init__(self, name: str, max_mb_s: float = 1.0, *, logs: bool = True) -> None:
        """logs: whether to log that the plugin sends too much; for an isolated plugin the node does."""
        self.name, self.most_bytes_s, self._logs = name, max_mb_s * MB, logs
        self.cpu_s = 0.0
        self.bytes_in = self.bytes_out = self.dropped = self.dropped_bytes = 0
        self.ram_bytes: int | None = None  # without its blocks; None until it is measured
        self._lock = threading.Lock()
        self._room, self._filled = self.most_bytes_s * BURST_S, time.monotonic()
        self._logged_at = -LOG_EVERY_S
        self._marks: deque[tuple[float, float, int, int]] = deque([(self._filled, 0.0, 0, 0)])

    def took(self, size: int) -> None:
        """Count bytes that the plugin was given."""
        self.bytes_in += size

    def may_send(self, size: int) -> bool:
        """Count bytes to be sent.  False where they are above the bound: they then count as dropped."""
        with self._lock:
            now = time.monotonic()
            self._room = min(self._room + (now - self._filled) * self.most_bytes_s, self.most_bytes_s * BURST_S)
            self._filled = now
            fits = size <= self._room
            if fits:
                self._room -= size
                self.bytes_out += size
            else:
                self.dropped, self.dropped_bytes = self.dropped + 1, self.dropped_bytes + size
        if not fits:
            self._log_flood(now)
        return fits

    def was_refused(self, count: int, size: int) -> None:
        """Count messages, and their bytes, that the plugin's own process has dropped."""
        with self._lock:
            self.dropped, self.dropped_bytes = self.dropped + count, self.dropped_bytes + size
        self._log_flood(time.monotonic())

    def _log_flood(self, now: float) -> None:
        if self._logs and now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.error("[PluginManager] plugin %s floods: more than %.3g MB/s; what is above is dropped, %d so far",
                      self.name, self.most_bytes_s / MB, self.dropped)  # fmt: skip

    def status(self) -> dict[str, Any]:
        """Figures for the node's status; rates are means over the last RATE_S."""
        now = (time.monotonic(), self.cpu_s, self.bytes_in, self.bytes_out)
        while len(self._marks) > 1 and now[0] - self._marks[1][0] >= RATE_S:
            self._marks.popleft()
        first = self._marks[0]
        if now[0] - self._marks[-1][0] >= 1.0:
            self._marks.append(now)
        cpu, taken, sent = ((last - before) / max(now[0] - first[0], 1.0) for last, before in zip(now[1:], first[1:], strict=True))
        return {"ram_bytes": self.ram_bytes, "cpu_share": cpu, "bytes_in_s": taken, "bytes_out_s": sent,
                "dropped": self.dropped, "dropped_bytes": self.dropped_bytes}  # fmt: skip


CURRENT: ContextVar[Meter | None] = ContextVar("corec_plugin_meter", default=None)


def charge(size: int) -> bool:
    """Count *size* bytes to be sent by the plugin that runs here; False where it may not.  True outside of plugins."""
    meter = CURRENT.get()
    return meter is None or meter.may_send(size)


class Timed:
    """Awaits `make()` and adds the thread time of its own steps to a meter, without what runs in between."""

    def __init__(self, make: Callable[[], Awaitable[Any]], meter: Meter) -> None:
        self._make, self._meter = make, meter

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._make().__await__()
        go_on, what = steps.send, None
        while True:
            began = time.thread_time()
            try:
                waits_for = go_on(what)
            except StopIteration as end:
                return end.value
            finally:
                self._meter.cpu_s += time.thread_time() - began
            try:
                go_on, what = steps.send, (yield waits_for)
            except BaseException as error:  # a cancellation goes on into the plugin
                go_on, what = steps.throw, error
