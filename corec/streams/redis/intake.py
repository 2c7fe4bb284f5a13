"""The batches of a shard from Redis, critical channels first. Turn records note the order, so that a replay has the same."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from corec._core.wire import FRAME_BYTES
from corec.common.clock import MACHINE, Clock
from corec.common.times import MS_FROM
from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.errors import ServerAway, ServerError
from corec.streams.base import Entry, unpacked_bytes
from corec.streams.intake import read_note
from corec.streams.redis.bare_frames import Row, as_entries
from corec.streams.redis.keys import FIELD, fast_stream, id_ms, id_pair, normal_stream
from corec.streams.redis.link import Connect, RedisLink
from corec.streams.redis.position import Loss
from corec.streams.redis.reader import RedisReader
from corec.streams.redis.spool import PREFIX, Spool
from corec.streams.redis.stamps import ServerClock

if TYPE_CHECKING:
    from corec.storage.base import TurnRecord

log = logging.getLogger("corec.streams.redis_intake")

#: Lanes, as indexes into `RedisIntake.streams` and `RedisReader.queues`.
FAST, NORMAL = 0, 1
#: One in this many bytes of each read is reserved for ordinary channels, however much comes on the critical ones.
NORMAL_SHARE = 4
#: However long windows wait for late readings: what waits on one stream does not let the other run far ahead.
MOST_LEAD_S = 30.0
#: Entries fetched with one command for a replay.
AGAIN_COUNT = 500
WAIT_S = 0.1
#: A server that answers nothing for this long is away.
WITHIN_S = 1.0

#: [stream, first id, last id, number of entries] read in sequence; with ids that are not times also `stand_in` and `upto` of `stamps_of`.
Run = list[Any]


class RedisIntake:
    """The `Intake` of one shard."""

    def __init__(self, server: RedisServer, *, shard: int = 0, instance: str = "corec1", keep_bytes: int = 0, spool: Spool | None = None,
                 lead_s: float = 0.0, given_up: Callable[[], bool] = lambda: False, clock: Clock = MACHINE,
                 connect: Connect | None = None) -> None:  # fmt: skip
        """lead_s: how far (seconds) one stream is read ahead of the other, up to MOST_LEAD_S.
        keep_bytes: size of a stream below which it is not trimmed.
        given_up: asked while a replay waits for a server that is away; True ends the wait with ServerAway.
        """
        self.streams = (fast_stream(shard), normal_stream(shard))
        kept = min(keep_bytes, server.max_mb << 19)  # at most half of its bound, or senders would wait for ever
        self._server_clock = ServerClock(clock)
        self.reader = RedisReader(server, self.streams, instance, server_clock=self._server_clock, keep_bytes=kept, spool=spool,
                                  clock=clock, connect=connect)  # fmt: skip
        self.offset = 0
        self._lead_ms = 1000 * min(lead_s, MOST_LEAD_S)
        self._server, self._instance, self._given_up = server, instance, given_up
        self._clock, self._connect = clock, connect
        self._runs: list[Run] = []
        self._joins = False  # the last run may be extended: it does not end with a bare frame
        self._noted_losses = 0
        self._cursor: dict[str, str] = {}
        self._read_positions: deque[tuple[int, dict[str, str]]] = deque()  # offset -> cursor, for trimming
        self._first = 1
        self._replay: _Replay | None = None
        self._replayed = 0  # the turn read again last

    @property
    def pending(self) -> int:
        return sum(queue.waiting for lane, queue in enumerate(self.reader.queues)
                   if queue.waiting and queue.oldest <= self._read_limit(lane))  # fmt: skip

    @property
    def holds_back(self) -> str:
        if self.reader.problem:
            return self.reader.problem
        if self._streams_fullness >= 1:
            return "the streams on Redis are full, and senders keep their batches"
        if self.reader.spool is not None and self.reader.spool.waiting:
            return "entries wait in the spool"
        unread = next((queue.position.stream for queue in self.reader.queues if queue.waiting or queue.behind), "")
        return unread and f"{unread} is not read to its end"

    @property
    def fullness(self) -> float:
        spool = self.reader.spool
        return max(self._streams_fullness, spool.fullness if spool else 0.0)

    @property
    def _streams_fullness(self) -> float:
        """Share of `max_mb` that the larger stream takes. At 1 senders stop sending and keep their batches."""
        return max(queue.memory for queue in self.reader.queues) / (self._server.max_mb * MB)

    @property
    def first(self) -> int:
        return self._first

    @property
    def losses(self) -> list[Loss]:
        """Gaps found since the start."""
        return self.reader.losses

    def listen(self, accepted: Callable[[bool], None], lost: Callable[[], Any]) -> None:
        self.reader.on_rows, self.reader.on_loss = accepted, lambda _: lost()
        if self.losses:
            lost()

    def stamp_now(self) -> int | None:
        return self._server_clock.now()

    def server_ms(self) -> int | None:
        return self._server_clock.now()

    @property
    def anchor(self) -> int | None:
        return self._server_clock.anchor

    def seek(self, offset: int, cursor: dict[str, str]) -> None:
        self.offset, self._replay = offset, None
        self._cursor = {stream: cursor[stream] for stream in self.streams if stream in cursor}
        self._remember(offset)
        self.reader.seek(self._cursor)
        self.reader.start()

    def read(self, max_bytes: int) -> list[Entry]:
        share = max_bytes // NORMAL_SHARE if self.reader.queues[NORMAL].waiting else 0
        entries = self._take(FAST, max_bytes - share)
        return entries + self._take(NORMAL, max_bytes - sum(unpacked_bytes(entry.payload) for entry in entries))

    def _take(self, lane: int, max_bytes: int) -> list[Entry]:
        """Runs of one lane, up to *max_bytes* once they are unpacked. Every record of the spool is a run of its own."""
        entries: list[Entry] = []
        while max_bytes > 0:
            source, rows = self.reader.take(lane, max_bytes, self._read_limit(lane))
            if not rows:
                break
            entries += self._entries_of(lane, source, rows)
            max_bytes -= sum(unpacked_bytes(payload) for _, payload in rows)
        return entries

    def _read_limit(self, lane: int) -> float:
        """Time in ms up to which a lane is read. Beyond it, entries that wait in the other lane would become late."""
        return self.reader.oldest(1 - lane) + self._lead_ms

    def note(self) -> dict[str, Any] | None:
        if not self._runs:
            return None
        runs, self._runs, self._joins = self._runs, [], False
        self._remember(self.offset)
        lost = [list(loss) for loss in self.losses[self._noted_losses :]]
        self._noted_losses += len(lost)
        return {"op": "read", "runs": runs, "cursor": dict(self._cursor)} | ({"lost": lost} if lost else {})

    def again(self, record: "TurnRecord") -> Iterator[tuple[bytes, int]]:
        note = read_note(record)
        if note is None:
            return
        if record.turn <= self._replayed:  # once more from an earlier one
            self._replay = None
        self._replayed = record.turn
        self._replay = self._replay or _Replay(RedisLink(self._server, connect=self._connect), self._instance, self._given_up, self._clock)
        for stream, first, last, count, *stand_in in note["runs"]:
            rows = self._spooled(stream, first, last) if stream.startswith(PREFIX) else self._replay.run(stream, first, last, count)
            for entry in as_entries(rows, 0, *stand_in):
                yield entry.payload, entry.arrival
        self._cursor |= note["cursor"]
        self._remember(record.to_offset)

    def _spooled(self, name: str, first: str, last: str) -> list[Row]:
        rows = self.reader.spool.again(name) if self.reader.spool else []
        return [row for row in rows if id_pair(first) <= id_pair(row[0]) <= id_pair(last)]

    def trim(self, offset: int) -> None:
        cursor: dict[str, str] = {}
        while self._read_positions and self._read_positions[0][0] <= offset:
            self._first, cursor = self._read_positions[0][0] + 1, self._read_positions.popleft()[1]
        if cursor:
            self._read_positions.appendleft((self._first - 1, cursor))
        for stream, position in cursor.items():
            self.reader.trim(stream, position.partition(" ")[0])

    def close(self) -> None:
        self.reader.stop()
        if self.reader.spool:
            self.reader.spool.close()
        for queue in self.reader.queues:
            while queue.take(1 << 62)[1]:
                pass
        self.reader.spool = None

    def _entries_of(self, lane: int, source: str, rows: list[Row]) -> list[Entry]:
        if not rows:
            return []
        stand_in = self._stand_in(rows)
        entries = list(as_entries(rows, self.offset, *stand_in))
        plain = len(entries) == len(rows) and min(len(payload) for _, payload in rows) > FRAME_BYTES
        self._note_run(source, rows, plain and not stand_in, stand_in)
        self._cursor[self.streams[lane]] = self.reader.queues[lane].taken
        self.offset += len(rows)
        return entries

    def _stand_in(self, rows: list[Row]) -> list[float]:
        """[stand_in, upto] of `stamps_of`; [] where all ids are times.

        The turn record keeps them, so that a replay uses the same values.
        """
        upto = self._server_clock.upto()
        all_are = id_ms(rows[0][0]) >= MS_FROM and id_ms(rows[-1][0]) < upto  # ids grow
        return [] if all_are else [self._server_clock.stand_in(), upto]

    def _note_run(self, stream: str, rows: list[Row], plain: bool, stand_in: list[float]) -> None:
        """Add *rows* to the runs of the turn record.

        A run with bare frames is never joined with its neighbour: a replay has to gather the same batches.
        """
        first, last = rows[0][0].decode(), rows[-1][0].decode()
        if plain and self._joins and self._runs[-1][0] == stream and id_pair(first) > id_pair(self._runs[-1][2]):
            self._runs[-1][2:] = [last, self._runs[-1][3] + len(rows)]
        else:
            self._runs.append([stream, first, last, len(rows), *stand_in])
        self._joins = plain

    def _remember(self, offset: int) -> None:
        if not self._read_positions or self._read_positions[-1][0] < offset:
            self._read_positions.append((offset, dict(self._cursor)))


class _Replay:
    """Fetches the entries of runs again, in order and ahead. It waits for a server that is away."""

    def __init__(self, link: RedisLink, instance: str, given_up: Callable[[], bool], clock: Clock) -> None:
        self._link, self._instance, self._given_up, self._clock = link, instance, given_up, clock
        self._ahead: dict[str, deque[Row]] = {}

    def run(self, stream: str, first: str, last: str, count: int) -> list[Row]:
        """The entries of one run that are still on the server."""
        rows: list[Row] = []
        end, begin = id_pair(last), id_pair(first)
        while len(rows) < count and (row := self._next(stream, first if not rows else rows[-1][0].decode(), bool(rows))):
            if id_pair(row[0]) > end:
                self._ahead[stream].appendleft(row)
                break
            if id_pair(row[0]) >= begin:
                rows.append(row)
        if len(rows) < count:
            log.error("[RedisIntake-%s] %d of %d entries of %s from %s to %s are gone: committed turns cannot be folded again exactly",
                      self._instance, count - len(rows), count, stream, first, last)  # fmt: skip
        return rows

    def _next(self, stream: str, id: str, behind: bool) -> Row | None:
        ahead = self._ahead.setdefault(stream, deque())
        if not ahead:
            ahead.extend(self._fetch(stream, f"({id}" if behind else id))
        return ahead.popleft() if ahead else None

    def _fetch(self, stream: str, start: str) -> list[Row]:
        """Read again until the server answers; ServerAway after WITHIN_S seconds or when `given_up` says so."""
        end = self._clock.steady_s() + WITHIN_S
        while True:
            try:
                with self._link.errors("give what was read before"):
                    found = self._link.client(stream).xrange(stream, start, "+", count=AGAIN_COUNT)
                return [(id, fields.get(FIELD, b"")) for id, fields in found]
            except ServerError as error:
                if self._given_up() or self._clock.steady_s() > end:
                    raise ServerAway(error.text, hint=error.hint, away=error.away) from error
                self._clock.sleep(WAIT_S)
