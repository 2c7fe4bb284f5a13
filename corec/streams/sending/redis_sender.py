"""Carries a tail to Redis, in order, and lets go of what a node has committed.

A batch that the server has is not safe yet: a server that forgets, or a replica that takes over, may not have it.
So it stays in the tail until the node that owns the stream says in `{sNN}:committed` that its readings are in the store.
"""

import logging
import time
from collections import deque
from itertools import groupby
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError

from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.streams.redis.keys import FIELD, id_pair
from corec.streams.redis.link import Link
from corec.streams.sending.carrier import Carrier
from corec.streams.sending.unsent import SenderStats, Tail, Waiting, readings_in

log = logging.getLogger("corec.streams.sender")

#: Bytes of batches in one transaction.
SEND_BYTES = 1 << 18
#: Between two looks at what nodes have committed, and at how large the streams are.
LOOK_S = 0.3
SIZE_S = 0.1
IDLE_S = 0.2


class Sent(NamedTuple):
    """A batch that the server has."""

    offset: int
    stream: str
    id: str
    run: str


class Sender(Carrier):
    """One thread between a tail and the server."""

    def __init__(self, server: RedisServer, tail: Tail, *, instance: str = "corec1") -> None:
        super().__init__(tail, thread="redis-sender", instance=instance, log=log)
        self._link = Link(server, on_connect=self._connected)
        self._bound = server.max_mb * MB
        self._position = tail.done  # the server has everything up to here
        self._sent: deque[Sent] = deque()
        self._connections = 0
        self._checked = -1
        self._sending = False
        self._look_due = 0.0
        self._sizes: dict[str, tuple[float, int]] = {}
        self.full = ""

    def stats(self) -> SenderStats:
        """Where it stands; streams that are full are a problem too."""
        stats = super().stats()
        return stats._replace(problem=stats.problem or self.full)

    # -- the thread

    def _sent_upto(self) -> int:
        return self._position

    def _end(self) -> None:
        self._link.close()

    def _connected(self, address: str) -> None:
        """Nothing is sent over a connection before it is known what its server still has: older batches would come behind newer
        ones, and count as repeats."""
        self._connections += 1
        if self._sending:
            raise RedisConnectionError("the connection was lost, and another is looked at first")

    def _pass(self) -> None:
        with self._link.errors("take batches"):
            self._work()

    def _work(self) -> None:
        if self._checked != self._connections:
            self._check()
        if time.monotonic() >= self._look_due:
            self._let_go()
        if self._tail.crowded:  # room for what comes goes before safety from a server that forgets
            self._drop(self._position)
        batches = self._tail.read(self._position, SEND_BYTES)
        if not batches:
            self._rest(IDLE_S)
        elif self._has_room(batches) and self._checked == self._connections:
            self._sending = True
            try:
                self._send(batches)
            finally:
                self._sending = False

    def _check(self) -> None:
        """A new connection: does the server still have what it took?  Else everything that is not committed goes out again."""
        connections = self._connections
        self._let_go()
        newest = {sent.stream: sent for sent in self._sent}
        lost = [sent for sent in newest.values() if not self._link.client(sent.stream).xrange(sent.stream, sent.id, sent.id, count=1)]
        if lost:
            log.warning("[Sender-%s] Redis has lost %s: %d batches are sent again", self._instance,
                        " and ".join(sent.stream for sent in lost), len(self._sent))  # fmt: skip
            self._position = self._tail.done
            self._sent.clear()
        else:
            self._sent = deque(sent._replace(run=self._link.run_of(sent.stream)) for sent in self._sent)
            self._link.client("corec").ping() if not newest else None
        if self.problem:
            log.warning("[Sender-%s] Redis at %s answers again", self._instance, self._link.server.address)
        self.problem, self._checked = "", connections

    def _send(self, batches: list[Waiting]) -> None:
        for _, group in groupby(batches, key=lambda batch: batch.stream.partition(":")[0]):
            part = list(group)
            # A transaction: one refused in the middle, for want of memory, must not let later ones pass it
            with self._link.client(part[0].stream).pipeline(transaction=True) as pipe:
                for batch in part:
                    pipe.execute_command("XADD", batch.stream, "*", FIELD, batch.envelope)
                ids = pipe.execute()
            self._took(part, ids)

    def _took(self, batches: list[Waiting], ids: list[Any]) -> None:
        runs = {batch.stream: self._link.run_of(batch.stream) for batch in batches}
        for batch, id in zip(batches, ids, strict=True):
            self._sent.append(Sent(batch.offset, batch.stream, id.decode(), runs[batch.stream]))
            self.readings += readings_in(batch.envelope)
        with self._progress:
            self._position = batches[-1].offset
            self._progress.notify_all()

    def _let_go(self) -> None:
        """Drop from the tail what nodes have committed."""
        self._look_due = time.monotonic() + LOOK_S
        marks: dict[str, dict[str, str]] = {}
        upto = self._tail.done
        while self._sent and self._is_committed(self._sent[0], marks):
            upto = self._sent.popleft().offset
        self._drop(upto)

    def _is_committed(self, sent: Sent, marks: dict[str, dict[str, str]]) -> bool:
        if sent.offset <= self._tail.done:
            return True
        key = sent.stream.partition(":")[0] + ":committed"
        if key not in marks:
            found = self._link.client(key).hgetall(key)
            marks[key] = {name.decode(): value.decode() for name, value in found.items()}
        mark = marks[key].get(sent.stream)
        return mark is not None and marks[key].get("run") == sent.run and id_pair(sent.id) <= id_pair(mark)

    def _has_room(self, batches: list[Waiting]) -> bool:
        """Whether the streams are below their bound; else the tail fills, and senders are told."""
        for stream in {batch.stream for batch in batches}:
            asked, size = self._sizes.get(stream, (0.0, 0))
            if time.monotonic() - asked > SIZE_S:
                size = self._link.client(stream).memory_usage(stream, samples=8) or 0
                self._sizes[stream] = time.monotonic(), size
            if size > self._bound:
                self.full = f"{stream} takes {size // MB} MB, redis_config.max_mb allows {self._bound // MB} MB: no node reads as fast"
                self._stop.wait(SIZE_S)
                return False
        self.full = ""
        return True
