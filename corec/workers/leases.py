"""Redis keys of a fleet: the leases of workers, which expire by themselves, the leading node, and the assignment of shards.

A worker counts as alive while it renews its lease, whatever Celery's ping or heartbeat says.  One that is stopped or hangs loses its
shards, and the fence of the store keeps it from writing when it comes back.
"""
from typing import Any

import msgspec

from corec.config.servers import RedisServer
from corec.errors import ServerError
from corec.streams.redis.link import Connect, RedisLink

#: A lease expires when it was not renewed for this long.
LEASE_MS = 1200
#: Seconds between two renewals.
RENEW_S = 0.3
#: A mark that a message is worked on expires after this long.
WORK_MS = 10_000

#: Take or renew a key that is free or ours; 1 when it is ours now.  One that would be kept for longer than anybody asks for is free: the
#: server's clock was put back.
HOLD = """local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1"""


class Lease(msgspec.Struct, frozen=True):
    """What a worker writes each time it renews its lease."""

    name: str
    queue: str  # of this process only: messages for an earlier one reach no worker
    pid: int
    host: str
    began: int = 0  # turns begun
    steps: int = 0  # of its shards, in these turns
    shards: tuple[int, ...] = msgspec.field(default=(), name="held")  # that it folds
    opening: tuple[int, ...] = ()
    stats: dict[str, int | float] = {}


class Assignment(msgspec.Struct, frozen=True):
    """Which worker is to have which shard, and the configuration to use."""

    shards: dict[int, str] = {}
    config: dict[str, Any] = {}

    def of(self, name: str) -> set[int]:
        """The shards that worker *name* is to have."""
        return {shard for shard, worker in self.shards.items() if worker == name}


class Leases:
    """The keys of one fleet, all in one cluster slot; for one thread.  All methods raise ServerError."""

    def __init__(self, server: RedisServer, fleet: str, *, work_ms: int = WORK_MS, connect: Connect | None = None) -> None:
        self._link, self._work_ms = RedisLink(server, connect=connect), work_ms
        self._tag = f"{{corec:{fleet}}}"

    def renew(self, lease: Lease) -> None:
        """Write the lease; it expires after LEASE_MS."""
        with self._link.errors("renew a lease"):
            client = self._link.client(self._tag)
            client.set(self._key(f"worker:{lease.name}"), msgspec.json.encode(lease), px=LEASE_MS)
            client.sadd(self._key("workers"), lease.name)

    def give_up(self, name: str) -> None:
        """Delete the lease of a worker that ends."""
        with self._link.errors("end a lease"):
            self._link.client(self._tag).delete(self._key(f"worker:{name}"))

    def live(self) -> dict[str, Lease]:
        """The current leases, by worker; names without one are removed."""
        with self._link.errors("tell who lives"):
            client = self._link.client(self._tag)
            names = sorted(name.decode("utf-8", "replace") for name in client.smembers(self._key("workers")))
            found = client.mget([self._key(f"worker:{name}") for name in names]) if names else []
            gone = [name for name, document in zip(names, found) if document is None]
            if gone:
                client.srem(self._key("workers"), *gone)
        return {name: lease for name, document in zip(names, found) if document is not None and (lease := _lease(document))}

    def lead(self, name: str) -> bool:
        """Take or renew the lead; False while another node has it."""
        with self._link.errors("tell who leads"):
            return bool(self._link.client(self._tag).eval(HOLD, 1, self._key("leader"), name, LEASE_MS))

    def resign(self, name: str) -> None:
        """Give up the lead, if *name* has it."""
        with self._link.errors("end a lease"):
            client = self._link.client(self._tag)
            if client.get(self._key("leader")) == name.encode():
                client.delete(self._key("leader"))

    def assignment(self) -> Assignment:
        """The newest assignment; an empty one where there is none."""
        with self._link.errors("tell who has which shard"):
            document = self._link.client(self._tag).get(self._key("assignment"))
        if not document:
            return Assignment()
        try:
            return msgspec.json.decode(document, type=Assignment)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServerError(f"expected who has which shard in {self._key('assignment')}, got something else: {error}",
                              hint="the node that leads writes it anew; give CoreC a Redis of its own") from None  # fmt: skip

    def assign(self, assignment: Assignment) -> None:
        """Write the assignment; for the node that leads."""
        with self._link.errors("take who has which shard"):
            self._link.client(self._tag).set(self._key("assignment"), msgspec.json.encode(assignment))

    def work(self, tag: str) -> None:
        """Mark that a message is worked on.  tag: the broker's delivery tag."""
        with self._link.errors("note who works"):
            client = self._link.client(self._tag)
            client.set(self._key(f"work:{tag}"), 1, px=self._work_ms)
            client.sadd(self._key("work"), tag)

    def work_ended(self, tag: str) -> None:
        """Remove the mark: the message is done, or given back."""
        with self._link.errors("note who works"):
            client = self._link.client(self._tag)
            client.srem(self._key("work"), tag)
            client.delete(self._key(f"work:{tag}"))

    def work_in_silence(self) -> list[str]:
        """Tags of messages that are not done and whose mark has expired."""
        with self._link.errors("tell who works"):
            client = self._link.client(self._tag)
            tags = sorted(tag.decode("utf-8", "replace") for tag in client.smembers(self._key("work")))
            found = client.mget([self._key(f"work:{tag}") for tag in tags]) if tags else []
        return [tag for tag, word in zip(tags, found, strict=True) if word is None]

    def close(self) -> None:
        self._link.close()

    def _key(self, name: str) -> str:
        return f"{self._tag}:{name}"


def _lease(document: bytes) -> Lease | None:
    """A lease as a worker wrote it; None for what is none, whose writer counts as gone."""
    try:
        return msgspec.json.decode(document, type=Lease)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
