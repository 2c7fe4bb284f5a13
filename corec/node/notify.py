"""Tells systemd that the node is ready, and that its turns go on (sd_notify(3)): datagrams to a socket that the environment names."""
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Supervisor:
    """Whoever set NOTIFY_SOCKET; without it, nobody is told anything."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every = int(environment.get("WATCHDOG_USEC", "0")) / 2e6 if own else 0.0
        self._due, self._seen = 0.0, -1

    def tell(self, text: str) -> None:
        """Send one assignment, as READY=1."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, suppress(OSError):   # it went: the node goes on
            link.sendto(text.encode(), address)

    def beat(self, moves: int) -> None:
        """Twice a watchdog's time, say that the node lives: only where *moves* is another number than the last time."""
        now = time.monotonic()
        if self._every and moves != self._seen and now >= self._due:
            self._due, self._seen = now + self._every, moves
            self.tell("WATCHDOG=1")
