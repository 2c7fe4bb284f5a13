"""Messages between a node and a plugin in a process of its own: MessagePack arrays behind their length, over a socket pair."""
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from corec.common.units import MB
from corec.errors import PluginError

#: Bytes of one message, and of one read.
MOST_BYTES, READ_BYTES = 16 * MB, 64 << 10
LENGTH = 4


class Closed(Exception):
    """The other end is gone."""


class Pipe:
    """One end.  The node's does not block: what does not go at once waits in `unsent`."""

    def __init__(self, end: socket.socket, *, blocking: bool) -> None:
        self._end, self._lock = end, threading.Lock()
        self._end.setblocking(blocking)
        self._unsent, self._received = bytearray(), bytearray()

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._unsent)

    def send(self, *message: Any) -> int:
        """Send a message, or queue it; its bytes."""
        data = msgspec.msgpack.encode(message)
        if len(data) > MOST_BYTES:
            raise PluginError(f"expected a message of at most {MOST_BYTES >> 20} MB, got {len(data):,} bytes", hint="send less at a time")
        with self._lock:
            self._unsent += len(data).to_bytes(LENGTH, "little") + data
            self._flush()
        return len(data)

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._end.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise Closed from error

    def read(self) -> int:
        """Take in what there is; how many bytes."""
        try:
            data = self._end.recv(READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        self._received += data
        return len(data)

    def messages(self) -> Iterator[list[Any]]:
        """The messages that are whole; Closed when what came is none."""
        while len(self._received) >= LENGTH:
            size = int.from_bytes(self._received[:LENGTH], "little")
            if size > MOST_BYTES:
                raise Closed
            if len(self._received) < LENGTH + size:
                return
            message = bytes(self._received[LENGTH : LENGTH + size])
            del self._received[: LENGTH + size]
            try:
                yield msgspec.msgpack.decode(message, type=list[Any])
            except msgspec.DecodeError as error:
                raise Closed from error

    def close(self) -> None:
        """Let go of it."""
        self._end.close()
