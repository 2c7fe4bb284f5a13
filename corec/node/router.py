"""Routes the bare stream `corec:in` to the streams of the shards; one node does it at a time.

`{sNN}:routed`, in the slot of the shard's streams, holds how far the shard was served.  It moves in the transaction that adds the
batches, so a router that is killed has done both or neither.  The transaction watches that key: a router that was overtaken changes
nothing.  The lease only avoids wasted work.
"""

import logging
import secrets
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from itertools import groupby

from redis.exceptions import WatchError

from corec.common.clock import MACHINE, Clock
from corec.common.retrying_thread import RetryingThread
from corec.common.trouble import Trouble
from corec.config import Config
from corec.errors import BackPressure, CoreCError, ServerError
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.bare_stream import Routed, route
from corec.streams.redis.keys import BARE_STREAM, BEGINNING, FIELD, fast_stream, id_pair, mark_of, normal_stream, payload_of, shard_key
from corec.streams.redis.link import BLOCK_MS, Connect, RedisLink, next_count
from corec.streams.redis.position import Position
from corec.streams.redis.room import SIZE_S, Room
from corec.streams.redis.stamps import ServerClock
from corec.streams.sending.routing import Routing

log = logging.getLogger(__name__)

LEASE = "corec:router"
LEASE_MS = 1500
#: Bounds of COUNT of a read of the bare stream.
COUNTS = (16, 2_000)
#: Seconds between two checks that the bare stream is still the same.
LOOK_S = 1.0
#: Seconds that routed entries stay in the bare stream: a replica that takes over may have missed them.
KEEP_S = 10.0


