"""A loopback TCP proxy that breaks what passes through it: cut, refuse, delay, go silent, lose a reply.

It knows no protocol.  An *exchange* is what a client sends between two answers, and the answer to it, so a request
whose reply is lost has been carried out by the server.

    with Proxy(server_port) as proxy:
        connect(port=proxy.port)
        proxy.lose_reply(3)     # the third exchange from now on is carried out, its answer never comes
"""
import contextlib
import socket
import threading
import time
from collections.abc import Callable

from tests.support.servers.ports import free_port

CHUNK = 1 << 16


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to *port*, until told otherwise."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._lock = threading.RLock()
        self._links: set[_Link] = set()
        self._silent = False
        self._lose: Callable[[int], bool] = lambda number: False
        self._ends = False  # with the reply that is lost
        self.delay = 0.0  # seconds that each chunk waits, either way
        self.exchanges = 0  # since `lose_reply` or the start
        self.replies_lost = 0
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.up()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *failure: object) -> None:
        self.down()

    def up(self) -> None:
        """Take connections (again), on the same port, and pass everything on."""
        self._silent = False
        if self._listener is None:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self.port))
            self._listener.listen(64)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Cut all connections and refuse new ones, as a stopped server does."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.end()

    def go_silent(self) -> None:
        """Half open: connections stay, and new ones are taken, but not a byte passes until `up`; what came meanwhile is gone."""
        self._silent = True
        with self._lock:
            for link in self._links:
                link.mute = True

    def lose_reply(self, nth: int, *, every: bool = False) -> None:
        """Swallow the reply of the *nth* exchange from now on, or of every nth, and cut its connection then."""
        with self._lock:
            self.exchanges = 0
            self._lose = (lambda number: number % nth == 0) if every else (lambda number: number == nth)

    def end_at(self, nth: int) -> None:
        """Lose the reply of the *nth* exchange from now on, and be down from then on: for the server, the client died there."""
        self.lose_reply(nth)
        self._ends = True

    def lose_none(self) -> None:
        """Let all replies through again."""
        with self._lock:
            self._lose = lambda number: False

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=30)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(self, client, server)
            link.mute = self._silent
            with self._lock:
                self._links.add(link)
            link.start()

    def begins_exchange(self) -> bool:
        """Count an exchange; whether its reply is to be lost."""
        with self._lock:
            self.exchanges += 1
            return self._lose(self.exchanges)

    def note_lost_reply(self) -> None:
        self.replies_lost += 1
        if self._ends:
            self.down()

    def forget(self, link: "_Link") -> None:
        with self._lock:
            self._links.discard(link)


class _Link:
    """One connection: two threads, one for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.mute = False
        self._proxy, self._client, self._server = proxy, client, server
        self._asking = False  # the client spoke last
        self._losing = False  # the answer that comes now is to be lost
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        threading.Thread(target=self._forward, args=(self._client, self._server, self._asked), daemon=True).start()
        threading.Thread(target=self._forward, args=(self._server, self._client, self._answered), daemon=True).start()

    def end(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _forward(self, source: socket.socket, target: socket.socket, passes: Callable[[], bool]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._proxy.delay:
                    time.sleep(self._proxy.delay)
                if not self.mute and passes():
                    target.sendall(data)
        if not self.mute:
            self.end()
        self._proxy.forget(self)

    def _asked(self) -> bool:
        if not self._asking:
            self._asking = True
            self._losing = self._proxy.begins_exchange()
        return True

    def _answered(self) -> bool:
        self._asking = False
        if self._losing:
            self._lose_it()
        return not self._losing

    def _lose_it(self) -> None:
        """The client hears nothing more; the server is let finish what it was asked."""
        self._proxy.note_lost_reply()
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
            self._server.shutdown(socket.SHUT_WR)
