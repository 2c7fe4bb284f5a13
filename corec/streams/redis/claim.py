"""Which node reads the streams of a shard: one at a time, or every reading would count twice.

The node that reads them renews a key that expires. With the same `instance_id` the later start takes over, as on PostgreSQL.
"""

import logging
import os
import socket
from collections.abc import Callable

import msgspec
from redis.exceptions import WatchError

from corec.common.clock import MACHINE, Clock
from corec.common.retrying_thread import RetryingThread
from corec.config.servers import RedisServer
from corec.errors import CoreCError, FenceLost, FolderInUse, ServerError
from corec.streams.redis.keys import owner_key
from corec.streams.redis.link import Connect, RedisLink

log = logging.getLogger("corec.streams.redis_claim")

#: A claim expires when it was not renewed for this long.
LEASE_MS = 5000
#: Seconds between two renewals, and between two looks at somebody else's.
RENEW_S, LOOK_S = 1.0, 0.1


class Owner(msgspec.Struct, frozen=True):
    """What the node that reads writes of itself."""

    instance: str
    host: str
    pid: int
    token: str  # differs at each start

    def __str__(self) -> str:
        return f"{self.instance!r} (process {self.pid} on {self.host})"


class StreamClaim(RetryingThread):
    """Holds the streams of one shard for this process, while it lives."""

    again_s = RENEW_S

    def __init__(self, server: RedisServer, shard: int, instance: str, on_lost: Callable[[FenceLost], None], *,
                 clock: Clock = MACHINE, connect: Connect | None = None) -> None:  # fmt: skip
        """on_lost: called once, from the thread, when another node has the streams."""
        super().__init__("redis-claim", f"StreamClaim-{instance}", log, clock=clock)
        self._link, self._key, self._on_lost = RedisLink(server, connect=connect), owner_key(shard), on_lost
        self._own = Owner(instance, socket.gethostname(), os.getpid(), os.urandom(8).hex())
        self._taken = False

    def take(self) -> None:
        """Take the streams before anything is read of them; FolderInUse while a node of another `instance_id` lives.

        Where the server is away, the thread takes them once it answers.
        """
        try:
            with self._link.errors("say who reads its streams"):
                self._wait_for_the_dead()
                self._renew()
        except ServerError as error:
            log.debug("[%s] %s", self._who, error)
        self.start()

    def _wait_for_the_dead(self) -> None:
        """Return once the streams are free: a claim that nobody renews expires."""
        until, least = self._clock.steady_s() + LEASE_MS / 1000 + RENEW_S, LEASE_MS
        while (holder := self._holder()) and holder.instance != self._own.instance:
            left = self._link.client(self._key).pttl(self._key)
            if left > least or self._clock.steady_s() > until:
                raise FolderInUse(
                    f"expected streams that no other node reads, got those that node {holder} reads - at Redis {self._link.server.address}",
                    hint="stop that node, give both the same instance_id to replace it, or give this one a Redis of its own")  # fmt: skip
            least = min(least, left) if left >= 0 else least
            self._clock.sleep(LOOK_S)

    def _pass(self) -> float | None:
        with self._link.errors("say who reads its streams"):
            holder = self._holder()
            if holder and holder != self._own and (self._taken or holder.instance != self._own.instance):
                self._lose(holder)
                return None
            self._renew()
        self.problem = ""
        return RENEW_S

    def _lose(self, holder: Owner) -> None:
        self._stop.set()
        who = "another process of this instance_id" if holder.instance == self._own.instance else "another node"
        self._on_lost(FenceLost(f"expected to read the streams at Redis {self._link.server.address}, {who} took over: {holder}",
                                hint="each reading counts once: stop one of the two, or give it a Redis of its own"))  # fmt: skip

    def _failed(self, error: CoreCError) -> None:
        """The reader logs that the server is away."""
        self.problem = error.text
        log.debug("[%s] %s", self._who, error)

    def _holder(self) -> Owner | None:
        """Who has the streams; None where nobody has, or the key says nothing."""
        try:
            return msgspec.json.decode(self._link.client(self._key).get(self._key) or b"", type=Owner)
        except msgspec.DecodeError:
            return None

    def _renew(self) -> None:
        self._link.client(self._key).set(self._key, msgspec.json.encode(self._own), px=LEASE_MS)
        self._taken = True

    def _end(self) -> None:
        """Give the streams up, so that another node need not wait."""
        try:
            with self._link.errors("end a claim"), self._link.client(self._key).pipeline(transaction=True) as pipe:
                pipe.watch(self._key)
                if pipe.get(self._key) == msgspec.json.encode(self._own):
                    pipe.multi()
                    pipe.delete(self._key)
                    pipe.execute()
        except (ServerError, WatchError) as error:
            log.debug("[%s] %s", self._who, error)
        self._link.close()
