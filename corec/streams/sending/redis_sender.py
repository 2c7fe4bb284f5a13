"""Sends batches to Redis, in order, and drops those that a node has committed.

A batch on the server is not safe yet: the server may lose its memory, or a replica without it may take over. So the batch
stays on this disk until `{sNN}:committed` says that its readings are in the store.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import WatchError

from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.engine.producer_marks import Account
from corec.streams.redis.accounts import read_account
from corec.streams.redis.keys import FIELD, id_pair, life_key, shard_of
from corec.streams.redis.link import RedisLink
from corec.streams.redis.position import has, look
from corec.streams.sending.carrier import Carrier
from corec.streams.sending.receipt import ProducerPart
from corec.streams.sending.unsent import SenderStats, Unsent, UnsentBatch, readings_in

log = logging.getLogger("corec.streams.sender")

#: Bytes of batches in one transaction.
SEND_BYTES = 1 << 18
#: Seconds between two looks at the commit marks, and between two at the size of the streams.
LOOK_S = 0.3
SIZE_S = 0.1
IDLE_S = 0.2


class Sent(NamedTuple):
    """A batch that the server has."""

    offset: int
    stream: str
    id: str
    run: str


class RedisSender(Carrier):
    """One thread between the unsent batches and the server."""

    def __init__(self, server: RedisServer, unsent: Unsent, *, instance: str = "corec1") -> None:
        super().__init__(unsent, thread="redis-sender", instance=instance, log=log)
        self._link = RedisLink(server, on_connect=self._connected)
        self._account_link, self._account_lock = RedisLink(server), threading.Lock()
        self._bound = server.max_mb * MB
        self._position = unsent.done  # the server has everything up to here
        self._sent: deque[Sent] = deque()
        self._connections = 0
        self._checked = -1
        self._sending = False
        self._lives: dict[str, str] = {}  # shard -> value of its `life`
        self._looks = 0
        self._look_due = 0.0
        self._sizes: dict[str, tuple[float, int]] = {}
        self.full = ""

    def stats(self) -> SenderStats:
        """A full stream counts as a problem too."""
        stats = super().stats()
        return stats._replace(problem=stats.problem or self.full)

    def accounts(self, parts: Sequence[ProducerPart]) -> list[Account | None]:
        """What became of the readings of each part; ServerError."""
        with self._account_lock, self._account_link.errors("give the accounts"):
            return [read_account(self._account_link, part.stream, part.producer, part.epoch) for part in parts]

    def stop(self) -> None:
        super().stop()
        with self._account_lock:
            self._account_link.close()

    # -- the thread

    def _sent_upto(self) -> int:
        return self._position

    def wait_sent(self, upto: int, timeout: float | None) -> bool:
        """Also wait for one look at the server after that: a stream that was emptied meanwhile has nothing."""
        end = None if timeout is None else time.monotonic() + timeout
        if not super().wait_sent(upto, timeout):
            return False
        with self._progress:
            looks, self._look_due = self._looks, 0.0
            self._wake.set()
            left = None if end is None else max(0.0, end - time.monotonic())
            return self._progress.wait_for(lambda: self._unsent.done >= upto or (self._position >= upto and self._looks > looks), left)

    def _end(self) -> None:
        self._link.close()

    def _connected(self, address: str) -> None:
        """Refuse to send on a new connection before `_check`.

        The server may have lost older batches. Sent behind newer ones, they would count as repeats.
        """
        self._connections += 1
        if self._sending:
            raise RedisConnectionError("the connection was lost, and another is looked at first")

    def _pass(self) -> None:
        with self._link.errors("take batches"):
            taken = self._work()
        if taken:
            self._recovered(f"Redis at {self._link.server.address} answers again")

    def _work(self) -> bool:
        """One round. False while batches wait that the server was not given: it may still refuse them."""
        if self._checked != self._connections:
            self._check()
        elif time.monotonic() >= self._look_due:
            self._look()
        if self._unsent.crowded:  # room for new batches matters more than safety from a server that loses its memory
            self._drop(self._position)
        batches = self._unsent.read(self._position, SEND_BYTES)
        if not batches:
            self._rest(IDLE_S)
            return True
        if not self._has_room(batches):
            return True
        if self._checked != self._connections:
            return False
        self._sending = True
        try:
            return self._send(batches)
        finally:
            self._sending = False

    def _check(self) -> None:
        """After a new connection: check that the server still has what it took."""
        connections = self._connections
        if self._sent:
            self._look()
        else:
            self._link.client("corec").ping()
        self._sent = deque(sent._replace(run=self._link.run_of(sent.stream)) for sent in self._sent)
        self._checked = connections

    def _look(self) -> None:
        """Drop batches that nodes have committed. Where the server lost batches, send all uncommitted ones again.

        Commit marks count only while the batches exist: marks for a new stream are ahead of what was lost.
        """
        self._look_due = time.monotonic() + LOOK_S
        newest = {sent.stream: sent for sent in self._sent}
        marks: dict[str, str] = {}
        lost: list[str] = []
        for shard in {*self._lives, *map(shard_of, newest)}:
            mine = [sent for sent in newest.values() if shard_of(sent.stream) == shard]
            life, found = self._read_marks(shard)
            is_another = self._lives.setdefault(shard, life) != life
            if is_another:
                del self._lives[shard]
            lost += [sent.stream for sent in mine if is_another or self._is_lost(self._link.client(sent.stream), sent)]
            marks |= {f"{shard} {name}": value for name, value in found.items()}
        if lost:
            self._send_again(lost)
        else:
            self._drop_committed(marks)
        with self._progress:
            self._looks += 1
            self._progress.notify_all()

    def _read_marks(self, shard: str) -> tuple[str, dict[str, str]]:
        """(life of the shard's keys, stream -> committed id)."""
        key = f"{shard}:committed"
        with self._link.client(key).pipeline(transaction=True) as pipe:
            life, marks = pipe.get(life_key(shard)).hgetall(key).execute()
        return (life or b"").decode(), {name.decode(): value.decode() for name, value in marks.items()}

    def _is_lost(self, client: Any, sent: Sent) -> bool:
        """Whether an uncommitted entry is gone.

        A node that spools deletes entries one by one: such a deletion is no loss.
        """
        if has(client, sent.stream, sent.id):
            return False
        life = look(client, sent.stream)
        if life is None or id_pair(life.last) < id_pair(sent.id):
            return True
        if life.deleted is None:  # before Redis 7 the server does not say whether it was deleted by its id
            return sent.run != self._link.run_of(sent.stream)
        return id_pair(life.deleted) < id_pair(sent.id)

    def _send_again(self, lost: list[str]) -> None:
        log.warning("[Sender-%s] Redis has lost %s: %d batches are sent again", self._instance, " and ".join(lost), len(self._sent))
        self._sent.clear()
        with self._progress:
            self._position = self._unsent.done

    def _drop_committed(self, marks: dict[str, str]) -> None:
        upto = self._unsent.done
        while self._sent and self._is_committed(self._sent[0], marks):
            upto = self._sent.popleft().offset
        self._drop(upto)

    def _is_committed(self, sent: Sent, marks: dict[str, str]) -> bool:
        if sent.offset <= self._unsent.done:
            return True
        shard = shard_of(sent.stream)
        mark = marks.get(f"{shard} {sent.stream}")
        return mark is not None and marks.get(f"{shard} run") == sent.run and id_pair(sent.id) <= id_pair(mark)

    def _send(self, batches: list[UnsentBatch]) -> bool:
        """Whether the server took *batches*. False where its streams are not the ones of before: what they lost goes first."""
        for shard, group in groupby(batches, key=lambda batch: shard_of(batch.stream)):
            part = list(group)
            ids = self._add_batches(shard, part)
            if ids is None:
                self._look_due = 0.0
                return False
            self._note_sent(part, ids)
        return True

    def _add_batches(self, shard: str, part: list[UnsentBatch]) -> list[bytes] | None:
        """Add *part* to its streams and return the ids. None, with nothing added, where the streams are not the same any more.

        Then the lost batches go first: behind newer ones they would count as repeats.
        """
        newest = {sent.stream: sent for sent in self._sent}
        key = life_key(shard)
        client = self._link.client(key)
        if shard not in self._lives:
            client.set(key, secrets.token_hex(8), nx=True)
            self._lives[shard] = (client.get(key) or b"").decode()
        # A transaction: if one batch is refused for lack of memory, later ones must not overtake it
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            if (pipe.get(key) or b"").decode() != self._lives[shard]:
                return None
            if any(self._is_lost(pipe, newest[stream]) for stream in {batch.stream for batch in part} & newest.keys()):
                return None
            pipe.multi()
            for batch in part:
                pipe.execute_command("XADD", batch.stream, "*", FIELD, batch.envelope)
            try:
                return pipe.execute()
            except WatchError:
                return None

    def _note_sent(self, batches: list[UnsentBatch], ids: list[bytes]) -> None:
        runs = {batch.stream: self._link.run_of(batch.stream) for batch in batches}
        for batch, id in zip(batches, ids, strict=True):
            self._sent.append(Sent(batch.offset, batch.stream, id.decode(), runs[batch.stream]))
            self.readings += readings_in(batch.envelope)
        with self._progress:
            self._position = batches[-1].offset
            self._progress.notify_all()

    def _has_room(self, batches: list[UnsentBatch]) -> bool:
        """Whether the streams are below their bound. Otherwise unsent batches pile up here, and `publish` gets no room."""
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
