"""Reads the streams of a shard ahead of the pipeline, in its own thread.

The pipeline takes what was read and never waits for the network. While a server is away, it gets no new batches.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from redis.exceptions import ResponseError

from corec.common.clock import MACHINE, Clock
from corec.common.retrying_thread import RetryingThread
from corec.common.trouble import Trouble
from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.errors import StorageError
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.keys import BEGINNING, id_ms, id_pair, payload_of
from corec.streams.redis.link import BLOCK_MS, Connect, RedisLink, explained, next_count
from corec.streams.redis.position import Loss, Position, look
from corec.streams.redis.queue import Chunk, Queue
from corec.streams.redis.spool import Spool, Spooled
from corec.streams.redis.stamps import ServerClock

log = logging.getLogger("corec.streams.redis_reader")

#: Bytes read ahead of each stream. Beyond it the stream is not read until some are taken.
AHEAD_BYTES = 8 * MB
#: Bounds of COUNT of a read.
COUNTS = (64, 8192)
#: How long a read blocks while one of the streams is not read.
SHORT_BLOCK_MS = 5
#: Seconds without a take, with a full read-ahead, after which rows go to the spool: the store commits no turns.
SPOOL_AFTER_S = 2.0
LOOK_S = 1.0
#: Seconds until the next try after the spool could not be written.
SPOOL_AGAIN_S = 1.0


class RedisReader(RetryingThread):
    """One thread, and one queue for each stream, the critical stream first.

    Rows that were read ahead and not taken are read again by the next start.
    """

    def __init__(self, server: RedisServer, streams: Sequence[str], instance: str, *, server_clock: ServerClock, keep_bytes: int = 0,
                 spool: Spool | None = None, clock: Clock = MACHINE, connect: Connect | None = None) -> None:  # fmt: skip
        """server_clock: set by what the server says.
        keep_bytes: size of a stream below which it is not trimmed.
        spool: where rows of the normal stream go while the pipeline takes none.
        """
        super().__init__("redis-reader", f"RedisReader-{instance}", log, clock=clock)
        self.spool = spool
        self._newest_spooled = ""  # id of the newest entry in the spool. It stays on Redis, as a proof that the stream is the same
        self._keep_bytes = keep_bytes
        self._link = RedisLink(server, on_connect=self._connected, connect=connect)
        self._instance = instance
        self._streams = list(streams)
        self._server_clock = server_clock
        self.queues = [Queue(Position(stream), server_clock, clock) for stream in streams]
        self.lock = threading.Lock()
        self._connections = 0
        self._checked = -1
        self._look_due = 0.0
        self.ahead_bytes, self.spool_after_s = AHEAD_BYTES, SPOOL_AFTER_S
        self._spool_due = 0.0
        self._write_trouble = Trouble(log, f"RedisReader-{instance}", clock=clock)
        self.spool_trouble = Trouble(log, f"Spool-{instance}", clock=clock)
        self._spool_begins_at = ""  # after a crash: entries on Redis before this id come first, then the spool
        self._started_behind: dict[str, str] = {}  # stream -> id behind which this reader began
        self._count = COUNTS[0]
        self.losses: list[Loss] = []
        self.run = ""
        self.server: dict[str, float] = {"ram_bytes": 0, "bytes_per_s": 0.0}
        self._traffic: tuple[float, int] | None = None
        self.on_rows: Callable[[bool], None] = lambda urgent: None
        self.on_loss: Callable[[Loss], None] = lambda loss: None

    def seek(self, cursor: Mapping[str, str]) -> None:
        """Continue behind the entries of *cursor* (stream -> `cursor_text`). Call it before `start`."""
        for lane, stream in enumerate(self._streams):
            position = Position.parse(stream, cursor[stream]) if stream in cursor else Position(stream)
            self.queues[lane] = Queue(position, self._server_clock, self._clock)
            self._started_behind[stream] = self.queues[lane].position.id
        self._spool_begins_at = self.spool.first_behind(self.queues[-1].position.id) if self.spool else ""

    def take(self, lane: int, max_bytes: int, until: float = math.inf) -> tuple[str, list[Row]]:
        """(source, rows) of one lane: the oldest rows up to *until* ms."""
        with self.lock:
            return self.queues[lane].take(max_bytes, until)

    def oldest(self, lane: int) -> float:
        """Time (ms) of the next row of one lane; see `Queue.oldest`."""
        with self.lock:
            queue = self.queues[lane]
            in_spool = self.spool is not None and queue is not self.queues[0] and (self.spool.waiting or bool(self._spool_begins_at))
            return min(queue.oldest, queue.reached) if in_spool and not queue.waiting else queue.oldest

    def trim(self, stream: str, id: str) -> None:
        """Let the thread drop entries before *id* from the stream."""
        for queue in self.queues:
            if queue.position.stream == stream:
                queue.trim_to = id

    # -- the thread

    def _pass(self) -> None:
        with self._link.errors("give what it has"):
            self._work()
        self._recovered()

    def _end(self) -> None:
        self._link.close()

    def _work(self) -> None:
        if self._checked != self._connections:
            self._check()
        self._trim()
        self._look()
        self._refill()
        rows = self._read()
        self._look_at_clock(rows)
        if self._checked == self._connections:  # else the connection was made anew on the way: what it gave may be of another life
            self._distribute(rows)

    def _connected(self, address: str) -> None:
        self._connections += 1

    def _check(self) -> None:
        """After a new connection: check that every stream is still the one that was being read."""
        connections = self._connections
        for queue in self.queues:
            stream = queue.position.stream
            client = self._link.client(stream)
            client.ping()  # connects, which fetches the run id of the server
            loss = queue.position.compare(client, self._link.run_of(stream))
            if loss:
                self._lost(loss)
        self._checked = connections
        self.run = self._link.run_of(self._streams[0])

    def _read(self) -> list[tuple[Queue, list[Row]]]:
        wanted = [queue for queue in self.queues if self._goes_to_spool(queue) or self._has_room(queue)]
        if not wanted:
            self._clock.wait(self._stop, SHORT_BLOCK_MS / 1000)
            return []
        waits = len(wanted) < len(self.queues) or (self.spool is not None and self.spool.waiting)
        block = SHORT_BLOCK_MS if waits else BLOCK_MS
        names = [queue.position.stream for queue in wanted]
        # under this name redis-py has no callback, so the rows stay as they came
        reply = self._link.client(names[0]).execute_command(
            "XREAD COUNT", self._count, "BLOCK", block, "STREAMS", *names, *(queue.position.id for queue in wanted)
        )
        found = {bytes(name).decode(): rows for name, rows in reply or ()}
        if self._spool_begins_at and self.queues[-1] in wanted:
            self._before_spool(found)
            if not self._spool_begins_at:
                return []
        return [(queue, [(row[0], payload_of(row[1])) for row in found.get(name, [])]) for queue, name in zip(wanted, names, strict=True)]

    def _distribute(self, found: list[tuple[Queue, list[Row]]]) -> None:
        direct = []
        for queue, rows in found:
            if rows and self._goes_to_spool(queue):
                self._to_spool(queue, rows)
            else:
                direct.append((queue, rows))
        if self._to_queues(direct) or any(rows for _, rows in found):
            self.on_rows(any(rows for queue, rows in found if queue is self.queues[0]))
        self._count = next_count(self._count, [payload for _, rows in found for _, payload in rows], *COUNTS)

    def _to_queues(self, found: list[tuple[Queue, list[Row]]]) -> bool:
        """Put the rows of all streams at once: what is taken of one stream depends on what waits in the other.

        True when a queue reached the end of its stream.
        """
        ended = False
        with self.lock:
            for queue in self.queues:
                rows = next((rows for read, rows in found if read is queue), None)
                behind = rows is None or len(rows) >= self._count
                ended, queue.behind = ended or (queue.behind and not behind), behind
                if rows:
                    queue.put(rows)
        if any(rows and queue is self.queues[-1] for queue, rows in found):
            self.spool_trouble.recovered()
        return ended

    # -- the spool

    def _goes_to_spool(self, queue: Queue) -> bool:
        """Whether rows read now go to the spool: the pipeline takes none, or the spool holds older rows."""
        if self.spool is None or queue is self.queues[0] or self._spool_begins_at or self._clock.steady_s() < self._spool_due:
            return False
        return self.spool.waiting or (queue.bytes >= self.ahead_bytes and self._clock.steady_s() - queue.taken_at > self.spool_after_s)

    def _has_room(self, queue: Queue) -> bool:
        """Whether rows read now may go to the queue. Rows in the spool come first."""
        behind = self.spool is not None and self.spool.waiting and queue is not self.queues[0] and not self._spool_begins_at
        return queue.bytes < self.ahead_bytes and not behind

    def _before_spool(self, found: dict[str, list]) -> None:
        """After a crash: leave in *found* the rows before the first spooled one. Then reading continues behind the spool."""
        queue = self.queues[-1]
        rows = found.get(queue.position.stream, [])
        found[queue.position.stream] = before = [row for row in rows if id_pair(row[0]) < id_pair(self._spool_begins_at)]
        if len(before) < len(rows) or not rows:
            if before:
                queue.put([(row[0], payload_of(row[1])) for row in before])
            found.clear()
            self._spool_begins_at, self._newest_spooled = "", self.spool.last_id
            queue.position.jump(self.spool.last_id)

    def _to_spool(self, queue: Queue, rows: list[Row]) -> None:
        """Write rows to the spool, then delete them on Redis, except the newest."""
        position = queue.position
        try:
            self.spool.put(Spooled(position.seen, position.run, rows))
            self.spool_trouble.recovered()
        except StorageError as error:
            self._spool_failed(error)
            return
        ids = [row[0] for row in rows]
        position.advance(ids[-1].decode(), len(ids), rows[-1][1])
        gone = [*filter(None, [self._newest_spooled.encode()]), *ids[:-1]]
        self._newest_spooled = ids[-1].decode()
        if gone:
            with self._taken_out(position.stream):
                self._link.client(position.stream).xdel(position.stream, *gone)

    def _spool_failed(self, error: StorageError) -> None:
        self.spool_trouble.failed("entries stay on Redis", error)
        self._spool_due = self._clock.steady_s() + SPOOL_AGAIN_S

    def _refill(self) -> None:
        """Move spooled rows to the queue, in order, as long as there is room."""
        queue = self.queues[-1]
        while self.spool and self.spool.waiting and not self._spool_begins_at and queue.bytes < self.ahead_bytes // 2:
            name, record = self.spool.next()
            with self.lock:
                queue.add(self._without_taken(queue, Chunk(deque(record.rows), record.seen, record.run, name)))
            self.on_rows(False)

    def _without_taken(self, queue: Queue, chunk: Chunk) -> Chunk:
        """The chunk without the rows that were taken before a crash."""
        while chunk.rows and id_pair(chunk.rows[0][0]) <= id_pair(self._started_behind.get(queue.position.stream, BEGINNING)):
            chunk.rows.popleft()
            chunk = chunk._replace(seen=None if chunk.seen is None else chunk.seen + 1)
        return chunk

    def _trim(self) -> None:
        for queue in self.queues:
            if queue.trim_to and queue.memory >= self._keep_bytes:
                id, queue.trim_to = queue.trim_to, ""
                if queue is not self.queues[0]:
                    self._trim_spool(id)
                with self._taken_out(queue.position.stream):
                    self._link.client(queue.position.stream).xtrim(queue.position.stream, minid=id, approximate=True)

    @contextmanager
    def _taken_out(self, stream: str) -> Iterator[None]:
        """A server that refuses to write can still be read: what was read stays there for now."""
        try:
            yield
            self._write_trouble.recovered()
        except ResponseError as error:
            self._write_trouble.failed(f"{stream} keeps what was read", explained(error, self._link.server, "take it out"))

    def _trim_spool(self, id: str) -> None:
        try:
            if self.spool:
                self.spool.trim(id)
        except StorageError as error:
            self._spool_failed(error)

    def _look(self) -> None:
        """Once in LOOK_S: check that nobody has emptied a stream, and measure its entries and memory.

        The exact size of a later gap is computed from these numbers.
        """
        if self._clock.steady_s() < self._look_due:
            return
        self._look_due = self._clock.steady_s() + LOOK_S
        for queue in self.queues:
            stream = queue.position.stream
            client = self._link.client(stream)
            if loss := queue.position.compare(client, self._link.run_of(stream)):
                self._lost(loss)
            life = look(client, stream)
            queue.memory = client.memory_usage(stream, samples=8) or 0
            queue.length, queue.position.added = (life.length, life.added) if life else (0, None)
            queue.position.remember()
        info = self._link.client(self._streams[0]).info()
        self._server_clock.note(info)
        traffic = info["total_net_input_bytes"] + info["total_net_output_bytes"]
        if self._traffic:
            self.server["bytes_per_s"] = max(0, traffic - self._traffic[1]) / (self._clock.steady_s() - self._traffic[0])
        self._traffic = self._clock.steady_s(), traffic
        self.server["ram_bytes"] = info["used_memory"]

    def _look_at_clock(self, found: list[tuple[Queue, list[Row]]]) -> None:
        """Look whether the server's clock was set, where ids that were read are ahead of it."""
        newest = max((id_ms(rows[-1][0]) for _, rows in found if rows), default=0)
        if self._server_clock.is_doubtful(newest):
            self._server_clock.look(self._link.client(self._streams[0]))

    def _lost(self, loss: Loss) -> None:
        self.losses.append(loss)
        log.error("[RedisReader-%s] %s; reading goes on, senders that keep their tail send it again", self._instance, loss)
        self.on_loss(loss)
