"""One connection to PostgreSQL: opened when needed, opened again when lost. Its errors become CoreC's errors."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from corec.common.clock import MACHINE, Clock, Driver
from corec.config.servers import DbServer
from corec.errors import CoreCError, DiskFull, ServerAway, ServerError, StorageError

CONNECT_S = 5
#: A transaction that takes longer is given up, and its connection is closed.
LONGEST_S = 30.0
WATCH_S = 1.0
#: The thread that watches the deadline ends after this long without a transaction.
QUIET_S = 5.0
#: Time limits of the server and the network: a dead connection must not hold the lock of a row for long.
SETTINGS = "-c timezone=UTC -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s -c client_min_messages=warning"
KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}

#: Errors at connecting that do not pass by waiting.
_HOPELESS = re.compile(r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|permission denied|SSL")
_BUSY = ("40001", "40P01", "55P03", "57014")
_NO_ROOM = ("53100", "53200")
_AWAY = ("08", "57P", "53300", "25006")
_OUR_BYTES = "08P01"  # protocol violation: it does not pass by waiting


class Session:
    """For one thread at a time.  *read_only*: nothing can be written."""

    def __init__(self, server: DbServer, *, name: str, read_only: bool = False, longest_s: float | None = None,
                 clock: Clock = MACHINE) -> None:  # fmt: skip
        """*longest_s*: time limit of a transaction, LONGEST_S by default."""
        self.server, self.name, self._clock = server, name, clock
        self._read_only = read_only
        self._connection: Any = None
        self._cursor: Any = None
        self._depth = 0
        self._callbacks: list[Callable[[], None]] = []
        self._deadline = _Deadline(longest_s, clock)
        self._left: int | None = None  # backend whose last transaction may still be open
        self.away_since: int | None = None  # ms since 1970
        self.connects = 0

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor. Everything in the outermost `with` block is committed at its end, or nothing is.

        ServerAway leaves open whether it was committed: the caller has to look when the server is back.
        """
        if self._depth:
            yield self._cursor
            return
        with self.translated(), self._deadline.watching(self._connected()):
            self._depth += 1
            try:
                self._cursor.execute("BEGIN")
                yield self._cursor
                self._cursor.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth -= 1
                callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call *callback* once the current transaction is durable; at once outside a transaction."""
        if self._depth:
            self._callbacks.append(callback)
        else:
            callback()

    def query(self, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, in the current transaction or alone."""
        if self._depth:
            self._cursor.execute(sql, values)
            return self._cursor.fetchall()
        with self.translated(), self._deadline.watching(self._connected()):
            self._cursor.execute(sql, values)
            return self._cursor.fetchall() if self._cursor.description else []

    def close(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise psycopg2's errors as CoreC's. A connection that is broken is closed."""
        import psycopg2

        try:
            yield
        except psycopg2.Error as error:
            problem = self._explained(error)
            self._note(problem)
            raise problem from error
        except ServerAway as problem:
            self._note(problem)
            raise
        if self.away_since is not None:
            self.away_since = None

    def _connected(self) -> Any:
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = connect(self.server, name=self.name, read_only=self._read_only)
            self._cursor = self._connection.cursor()
            self.connects += 1
            self._end_left_behind()
        return self._connection

    def _end_left_behind(self) -> None:
        """End the backend of the lost connection: its open transaction may still lock our row."""
        left, self._left = self._left, self._connection.info.backend_pid
        if left is not None and not self._read_only:
            self._cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND usename = current_user"
                                 " AND application_name = %s", (left, application_name(self.name)))  # fmt: skip

    def _roll_back(self) -> None:
        try:
            if self._connection is not None and not self._connection.closed:
                self._cursor.execute("ROLLBACK")
        except Exception:  # the first error is the one to report
            self.close()

    def _explained(self, error: Any) -> CoreCError:
        code = error.pgcode or ""
        lost = self._connection is None or self._connection.closed
        unnamed = not code and type(error).__name__ in ("OperationalError", "InterfaceError")
        if lost or unnamed or (code.startswith(_AWAY) and code != _OUR_BYTES):
            self.close()
            return away(self.server, error)
        return explain(self.server, error)

    def _note(self, problem: CoreCError) -> None:
        if isinstance(problem, ServerAway) and self.away_since is None:
            self.away_since = self._clock.wall_ms()


class _Deadline:
    """Shuts the socket of a transaction that takes too long. Without it, a half-open connection would be waited for without end."""

    def __init__(self, longest_s: float | None, clock: Clock) -> None:
        self._longest_s, self._clock = longest_s, clock
        self._due: float | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._quiet_since = 0.0

    @contextmanager
    def watching(self, connection: Any) -> Iterator[None]:
        with self._lock:
            self._socket = socket.socket(fileno=connection.fileno())
            self._due = self._clock.steady_s() + (self._longest_s or LONGEST_S)
            if self._driver is None:
                self._quiet_since = self._clock.steady_s()
                self._driver = self._clock.drive(self._watch, name="store-deadline")
                self._driver.start()
        try:
            yield
        finally:
            with self._lock:
                self._due = None
                self._socket.detach()

    def _watch(self) -> float | None:
        """Checks once in WATCH_S. It ends after QUIET_S without a transaction."""
        with self._lock:
            now = self._clock.steady_s()
            if self._due is not None:
                self._quiet_since = now
                self._look(now)
            elif now - self._quiet_since > QUIET_S:
                self._driver = None
                return None
        return WATCH_S

    def _look(self, now: float) -> None:
        if now > self._due:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._due = None


def connect(server: DbServer, *, name: str, read_only: bool = False) -> Any:
    """A psycopg2 connection without implicit transactions. ServerAway; ServerError where waiting does not help."""
    import psycopg2

    password = {"password": server.password.reveal()} if server.password else {}
    secure = {key: value for key, value in (("sslmode", server.sslmode), ("sslrootcert", server.sslrootcert)) if value}
    options = SETTINGS + (" -c default_transaction_read_only=on" if read_only else "")
    try:
        connection = psycopg2.connect(host=server.host, port=server.port, dbname=server.dbname, user=server.user, options=options,
                                      connect_timeout=CONNECT_S, application_name=application_name(name), **KEEPALIVE, **password,
                                      **secure)  # fmt: skip
    except psycopg2.Error as error:
        raise away(server, error) from error
    connection.autocommit = True
    return connection


def application_name(name: str) -> str:
    """The name of our connections in PostgreSQL's views."""
    return f"corec {name}"[:63]


def where(server: DbServer) -> str:
    return f"{server.user}@{server.host}:{server.port}/{server.dbname}"


def away(server: DbServer, error: Exception) -> ServerError:
    """An error of the connection: ServerError where waiting does not help, else ServerAway."""
    text = " ".join(str(error).split())
    if _HOPELESS.search(text):
        return ServerError(f"PostgreSQL refuses {where(server)}: {text}",
                           hint="check db_config; `corec db init` makes a node's database and roles, createdb a plugin's")  # fmt: skip
    return ServerAway(f"PostgreSQL at {where(server)} cannot be reached: {text or type(error).__name__}",
                      hint="readings go on being accepted; what waits is committed when it is back",
                      away=f"PostgreSQL at {where(server)}")  # fmt: skip


def explain(server: DbServer, error: Any) -> CoreCError:
    """The error that PostgreSQL gave to a statement, as CoreC's."""
    code, text = error.pgcode, " ".join(str(error).split())
    if code in _NO_ROOM:
        return DiskFull(f"PostgreSQL at {where(server)} has no room left: {text}", hint="free some space on its disk")
    if code in _BUSY:
        return StorageError(f"PostgreSQL at {where(server)} was busy: {text}", detail=code, hint="it is tried again")
    if code == "42501":
        return ServerError(f"PostgreSQL does not let {where(server)} do this: {text}",
                           hint="`corec db init` gives the writer its rights")  # fmt: skip
    if code in ("42P01", "42883", "3F000"):
        return ServerError(f"PostgreSQL at {where(server)} lacks CoreC's tables: {text}", hint="corec db init, or corec db migrate")
    return StorageError(f"PostgreSQL at {where(server)} refused a statement: {text}", detail=code, hint="see the server's log")
