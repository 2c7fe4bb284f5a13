"""Messages between a node and an isolated plugin: MessagePack arrays, each behind its length (uint32), over a socket pair."""
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from corec.common.units import MB
from corec.errors import PluginError

#: Most bytes of one message, and of one read.
MOST_BYTES, READ_BYTES = 16 * MB, 64 << 10
LENGTH = 4


class Closed(Exception):
    """The other end is gone."""


class Pipe:
    """One end.  blocking: else bytes that cannot be sent at once wait for `flush`."""

    def __init__(self, end: socket.socket, *, blocking: bool) -> None:
        self._end, self._lock = end, threading.Lock()
        self._end.setblocking(blocking)
        self._unsent, self._received = bytearray(), bytearray()

    def fileno(self) -> int:
        return self._end.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._unsent)

    def send(self, *message: Any) -> int:
        """Send or queue a message; returns its size in bytes.  PluginError above MOST_BYTES, Closed."""
        data = msgspec.msgpack.encode(message)
        if len(data) > MOST_BYTES:
            raise PluginError(f"expected a message of at most {MOST_BYTES >> 20} MB, got {len(data):,} bytes", hint="send less at a time")
        with self._lock:
            self._unsent += len(data).to_bytes(LENGTH, "little") + data
            self._flush()
        return len(data)

    def flush(self) -> None:
        """Send waiting bytes, as far as the socket takes them."""
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
        """Receive what is there; returns how many bytes.  Closed where the other end is gone."""
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
        """Yields the complete messages that were read; Closed where the bytes are not messages."""
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
        self._end.close()
