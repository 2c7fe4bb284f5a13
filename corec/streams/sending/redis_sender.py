"""Sends batches to Redis, those of each shard in order, and drops those that a node has committed.

A batch on the server is not safe yet: the server may lose its memory, or a replica without it may take over. So the batch
stays on this disk until `{sNN}:committed` says that its readings are in the store.

Of several masters, those that can be reached do not wait for the others.
"""

import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.config.servers import RedisServer
from corec.engine.producer_marks import Account
from corec.streams.redis.accounts import read_account
from corec.streams.redis.keys import FIELD, id_pair, life_key, mark_of, shard_of
from corec.streams.redis.link import Connect, RedisLink, explained
from corec.streams.redis.position import look, payload_at
from corec.streams.redis.room import SIZE_S, Room
from corec.streams.sending.carrier import Carrier
from corec.streams.sending.receipt import ProducerPart
from corec.streams.sending.sent_batches import Sent, SentBatches
from corec.streams.sending.unsent import SenderStats, Unsent, UnsentBatch, number_in, readings_in

log = logging.getLogger("corec.streams.sender")

#: Bytes of batches in one transaction.
SEND_BYTES = 1 << 18
#: Seconds between two looks at the commit marks.
LOOK_S = 0.3
IDLE_S = 0.2
#: Seconds until a master that is away is tried again, and how much longer at least than the last try took: others wait meanwhile.
AGAIN_S, AGAIN_FACTOR = 0.1, 4.0


