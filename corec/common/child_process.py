"""The operating system's side of an isolated plugin: a clean interpreter in a process group of its own, weighed and killed."""
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One child, started and not forked from our threads; *end* is its side of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1",
                       "PYTHONUNBUFFERED": "1"}  # fmt: skip
        command = [sys.executable, "-m", "corec.plugins.isolated.child", str(end.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(end.fileno(),), stdin=subprocess.DEVNULL, process_group=0,
                                         env=environment)  # fmt: skip
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below zero for a signal."""
        return self._process.poll()

    def exit_reason(self) -> str:
        """How it ended."""
        code = self._process.wait()
        return f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"

    def kill(self) -> None:
        """End it and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def resident_bytes(self) -> int:
        """Its resident memory; 0 when it is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    @property
    def own_bytes(self) -> int:
        """The same without what it shares with others (PSS), where the system tells."""
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            return self.resident_bytes

    @property
    def cpu_s(self) -> float:
        """Seconds of a core that it used."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        except (OSError, IndexError):
            return 0.0
