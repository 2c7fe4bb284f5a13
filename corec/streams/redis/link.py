"""Connections to the Redis of `redis_config`: one server, or the masters of a cluster, which is detected.

Nothing is retried here, because redis-py would send a command again whose answer was lost. The caller knows what may
be repeated: an `XADD` of numbered batches is repeated by its sender, and the node drops the repeats.
"""


from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, AuthorizationError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.errors import ServerError

#: Makes the client of one server; takes what `redis.Redis` takes.
Connect = Callable[..., redis.Redis]

#: Seconds to wait for an answer before the connection is given up.
ANSWER_S = 3.0
CONNECT_S = 1.0
#: Longest blocking read. It has to be well below ANSWER_S, or a quiet stream would look like a dead server.
BLOCK_MS = 250
#: Bytes that one read of a stream should bring.
READ_BYTES = MB
#: What the driver raises where a server is away, and what of it is a refusal of one that is there.
_CONNECTION, _REFUSED = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError), (AuthenticationError, AuthorizationError)
_OF_PIPELINE = " of pipeline caused error: "
#: What errors say, with the server's codes or as the driver puts them, and what to do.
_HINTS = (
    (("NOPERM", "WRONGPASS", "NOAUTH", "nvalid username", "no permissions"),
     "check `username` and `password` in redis_config; docs/redis.md has the ACL that CoreC needs"),
    (("WRONGTYPE",), "another program uses that key: give CoreC a Redis of its own, or remove the key"),
    (("OOM", "maxmemory"), "Redis has reached its `maxmemory`: raise it, or see why the node does not read"),
    (("READONLY", "read only replica"), "redis_config names a replica, or a master that became one: name the master"),
    (("MISCONF", "NOREPLICAS"), "Redis refuses to write by its own settings: see its log, and that its disk and its replicas are there"),
)  # fmt: skip


def connection_options(server: RedisServer) -> dict[str, Any]:
    """Options for `redis.Redis` and `redis.asyncio.Redis`, without the address."""
    options: dict[str, Any] = {
        "username": server.username, "password": server.password and server.password.reveal(), "protocol": 2,
        "socket_timeout": ANSWER_S, "socket_connect_timeout": CONNECT_S, "retry_on_error": [],
    }  # fmt: skip
    if server.tls:
        # The checks are named, as redis-py leaves out the one of the host's name before its version 6
        options |= {"ssl": True, "ssl_ca_certs": server.ca, "ssl_certfile": server.cert, "ssl_keyfile": server.key,
                    "ssl_cert_reqs": "required", "ssl_check_hostname": True}  # fmt: skip
    return options