class RedisSender(Carrier):
    """One thread between the unsent batches and the server."""

    def __init__(self, server: RedisServer, unsent: Unsent, *, instance: str = "corec1", clock: Clock = MACHINE,
                 connect: Connect | None = None) -> None:  # fmt: skip
        super().__init__(unsent, thread="redis-sender", instance=instance, log=log, clock=clock)
        self._link = RedisLink(server, on_connect=self._connected, connect=connect)
        self._account_link, self._account_lock = RedisLink(server, connect=connect), threading.Lock()
        self._sent = SentBatches(unsent.done)
        self._away: dict[str, float] = {}  # address of a master that is away -> when to try it again
        self._masters_trouble = Trouble(log, f"Sender-{instance}", meanwhile="its batches wait in the tail, and others go on",
                                      clock=clock)  # fmt: skip
        self._connections = 0
        self._checked = -1
        self._sending = False
        self._lives: dict[str, str] = {}  # shard -> value of its `life`
        self._looks = 0
        self._look_due = 0.0
        self._room = Room(self._link, clock)
        self.full = ""
        self._idle = False  # whether the last round found nothing to send

    def stats(self) -> SenderStats:
        """A full stream, and one of several masters that is away, count as a problem too."""
        stats, away = super().stats(), self._masters_trouble.status()
        return stats._replace(problem=stats.problem or self.full or (away["text"] if away else ""))

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
        return self._sent.sent_upto

    def wait_sent(self, upto: int, timeout: float | None) -> bool:
        """Also wait for one look at the server after that: a stream that was emptied meanwhile has nothing."""
        end = None if timeout is None else self._clock.steady_s() + timeout
        if not super().wait_sent(upto, timeout):
            return False
        with self._progress:
            looks, self._look_due = self._looks, 0.0
            self._wake.set()
            left = None if end is None else max(0.0, end - self._clock.steady_s())
            return self._clock.wait_for(
                self._progress, lambda: self._unsent.done >= upto or (self._sent_upto() >= upto and self._looks > looks), left)  # fmt: skip

    def _end(self) -> None:
        self._link.close()

    def _connected(self, address: str) -> None:
        """Refuse to send on a new connection before `_check`.

        The server may have lost older batches. Sent behind newer ones, they would count as repeats.
        """
        self._connections += 1
        if self._sending:
            raise RedisConnectionError("the connection was lost, and another is looked at first")

    def _pass(self) -> float:
        with self._link.errors("take batches"):
            taken = self._work()
        if taken:
            self._recovered()
        return IDLE_S if self._idle else 0.0

    def _work(self) -> bool:
        """One round. False while batches wait that the server was not given: it may still refuse them."""
        self._idle = False
        if self._checked != self._connections:
            self._check()
        elif self._clock.steady_s() >= self._look_due:
            self._look()
        if self._unsent.crowded:  # room for new batches matters more than safety from a server that loses its memory
            self._drop(self._sent_upto())
        held = self._send_held()
        batches = self._unsent.read(self._sent.position, SEND_BYTES)
        if not batches:
            self._idle = held is None
            return held is not False
        return bool(self._send(batches) and held is not False or self.full)

    def _check(self) -> None:
        """After a new connection: check that the server still has what it took."""
        connections = self._connections
        self._link.address_of("corec")  # asks for the masters
        if len(self._sent) or self._sent.held:
            self._look()
        elif not self._link.has_several_masters:
            self._link.client("corec").ping()
        self._sent.set_runs(self._link.run_of)
        self._checked = connections

    def _look(self) -> None:
        """Drop batches that nodes have committed. Where the server lost batches of a shard, send all its uncommitted ones again."""
        self._look_due = self._clock.steady_s() + LOOK_S
        lost: list[str] = []
        again = 0
        for shard in sorted({*self._lives, *self._sent.shards, *self._sent.held}):
            if self._clock.steady_s() < self._away.get(self._link.address_of(life_key(shard)), 0.0):
                continue
            with self._reaching(shard):
                gone = self._look_at(shard)
                if gone:
                    with self._progress:
                        again += self._sent.send_again(shard, self._unsent.done)
                lost += gone
                self._reached(shard)
        if lost:
            log.warning("[Sender-%s] Redis has lost %s: %d batches are sent again", self._instance, " and ".join(lost), again)
        self._drop(self._sent.committed_upto)
        with self._progress:
            self._looks += 1
            self._moved()

    def _look_at(self, shard: str) -> list[str]:
        """Forget what nodes have committed of a shard; returns the streams that the server lost batches of.

        Commit marks count only while the batches exist: marks for a new stream are ahead of what was lost.
        """
        life, marks = self._read_marks(shard)
        is_another = shard in self._lives and self._lives[shard] != life
        if is_another:
            del self._lives[shard]
        lost = [sent.stream for sent in self._sent.newest(shard).values()
                if is_another or self._is_lost(self._link.client(sent.stream), sent)]  # fmt: skip
        if not lost:
            self._sent.take_committed(shard, lambda sent: self._is_committed(sent, marks))
        return lost

    # -- masters that are away

    @contextmanager
    def _reaching(self, shard: str) -> Iterator[None]:
        """Where one of several masters fails, note it and go on: its shards wait, others do not."""
        address, began = self._link.address_of(life_key(shard)), self._clock.steady_s()
        try:
            yield
        except (RedisError, OSError) as error:
            if not self._link.has_several_masters:
                raise
            self._masters_trouble.failed("", explained(error, self._link.server, f"take batches of {shard} at {address}"))
            self._sent.hold(shard, self._sent.position)
            self._link.leave(address)
            self._away[address] = self._clock.steady_s() + max(AGAIN_S, AGAIN_FACTOR * (self._clock.steady_s() - began))

    def _reached(self, shard: str) -> None:
        """Note that the master of a shard answers, and forget those that are no masters any more."""
        self._away.pop(self._link.address_of(life_key(shard)), None)
        waiting = {self._link.address_of(life_key(each)) for each in self._sent.held}
        self._away = {address: due for address, due in self._away.items() if address in waiting}
        if not self._away:
            self._masters_trouble.recovered()

    def _is_away(self, shard: str) -> bool:
        return self._link.address_of(life_key(shard)) in self._away

    def _send_held(self) -> bool | None:
        """Send batches of shards that were held back; None where there are none that can be sent, and as in `_send`."""
        some = None
        for shard in [shard for shard in self._sent.held if not self._is_away(shard)]:
            batches = self._unsent.read(self._sent.held[shard], SEND_BYTES)
            part = [batch for batch in batches if shard_of(batch.stream) == shard and batch.offset <= self._sent.position]
            sent = self._send_part(shard, part) if part else True
            if sent is False:
                return False
            if sent:
                with self._progress:
                    self._sent.caught_up(shard, batches[-1].offset if batches else self._sent.position)
                    self._moved()
            some = True
        return some

    def _read_marks(self, shard: str) -> tuple[str, dict[str, str]]:
        """(life of the shard's keys, stream -> committed id)."""
        key = f"{shard}:committed"
        with self._link.client(key).pipeline(transaction=True) as pipe:
            life, marks = pipe.get(life_key(shard)).hgetall(key).execute()
        return _text(life or b""), {_text(name): _text(value) for name, value in marks.items()}

    def _is_lost(self, client: Any, sent: Sent) -> bool:
        """Whether an uncommitted entry is gone.

        A node that spools deletes entries one by one: such a deletion is no loss.
        """
        found = payload_at(client, sent.stream, sent.id)
        if found is not None:  # a server that lost the newest entries may give their ids once more
            return number_in(found) != sent.number
        life = look(client, sent.stream)
        if life is None or id_pair(life.last) < id_pair(sent.id):
            return True
        if life.deleted is None:  # before Redis 7 the server does not say whether it was deleted by its id
            return sent.run != self._link.run_of(sent.stream)
        return id_pair(life.deleted) < id_pair(sent.id)

    def _is_committed(self, sent: Sent, marks: dict[str, str]) -> bool:
        if sent.offset <= self._unsent.done:
            return True
        mark = marks.get(sent.stream)
        return mark is not None and marks.get("run") == sent.run and id_pair(sent.id) <= id_pair(mark_of(mark.encode()))

    def _send(self, batches: list[UnsentBatch]) -> bool:
        """Whether the server took *batches*, or those of them that it can take now.

        False where its streams are not the ones of before: what they lost goes first.
        """
        for shard, group in groupby(batches, key=lambda batch: shard_of(batch.stream)):
            part = list(group)
            if shard in self._sent.held or self._is_away(shard):
                self._sent.hold(shard, part[0].offset - 1)
            elif self._send_part(shard, part) is False:
                return False
            with self._progress:
                self._sent.position = part[-1].offset
                self._moved()
        return True

    def _send_part(self, shard: str, part: list[UnsentBatch]) -> bool | None:
        """Send batches of one shard. None where its master is away: they are held. False as in `_send`, and where a stream is full."""
        with self._reaching(shard):
            if not self._has_room(part) or self._checked != self._connections:
                return False
            self._sending = True
            try:
                ids = self._add_batches(shard, part)
            finally:
                self._sending = False
            if ids is None:
                self._look_due = 0.0
                return False
            self._note_sent(part, ids)
            return True
        self._sent.hold(shard, part[0].offset - 1)
        return None

    def _add_batches(self, shard: str, part: list[UnsentBatch]) -> list[bytes] | None:
        """Add *part* to its streams and return the ids. None, with nothing added, where the streams are not the same any more.

        Then the lost batches go first: behind newer ones they would count as repeats.
        """
        newest = self._sent.newest(shard)
        key = life_key(shard)
        client = self._link.client(key)
        if shard not in self._lives:
            client.set(key, secrets.token_hex(8), nx=True)
            self._lives[shard] = _text(client.get(key) or b"")
        # A transaction: if one batch is refused for lack of memory, later ones must not overtake it
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            if _text(pipe.get(key) or b"") != self._lives[shard]:
                return None
            if any(self._is_lost(pipe, newest[stream]) for stream in sorted({batch.stream for batch in part} & newest.keys())):
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
        self._sent.add(Sent(batch.offset, batch.stream, id.decode(), runs[batch.stream], number_in(batch.envelope))
                       for batch, id in zip(batches, ids, strict=True))  # fmt: skip
        self.readings += sum(readings_in(batch.envelope) for batch in batches)

    def _has_room(self, batches: list[UnsentBatch]) -> bool:
        """Whether the streams are below their bound. Otherwise unsent batches pile up here, and `publish` gets no room."""
        self.full = self._room.lacking(sorted({batch.stream for batch in batches}))
        if self.full:
            self._clock.wait(self._stop, SIZE_S)
        return not self.full


def _text(value: bytes) -> str:
    """What stands in a key that others may write to as well."""
    return value.decode("utf-8", "replace")
