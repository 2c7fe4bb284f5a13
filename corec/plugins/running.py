"""The state of a registered plugin: its passes, its failures, and when it may run again."""
import logging
import time
from typing import Any

from corec.common.units import MB
from corec.config.plugins import settings_of
from corec.plugin_api.metering import TARGETS, Meter
from corec.plugins.loop_thread import LoopThread

log = logging.getLogger("PluginManager")

#: Seconds that `inicializar` may take.
START_LIMIT_S = 30.0
#: Failures in a row that suspend a plugin, the first pause, and the longest.
MOST_FAILURES = 3
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0


class Running:
    """A registered plugin.  state: starting, running, suspended, failed or left behind."""

    def __init__(self, name: str, plugin: Any, config: dict[str, Any], meter: Meter, folder: str) -> None:
        self.name, self.plugin, self.config, self.meter, self.folder = name, plugin, config, meter, folder
        settings = settings_of(config)
        self.interval, self.limit, self.max_ram = settings.intervalo, settings.pase_max, settings.max_ram_mb * MB
        self.since = 0  # the last news it was given
        self.passes = self.failures = self.in_a_row = self.dropped_passes = self.restarts = 0
        self.pause = FIRST_PAUSE_S
        self.state, self.problem = "starting", ""
        self.isolated, self.pid = False, None  # in a process of its own, which is this one now
        self.blocked_s = 0.0  # for how long this pass blocked the loop
        self.loop: Any = None  # the loop that its passes run in
        self._stuck: LoopThread | None = None  # the thread that it blocked and that was left behind
        self._resumes = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until the next pass is allowed."""
        return max(0.0, self._resumes - time.monotonic())

    @property
    def is_stuck(self) -> bool:
        """Whether an abandoned thread still runs its code; no pass may begin meanwhile."""
        return self._stuck is not None and self._stuck.alive

    def left_behind(self, thread: LoopThread, problem: str) -> None:
        """Suspend it: it blocked *thread*.  No pass runs before that thread ends, nor before a pause is over."""
        self._stuck, self.loop = thread, None
        self.failed(problem, at_once=True)

    def rest(self, problem: str, pause: float) -> None:
        """Suspend it for *pause* seconds: its process has ended, and is started again then."""
        self.failures, self.problem = self.failures + 1, problem
        self.state, self._resumes = "suspended", time.monotonic() + pause
        log.error("[PluginManager] plugin %s failed: %s; its process is started again in %.3g s", self.name, problem, pause)

    def still_stuck(self) -> float:
        """Suspend it once more, since its thread has not ended; returns the pause in seconds."""
        return self._suspend(f"{self.problem.partition(' (')[0]} (it still does)")

    @property
    def ready(self) -> bool:
        """Whether passes may be run."""
        return self.state in ("running", "suspended")

    def started(self) -> None:
        self.state, self.problem = "running", ""

    def gave_up(self, problem: str, state: str = "failed") -> None:
        """Record that it never runs again in this node; the first reason stays."""
        if self.state in ("failed", "left behind"):
            return
        self.failures, self.state, self.problem = self.failures + 1, state, problem
        log.error("[PluginManager] plugin %s %s: %s", self.name, state, problem)

    def failed(self, problem: str, *, at_once: bool = False) -> float:
        """Count a failure; returns seconds until the next pass.  It suspends *at_once*, or as the third in a row."""
        self.failures, self.in_a_row, self.problem = self.failures + 1, self.in_a_row + 1, problem
        log.error("[PluginManager] plugin %s failed: %s", self.name, problem)
        if self.in_a_row < MOST_FAILURES and not at_once:
            return self.interval
        log.error("[PluginManager] plugin %s suspended for %.0f s after %d failures in a row", self.name, self.pause, self.in_a_row)
        return self._suspend(problem)

    def _suspend(self, problem: str) -> float:
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE_S)
        self.state, self.problem, self._resumes = "suspended", problem, time.monotonic() + pause
        return pause

    def passed(self) -> float:
        """Count a pass without failure; returns seconds until the next one."""
        if self.state == "suspended":
            log.info("[PluginManager] plugin %s works again", self.name)
        self.passes, self.in_a_row, self.pause = self.passes + 1, 0, FIRST_PAUSE_S
        self.state, self.problem = "running", ""
        return self.interval

    def status(self) -> dict[str, Any]:
        again = self.wait_s if self.state == "suspended" else 0.0
        return {"name": self.name, "state": self.state, "detail": self.problem or self.state, "passes": self.passes,
                "failures": self.failures, "retry_in_s": again, "dropped_passes": self.dropped_passes, "isolated": self.isolated,
                "pid": self.pid, "restarts": self.restarts, **self.meter.status(), "targets": TARGETS}  # fmt: skip