class RedisLink:
    """The connections of one thread, one for each server.

    runs: server address -> its run id.  `on_connect(address)` is called for each new connection, before its first command.
    """

    def __init__(self, server: RedisServer, *, on_connect: Callable[[str], None] | None = None,
                 connect: Connect | None = None) -> None:  # fmt: skip
        """connect: `redis.Redis` by default."""
        self.server = server
        self._connect = connect or redis.Redis
        self.runs: dict[str, str] = {}
        self._on_connect = on_connect
        self._clients: dict[str, redis.Redis] = {}
        self._cluster_addresses: set[str] = set()  # servers of the cluster
        self._slots: list[tuple[int, int, str]] | None = None  # None: not asked yet; empty: no cluster

    def client(self, key: str) -> redis.Redis:
        """The client for the server that has *key*."""
        return self._client_at(self.address_of(key))

    def address_of(self, key: str) -> str:
        """The address of the server that has *key*. Keys with the same address may share a transaction."""
        if self._slots is None:
            self._slots = self._find_slots()
        slot = key_slot(key.encode())
        return next((address for first, last, address in self._slots if first <= slot <= last), self._configured_address)

    def run_of(self, key: str) -> str:
        """Run id of the server that has *key*. It changes at a restart and at a failover."""
        return self.runs.get(self.address_of(key), "")

    @property
    def is_cluster(self) -> bool:
        """Whether the configured server belongs to a cluster."""
        return bool(self._slots)

    @property
    def has_several_masters(self) -> bool:
        """Whether one server may be away while others are not."""
        return len({address for _, _, address in self._slots or ()}) > 1

    def leave(self, address: str) -> None:
        """Close the connections to one server, and ask the others of its cluster again for the slots."""
        if client := self._clients.pop(address, None):
            client.close()
        try:
            self._slots = self._find_slots()
        except (RedisError, OSError):
            pass  # what was known before is used

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn errors of Redis and of the network into ServerError, and close all connections.

        The next use connects again and asks the cluster again for its slots.
        """
        try:
            yield
        except (RedisError, OSError) as error:
            self.close()
            raise explained(error, self.server, doing) from error

    def close(self) -> None:
        """Close all connections; the next use makes new ones."""
        clients, self._clients, self._slots = self._clients, {}, None
        for client in clients.values():
            client.close()

    @property
    def _configured_address(self) -> str:
        return self.server.address

    def _client_at(self, address: str) -> redis.Redis:
        if address not in self._clients:
            self._clients[address] = self._new_client(address)
        return self._clients[address]

    def _new_client(self, address: str) -> redis.Redis:
        options = connection_options(self.server)
        if self.server.unix_socket and address == self._configured_address:
            options = {key: value for key, value in options.items() if not key.startswith("ssl")}
            where: dict[str, Any] = {"unix_socket_path": address}
        else:
            host, _, port = address.rpartition(":")
            where = {"host": host, "port": int(port)}
        return self._connect(**options, **where, retry=Retry(NoBackoff(), 0), max_connections=2,
                             redis_connect_func=lambda connection: self._fetch_run_id(address, connection))  # fmt: skip

    def _fetch_run_id(self, address: str, connection: Any) -> None:
        """Ask each new connection for the run id of its server. redis-py reconnects silently, and this covers that too."""
        connection.on_connect()
        connection.send_command("INFO", "server", check_health=False)
        self.runs[address] = _field(bytes(connection.read_response()), b"run_id:")
        if self._on_connect:
            self._on_connect(address)

    def _find_slots(self) -> list[tuple[int, int, str]]:
        """Ask the configured server for its slots, or another known server of the cluster when that is away."""
        for address in (self._configured_address, *sorted(self._cluster_addresses - {self._configured_address})):
            try:
                return self._slots_by(self._client_at(address))
            except (RedisError, OSError) as error:
                self._clients.pop(address).close()
                problem = error
        raise problem

    def _slots_by(self, client: redis.Redis) -> list[tuple[int, int, str]]:
        if not client.info("cluster").get("cluster_enabled"):
            return []
        slots = [_slot_row(row, self.server) for row in _raw_rows(client.execute_command("CLUSTER SLOTS"))]
        self._cluster_addresses |= {address for _, _, address in slots}
        return slots


def explained(error: Exception, server: RedisServer, doing: str) -> ServerError:
    """An error of the driver or the server as ServerError."""
    text = _reason(error)
    who = f"Redis at {server.address}"
    is_away = isinstance(error, _CONNECTION) and not isinstance(error, _REFUSED)
    return ServerError(f"{who} did not {doing}: {text}", hint=_hint(error, text), away=who if is_away else None)


def _reason(error: Exception) -> str:
    """The error text of the server or the driver. A pipeline puts the command and its bytes before it; they are left out."""
    text = str(error).rpartition(_OF_PIPELINE)[2]
    return text.splitlines()[0] if text else type(error).__name__


def _hint(error: Exception, text: str) -> str:
    if isinstance(error, MovedError):
        return "the cluster is moving slots or has lost a master; it is asked again"
    return next((hint for said, hint in _HINTS if any(part in text for part in said)), "see that it runs: redis-cli -h HOST -p PORT ping")


def _field(info: bytes, name: bytes) -> str:
    return next((line[len(name) :].strip().decode() for line in info.splitlines() if line.startswith(name)), "")


def _raw_rows(rows: Any) -> Any:
    """The answer to CLUSTER SLOTS as rows. redis-py gives a mapping (first, last) -> nodes, or the server's own rows."""
    if isinstance(rows, dict):
        return [(first, last, nodes["primary"]) for (first, last), nodes in rows.items()]
    return [(row[0], row[1], row[2]) for row in rows]


def _slot_row(row: Any, server: RedisServer) -> tuple[int, int, str]:
    first, last, (host, port, *_) = row
    host = host.decode() if isinstance(host, bytes) else host
    return int(first), int(last), f"{host or server.host}:{int(port)}"


def next_count(count: int, payloads: Sequence[bytes], least: int, most: int) -> int:
    """COUNT of the next read, so that it brings about READ_BYTES.  count: that of the last one, which brought *payloads*."""
    if not payloads:
        return count
    mean = max(1, sum(map(len, payloads)) // len(payloads))
    return min(max(READ_BYTES // mean, least), most)
