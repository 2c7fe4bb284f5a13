"""Tells systemd that the node is ready, and that its turns go on (sd_notify(3)): datagrams to a socket that the environment names."""
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

#: A beat that is due is late by this much at most.
LOOK_S = 0.2


class Supervisor:
    """Whoever set NOTIFY_SOCKET; without it, nobody is told anything."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        own = environment.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        self._every = int(environment.get("WATCHDOG_USEC", "0")) / 2e6 if own else 0.0
        self._due, self._seen = 0.0, -1

    def tell(self, text: str) -> None:
        """Send one assignment, as READY=1."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, suppress(OSError):   # it went, or does not listen: the node goes on
            link.sendto(text.encode(), socket.MSG_DONTWAIT, address)

    def beat(self, moves: int) -> None:
        """Twice a watchdog's time, say that the node lives: only where *moves* is another number than the last time."""
        now = time.monotonic()
        if self._every and moves != self._seen and now >= self._due:
            self._due, self._seen = now + self._every, moves
            self.tell("WATCHDOG=1")


class NotifyReceiver:
    """The other end: hears what one process tells, which finds it by `environment`."""

    def __init__(self) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind("")     # a name that nobody else has
        self._link.setblocking(False)

    def environment(self, watchdog_s: float) -> dict[str, str]:
        """What that process gets beside its own; it is to tell that it lives within *watchdog_s*."""
        name = self._link.getsockname()[1:].decode()
        return {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": str(round(watchdog_s * 1e6)), "WATCHDOG_PID": ""}

    def received(self) -> list[str]:
        """What was told since the last time."""
        told = []
        with suppress(BlockingIOError):
            while True:
                told.append(self._link.recv(4096).decode())
        return told

    def close(self) -> None:
        """Hear no more."""
        self._link.close()


def beat_always() -> None:
    """For ever, say that the process lives: of a worker whose work may rightly take hours."""
    supervisor = Supervisor()
    while True:
        supervisor.beat(time.monotonic_ns())
        time.sleep(LOOK_S)
