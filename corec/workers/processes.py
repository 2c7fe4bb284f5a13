"""Starts worker processes on one machine, watches them, starts them again and stops them together."""
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from corec.common.systemd import NotifyReceiver, Supervisor
from corec.workers.celery_app import CONFIG_VARIABLE, ROLE_VARIABLE

log = logging.getLogger(__name__)

#: A worker that ended is started again after AGAIN_S; the pause doubles each time, up to LONGEST_S.
AGAIN_S, LONGEST_S = 1.0, 60.0
#: After a worker ran for this long, the next pause is short again.
WELL_S = 60.0
#: Seconds that a worker may take to end its turn and give its shards back before it is killed.
STOP_S = 15.0
#: One that ran and has not notified for this long is killed and started again.
SILENT_S = 30.0
LOOK_S = 0.2


class Worker:
    """One Celery worker.  Its pool is `solo`, so it is a single process."""

    def __init__(self, number: int, config: str, rol: str | None, loglevel: str, *, command: Sequence[str] = (),
                 silent_s: float = SILENT_S, again_s: float = AGAIN_S) -> None:
        """command: what to run instead of Celery's worker."""
        self.name = f"w{number}"
        self._command = command or [sys.executable, "-m", "celery", "-A", "corec.core.celery_app", "worker", "--loglevel", loglevel,
                                    "-n", f"{self.name}@%h"]  # fmt: skip
        self._silent_s, self._again_s = silent_s, again_s
        self._receiver = NotifyReceiver()
        self._environment = {**os.environ, CONFIG_VARIABLE: config, **({ROLE_VARIABLE: rol} if rol else {}),
                             **self._receiver.environment(silent_s)}  # fmt: skip
        self._process: subprocess.Popen | None = None
        self.ready = False
        self._notified_at = 0.0
        self._began = self._due = 0.0
        self._pause = again_s

    def keep_alive(self) -> None:
        """Start it where it does not run and the pause is over; kill it where it is silent.  Call it every LOOK_S."""
        self._listen()
        if self._process and self._process.poll() is not None:
            self._ended(self._process.returncode)
        if self._process is None and time.monotonic() >= self._due:
            self._began, self.ready = time.monotonic(), False
            # in a session of its own, since Ctrl-C must reach this process only, which then stops the workers
            self._process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)

    def _listen(self) -> None:
        for text in self._receiver.received():
            self.ready = self.ready or text == "READY=1"
            self._notified_at = time.monotonic()
        if self._process and self.ready and time.monotonic() - self._notified_at > self._silent_s:
            log.error("[Workers] %s has stood still for %.0f s and is killed; its shards are elsewhere", self.name, self._silent_s)
            self._process.kill()
            self._process.wait()

    def stop(self, how: int) -> None:
        """Send the signal *how*, if it runs."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within *seconds*."""
        try:
            return self._process is None or self._process.wait(max(0.0, seconds)) is not None
        except subprocess.TimeoutExpired:
            return False

    def close(self) -> None:
        self._receiver.close()

    def _ended(self, code: int) -> None:
        self._pause = self._again_s if time.monotonic() - self._began > WELL_S else min(2 * self._pause, LONGEST_S)
        self._due, self._process = time.monotonic() + self._pause, None
        log.error("[Workers] %s ended with %d; it is started again in %.0f s", self.name, code, self._pause)


def keep_running(count: int, config: str, rol: str | None, loglevel: str, over: threading.Event, say: Callable[[str], None],
                 command: Sequence[str] = ()) -> None:  # fmt: skip
    """Keep *count* workers running until *over* is set, then stop them.  say: prints a line for the user."""
    workers = [Worker(number, config, rol, loglevel, command=command) for number in range(1, count + 1)]
    supervisor, ready = Supervisor(), False
    say(f"{count} worker{'s' if count > 1 else ''}; Ctrl-C stops {'them' if count > 1 else 'it'}")
    while not over.is_set():
        for worker in workers:
            worker.keep_alive()
        if not ready and all(worker.ready for worker in workers):
            supervisor.send("READY=1")
            ready = True
        supervisor.beat(time.monotonic_ns())
        over.wait(LOOK_S)
    supervisor.send("STOPPING=1")
    for worker in workers:
        worker.stop(signal.SIGTERM)
    end = time.monotonic() + STOP_S
    for worker in workers:
        if not worker.wait(end - time.monotonic()):
            log.error("[Workers] %s did not end within %.0f s and is killed; its shards move on", worker.name, STOP_S)
            worker.stop(signal.SIGKILL)
            worker.wait(STOP_S)
        worker.close()
