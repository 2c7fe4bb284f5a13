"""Rows of one stream that were read ahead and not taken yet."""

import math
import struct
from collections import deque
from typing import NamedTuple

from corec._core.wire import HEADER
from corec.common.clock import MACHINE, Clock
from corec.streams.base import unpacked_bytes
from corec.streams.redis.bare_frames import Row
from corec.streams.redis.keys import id_ms, id_pair
from corec.streams.redis.position import Position, cursor_text
from corec.streams.redis.stamps import ServerClock

#: Position of the time in the header of an envelope (docs/formats.md).
TIME_AT = 32
_TIME = struct.Struct("!q")


class Chunk(NamedTuple):
    """Rows that one read gave."""

    rows: deque[Row]
    seen: int | None  # entries of the stream before the first of them
    run: str  # run id of the server
    source: str  # its name in turn records: the stream, or a record of the spool


class Queue:
    """The read-ahead of one stream: where reading stands, and where taking stands."""

    def __init__(self, position: Position, server_clock: ServerClock, clock: Clock = MACHINE) -> None:
        self._server_clock = server_clock
        self._clock = clock
        self.position = position  # read position; only the reader's thread moves it
        self.taken = ""  # take position, as `cursor_text`
        before = id_pair(position.id)[0]
        self.reached = before if server_clock.is_time(before) else 0  # time (ms) of the entry taken last
        self.behind = True  # whether the server may have more: until a read has reached the end
        self.bytes = self.waiting = 0
        self.taken_at = self._clock.steady_s()
        self.trim_to = ""
        self.length = self.memory = 0  # of the stream on the server, at the last look
        self._chunks: deque[Chunk] = deque()

    def put(self, rows: list[Row]) -> None:
        """Append the rows of a read and advance the read position."""
        self.add(Chunk(deque(rows), self.position.seen, self.position.run, self.position.stream))
        self.position.advance(rows[-1][0].decode(), len(rows), rows[-1][1])
        self.position.remember()

    def add(self, chunk: Chunk) -> None:
        """Append rows without a change of the read position: they come from the spool."""
        if chunk.rows:
            self._chunks.append(chunk)
            self.bytes += sum(len(payload) for _, payload in chunk.rows)
            self.waiting += len(chunk.rows)

    @property
    def oldest(self) -> float:
        """Time (ms) of the next row. It is infinite where the server has no more, and the time of the last row taken where it may have."""
        if self._chunks:
            return self._moment(self._chunks[0].rows[0])
        return self.reached if self.behind else math.inf

    def take(self, max_bytes: int, until: float = math.inf) -> tuple[str, list[Row]]:
        """(source, rows): the oldest rows up to *until* ms, from one source; at least one if there is any.

        max_bytes: of all that is taken, once it is unpacked.
        """
        taken: list[Row] = []
        source = self._chunks[0].source if self._chunks else ""
        while self._chunks and self._chunks[0].source == source and (not taken or max_bytes > 0) and self.oldest <= until:
            part, max_bytes = self._take_from(self._chunks[0], max_bytes, until)
            taken += part
        self.taken_at = self._clock.steady_s()
        return source, taken

    def _take_from(self, chunk: Chunk, max_bytes: int, until: float) -> tuple[list[Row], int]:
        """(rows, how many of *max_bytes* they leave)."""
        part: list[Row] = []
        while chunk.rows and (not part or max_bytes > 0) and (moment := self._moment(chunk.rows[0])) <= until:
            part.append(chunk.rows.popleft())
            self.reached = moment
            max_bytes -= unpacked_bytes(part[-1][1])
        seen = None if chunk.seen is None else chunk.seen + len(part)
        self.taken = cursor_text(part[-1][0].decode(), seen, chunk.run, part[-1][1])
        self.bytes -= sum(len(payload) for _, payload in part)
        self.waiting -= len(part)
        self._chunks.popleft()
        if chunk.rows:
            self._chunks.appendleft(chunk._replace(seen=seen))
        return part, max_bytes

    def _moment(self, row: Row) -> int:
        """Time of a row in ms: that of its batch, but not later than its arrival. A bare frame has only its arrival."""
        id, payload = row
        arrival = id_ms(id)
        if not self._server_clock.is_time(arrival):
            arrival = self.reached
        return min(arrival, _TIME.unpack_from(payload, TIME_AT)[0]) if len(payload) >= HEADER.size else arrival