class Router(RetryingThread):
    """A thread that routes while it has the lease.  `stop` ends the lease, so another router can go on at once."""

    def __init__(self, config: Config, *, clock: Clock = MACHINE, connect: Connect | None = None) -> None:
        super().__init__("router", f"Router-{config.instance_id}", log, clock=clock)
        self._link = RedisLink(config.redis_config, on_connect=self._connected, connect=connect)
        self._instance, self._shards = config.instance_id, config.fragmentos
        self._routing = Routing(config.fragmentos, config)
        self._room = Room(self._link, clock)
        self._targets = [stream(shard) for shard in range(config.fragmentos) for stream in (fast_stream, normal_stream)]
        self._full = Trouble(log, f"Router-{config.instance_id}", meanwhile=f"what came to {BARE_STREAM} waits there", clock=clock)
        self._count = COUNTS[0]
        self._token = secrets.token_hex(8)
        self._served: dict[int, str] = {}  # shard -> newest entry routed to it; empty: to be asked
        self._known: dict[int, str] = {}  # the same, of this router's own, where it may be another's by now
        self._position = Position(BARE_STREAM)
        self._done: deque[tuple[float, str]] = deque()
        self._connections, self._checked = 0, -1
        self._look_due = 0.0
        self._server_clock = ServerClock(clock)

    @property
    def full(self) -> str:
        """Why what came to the bare stream waits there: a stream at its bound; "" where none is."""
        return (self._full.status() or {"text": ""})["text"]

    def _connected(self, address: str) -> None:
        self._connections += 1

    def _pass(self) -> float:
        with self._link.errors("route what came to corec:in"):
            rest = self._work()
        self._recovered()
        return rest

    def _failed(self, error: CoreCError) -> None:
        super()._failed(error)
        self._served = {}

    def _work(self) -> float:
        """One round; returns the seconds until the next."""
        if not self._holds_lease():
            self._served = {}
            return BLOCK_MS / 1000
        if self._checked != self._connections or not self._served:
            self._begin()
        elif self._clock.steady_s() >= self._look_due:
            self._look()
        if not self._has_room():
            return SIZE_S
        rows = self._read()
        if rows and self._checked == self._connections:
            self._route(rows)
        self._trim()
        return 0.0

    def _holds_lease(self) -> bool:
        client = self._link.client(LEASE)
        if client.set(LEASE, self._token, nx=True, px=LEASE_MS):
            return True
        if client.get(LEASE) == self._token.encode():
            return bool(client.pexpire(LEASE, LEASE_MS))
        if client.pttl(LEASE) > LEASE_MS:  # the server's clock was put back: who holds it and lives will take it anew
            client.delete(LEASE)
        return False

    def _end(self) -> None:
        try:
            with self._link.errors("end the lease"):
                client = self._link.client(LEASE)
                if client.get(LEASE) == self._token.encode():
                    client.delete(LEASE)
        except ServerError:
            pass  # it runs out by itself
        self._link.close()

    def _begin(self) -> None:
        """Read how far every shard was served, and check the bare stream."""
        connections = self._connections
        self._served = {shard: self._asked(shard) for shard in range(self._shards)}
        if (id := min(self._served.values(), key=id_pair)) != self._position.id:
            self._position.jump(id)
        self._link.client(BARE_STREAM).ping()
        self._look()
        self._checked = connections

    def _look(self) -> None:
        """Log a loss where the bare stream was emptied or replaced."""
        self._look_due = self._clock.steady_s() + LOOK_S
        self._server_clock.look(self._link.client(BARE_STREAM))
        loss = self._position.compare(self._link.client(BARE_STREAM), self._link.run_of(BARE_STREAM))
        if loss:
            log.error("[Router-%s] %s", self._instance, loss)
            if self._position.id == BEGINNING:
                self._served = {shard: self._set(shard, BEGINNING) for shard in self._served}

    def _asked(self, shard: int) -> str:
        key = shard_key(shard, "routed")
        found = self._link.client(key).get(key)
        mark = mark_of(found)
        if found and found != mark.encode():
            mark = self._set(shard, self._known.get(shard, BEGINNING))
            log.error("[Router-%s] expected an id in %s, got something else: routing goes on from %s", self._instance, key, mark)
        return mark

    def _set(self, shard: int, id: str) -> str:
        key = shard_key(shard, "routed")
        self._link.client(key).set(key, id)
        return id

    def _has_room(self) -> bool:
        """Whether the streams of all shards are below `max_mb`. Otherwise what came waits in the bare stream, and the trouble is said."""
        lacking = self._room.lacking(self._targets)
        if lacking:
            self._full.failed("", BackPressure(lacking, hint="see why the node that has this shard does not read"))
            return False
        self._full.recovered("routes again: the streams have room")
        return True

    def _read(self) -> list[tuple[bytes, bytes]]:
        reply = self._link.client(BARE_STREAM).execute_command(
            "XREAD COUNT", self._count, "BLOCK", BLOCK_MS, "STREAMS", BARE_STREAM, self._position.id
        )
        found = [(row[0], payload_of(row[1])) for _, rows in reply or () for row in rows]
        self._count = next_count(self._count, [payload for _, payload in found], *COUNTS)
        return found

    def _route(self, rows: list[tuple[bytes, bytes]]) -> None:
        newest = rows[-1][0].decode()
        if self._server_clock.is_doubtful(id_pair(newest)[0]):
            self._server_clock.look(self._link.client(BARE_STREAM))
        epoch = int(self._link.run_of(BARE_STREAM)[:8] or "1", 16)
        by_shard: dict[int, list[Routed]] = {shard: [] for shard in self._served}
        for part in self._parts(rows):
            for routed in self._routed(part, epoch, self._server_clock.now()):
                by_shard[int(routed.stream[2 : routed.stream.index("}")])].append(routed)
        for shard, batches in by_shard.items():
            if not self._serve(shard, batches, newest):
                self._served = {}  # another router served this shard: read all positions again
                return
        self._position.advance(newest, len(rows))
        self._done.append((self._clock.steady_s(), newest))

    def _parts(self, rows: list[Row]) -> Iterator[list[Row]]:
        """*rows*, divided where a shard was served up to: no batch holds entries that its shard has and others that it lacks."""
        ends = sorted({id_pair(id) for id in self._served.values()})
        for _, part in groupby(rows, lambda row: bisect_left(ends, id_pair(row[0]))):
            yield list(part)

    def _routed(self, rows: list[Row], epoch: int, now: int) -> list[Routed]:
        """*rows* as batches of shards.  A row at which a bug makes routing fail goes to the first shard as it came."""
        try:
            return list(route(rows, self._routing, epoch, now))
        except Exception as error:
            if len(rows) > 1:
                return [routed for row in rows for routed in self._routed([row], epoch, now)]
            id, payload = rows[0]
            log.error("[Router-%s] entry %s of %s cannot be routed and goes to the first shard as it came: %s: %s", self._instance,
                      id.decode(), BARE_STREAM, type(error).__name__, error)  # fmt: skip
            return [Routed(normal_stream(0), payload, id.decode())]

    def _serve(self, shard: int, batches: list[Routed], newest: str) -> bool:
        """Add the batches of one shard and move its position, in one transaction; False where another router has moved it."""
        key, before = shard_key(shard, "routed"), self._served[shard]
        behind = [batch for batch in batches if id_pair(batch.source) > id_pair(before)]
        with self._link.client(key).pipeline(transaction=True) as pipe:
            pipe.watch(key)
            if mark_of(pipe.get(key)) != before:
                return False
            pipe.multi()
            for batch in behind:
                pipe.execute_command("XADD", batch.stream, "*", FIELD, batch.envelope)
            pipe.set(key, newest)
            try:
                pipe.execute()
            except WatchError:
                return False
        self._served[shard] = self._known[shard] = newest
        return True

    def _trim(self) -> None:
        old = None
        while self._done and self._done[0][0] < self._clock.steady_s() - KEEP_S:
            old = self._done.popleft()[1]
        if old:
            self._link.client(BARE_STREAM).xtrim(BARE_STREAM, minid=old, approximate=True)
