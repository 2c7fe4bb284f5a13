"""The process of an isolated plugin: start it in its own process group, measure it, kill it."""
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
#: What a child gets of the environment: nothing in which a password is kept.
KEPT = frozenset(("HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
                  "VIRTUAL_ENV", "COREC_SIMD", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED", "PYTHONMALLOC",
                  "PYTHONDONTWRITEBYTECODE", "ASAN_OPTIONS", "UBSAN_OPTIONS", "SSL_CERT_FILE", "SSL_CERT_DIR"))  # fmt: skip


class Process:
    """One child process, started with a clean interpreter, not forked.

    *end*: the child's side of the socket pair.
    """

    def __init__(self, end: socket.socket, variables: Collection[str] = ()) -> None:
        """variables: names of those that it gets of the environment, beside KEPT."""
        kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_") or name in variables}
        environment = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1",
                       "PYTHONUNBUFFERED": "1"}  # fmt: skip
        command = [sys.executable, "-m", "corec.plugins.isolated.child", str(end.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(end.fileno(),), stdin=subprocess.DEVNULL, process_group=0,
                                         env=environment)  # fmt: skip
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def exit_reason(self) -> str:
        """Wait for the end; return `its process was killed by SIGKILL` or `its process ended with 1`."""
        code = self._process.wait()
        return f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"

    def kill(self) -> None:
        """Kill the whole process group: the child and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float) -> bool:
        """True when the process ends within *seconds*."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def resident_bytes(self) -> int:
        """Resident memory (RSS); 0 when the process is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    @property
    def own_bytes(self) -> int:
        """Memory without the part shared with other processes (PSS). It is the RSS where the system does not report PSS."""
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            return self.resident_bytes

    @property
    def cpu_s(self) -> float:
        """Core seconds used so far; 0 when the process is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        except (OSError, IndexError):
            return 0.0
