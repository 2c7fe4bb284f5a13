"""What a plugin costs and sends: thread time around its calls, bytes in and out, and a bound on the latter.

Everything that a plugin does runs in a context of its own, in which CURRENT is its meter.  Whoever carries bytes out of
the node for it asks `charge` first.
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
#: Rates are means over this many seconds, and a bound may be used up for this many in one go.
RATE_S, BURST_S = 30.0, 2.0
#: A plugin that floods is told of this often.
LOG_EVERY_S = 60.0


class Meter:
    """The bill of one plugin; safe for use by several threads."""

    def __init__(self, name: str, max_mb_s: float = 1.0, *, logs: bool = True) -> None:
        """logs: whether it logs that its plugin floods; in a process of its own the node does."""
        self.name, self.most_bytes_s, self._logs = name, max_mb_s * MB, logs
        self.cpu_s = 0.0
        self.bytes_in = self.bytes_out = self.dropped = self.dropped_bytes = 0
        self.ram_bytes: int | None = None  # without its blocks; None as long as nobody looked
        self._lock = threading.Lock()
        self._room, self._filled = self.most_bytes_s * BURST_S, time.monotonic()
        self._logged_at = -LOG_EVERY_S
        self._marks: deque[tuple[float, float, int, int]] = deque([(self._filled, 0.0, 0, 0)])

    def took(self, size: int) -> None:
        """Count bytes that the plugin was given."""
        self.bytes_in += size

    def may_send(self, size: int) -> bool:
        """Count bytes that it sends; False, and counted as dropped, where that is above its bound."""
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
        """Count what its process kept back already."""
        with self._lock:
            self.dropped, self.dropped_bytes = self.dropped + count, self.dropped_bytes + size
        self._log_flood(time.monotonic())

    def _log_flood(self, now: float) -> None:
        if self._logs and now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.error("[PluginManager] plugin %s floods: more than %.3g MB/s; what is above is dropped, %d so far",
                      self.name, self.most_bytes_s / MB, self.dropped)  # fmt: skip

    def status(self) -> dict[str, Any]:
        """Its figures as plain numbers, rates over the last half minute."""
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
    """Whether *size* bytes may leave for the plugin that runs here; always, where none does."""
    meter = CURRENT.get()
    return meter is None or meter.may_send(size)


class Timed:
    """Awaits what *make* gives and adds the thread time of each of its steps to a meter, not what others do meanwhile."""

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
            except BaseException as error:  # a cancellation, for the plugin to see
                go_on, what = steps.throw, error
