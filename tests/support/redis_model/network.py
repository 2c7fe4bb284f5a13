"""Connections of redis-py to model servers, with what a network and a killed process do to them."""
from collections import deque
from collections.abc import Callable
from typing import Any

from redis import ConnectionPool, Redis
from redis._parsers.base import BaseParser
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from corec.simulation import Killed, World
from corec.streams.redis.link import ANSWER_S
from tests.support.redis_model import commands
from tests.support.redis_model.keys import WAIT, Refused
from tests.support.redis_model.server import ModelServer, Session

#: A command takes up to this long, in s; one in YIELDS lets others run meanwhile.
COMMAND_S = 0.001
YIELDS = 8


class Network:
    """The servers by their addresses, as everybody reaches them.

    lost_share: how many of the answers get lost after the command was done, 0 to 1.
    """

    def __init__(self, world: World, servers: dict[str, ModelServer]) -> None:
        self.world, self.servers = world, servers
        self.lost_share = 0.0
        self.hangs_until = 0.0  # nobody gets an answer before

    def connect(self, point: Callable[[], None] = lambda: None) -> Callable[..., Redis]:
        """What makes clients, as `RedisLink` takes it.

        point: called before and after each command; it raises where its process is gone.
        """

        def client(*, host: str, port: int, **options: Any) -> Redis:
            pool = ConnectionPool(connection_class=ModelConnection, network=self, host=host, port=port, point=point, **options)
            return Redis.from_pool(pool)

        return client


class ModelConnection(AbstractConnection):
    """A connection of redis-py without a socket."""

    def __init__(self, *, network: Network, host: str, port: int, point: Callable[[], None], **options: Any) -> None:
        super().__init__(driver_info=None, **options)  # which is slow to find out
        self.host, self.port = host, port
        self._network, self._address, self._point = network, f"{host}:{port}", point
        self._server: ModelServer | None = None
        self._session, self._life = Session(), 0
        self._answers: deque[Any] = deque()

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("address", self._address)]

    def _connect(self) -> Any:
        self._point()
        server = self._network.servers.get(self._address)
        if server is None or server.is_down:
            raise ConnectionRefusedError(111, "Connection refused")
        self._server, self._session, self._life = server, Session(), server.life
        self._answers.clear()
        return self

    def _host_error(self) -> str:
        return self._address

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """No handshake."""

    def disconnect(self, *arguments: Any, **more: Any) -> None:
        self._sock = None
        self._answers.clear()

    def can_read(self, timeout: float = 0) -> bool:
        if self._is_broken:
            raise Broken("the connection was closed by the server")
        return bool(self._answers)

    @property
    def _is_broken(self) -> bool:
        return self._sock is None or self._server.life != self._life or self._server.is_down

    def pack_command(self, *arguments: Any) -> list[Any]:
        return [arguments]

    def pack_commands(self, many: Any) -> list[Any]:
        return list(many)

    def send_command(self, *arguments: Any, **more: Any) -> None:
        try:
            self.send_packed_command([arguments])
        except Killed:
            if arguments == ("UNWATCH",):  # a transaction that ends because its process was killed tidies up
                self._fail(Broken("the process is gone"))
            raise

    def send_packed_command(self, command: list[Any], check_health: bool = True) -> None:
        if self._sock is None:
            self.connect_check_health(check_health=False)
        for arguments in command:
            self._send([*arguments[0].split(), *arguments[1:]])

    def _send(self, arguments: list[Any]) -> None:
        self._point()
        world, random = self._network.world, self._network.world.random
        world.now += random.random() * COMMAND_S
        if not random.randrange(YIELDS):
            world.run_until(lambda: False, random.random() * 4 * COMMAND_S)
            self._point()
        if self._is_broken:
            self._fail(Broken("the connection was lost"))
        answer = self._server.call(self._session, encoded := [self.encoder.encode(each) for each in arguments])
        if answer is WAIT:
            answer = self._wait(encoded)
        self._point()
        if random.random() < self._network.lost_share:
            self._fail(Broken("the answer was lost"))
        if world.now < self._network.hangs_until:
            world.run_until(lambda: False, ANSWER_S)
            self._point()
            self._fail(NoAnswer(f"Timeout reading from {self._address}"))
        self._answers.append(answer)

    def _wait(self, encoded: list[bytes]) -> Any:
        """Wait in the world for what a blocking command wants."""
        found: list[Any] = []

        def is_there() -> bool:
            if self._is_broken:
                return True
            answer = self._server.call(self._session, encoded)
            if answer is not WAIT:
                found.append(answer)
            return bool(found)

        ms = commands.block_ms(encoded)
        self._network.world.run_until(is_there, ms / 1000 if ms else None)
        if self._is_broken:
            self._point()
            self._fail(Broken("the connection was lost"))
        return found[0] if found else None

    def _fail(self, error: Exception) -> None:
        self.disconnect()
        raise error

    def read_response(self, disable_decoding: bool = False, *, disconnect_on_error: bool = True, **more: Any) -> Any:
        answer = _as_error(self._answers.popleft())
        if isinstance(answer, ResponseError):
            raise answer
        return answer


def _as_error(answer: Any) -> Any:
    if isinstance(answer, Refused):
        return BaseParser.parse_error(str(answer))
    return [_as_error(each) for each in answer] if isinstance(answer, list) else answer


def connection(network: Network, address: str) -> ModelConnection:
    """A connection to one server, as redis-py has them."""
    host, _, port = address.rpartition(":")
    return ModelConnection(network=network, host=host, port=int(port), point=lambda: None)
