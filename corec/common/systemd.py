"""Messages to systemd: the node is ready, and its turns go on (sd_notify(3)).

They are datagrams to the socket that the environment variable NOTIFY_SOCKET names.
"""
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

#: Seconds by which a watchdog message may be late.
LOOK_S = 0.2


class Supervisor:
    """Sends to the socket in NOTIFY_SOCKET; without that variable every call does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        own = environment.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        self._every = int(environment.get("WATCHDOG_USEC", "0")) / 2e6 if own else 0.0
        self._due, self._seen = 0.0, -1

    def send(self, text: str) -> None:
        """Send one assignment, such as READY=1."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, suppress(OSError):  # nobody listens: the node goes on
            link.sendto(text.encode(), socket.MSG_DONTWAIT, address)

    def beat(self, moves: int) -> None:
        """Send WATCHDOG=1 twice in each watchdog interval, but only if *moves* has changed since the last one sent."""
        now = time.monotonic()
        if self._every and moves != self._seen and now >= self._due:
            self._due, self._seen = now + self._every, moves
            self.send("WATCHDOG=1")


class NotifyReceiver:
    """The receiving end. A process finds it through the variables of `environment`."""

    def __init__(self) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind("")     # the kernel chooses a unique name
        self._link.setblocking(False)

    def environment(self, watchdog_s: float) -> dict[str, str]:
        """Variables to add for that process. *watchdog_s*: the watchdog interval, within which it has to send a message."""
        name = self._link.getsockname()[1:].decode()
        return {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": str(round(watchdog_s * 1e6)), "WATCHDOG_PID": ""}

    def received(self) -> list[str]:
        """The messages since the last call; it does not wait."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._link.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._link.close()


def beat_always() -> None:
    """Send watchdog messages for ever: for a worker whose single task may take hours."""
    supervisor = Supervisor()
    while True:
        supervisor.beat(time.monotonic_ns())
        time.sleep(LOOK_S)
