"""A Redis stream with the turns that workers commit, so that plugins and the live status of nodes see the whole fleet.

The stream is bounded: a reader that is too slow misses the oldest turns.  The database has all of them.
"""
import logging
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from corec._core import dtypes
from corec.common.clock import MACHINE, Clock
from corec.common.retrying_thread import RetryingThread
from corec.config.servers import RedisServer
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, ServerError
from corec.pipeline.recent_rows import WorkerTurn
from corec.streams.redis.link import Connect, RedisLink

log = logging.getLogger("corec.workers.news")

#: Turns kept: a few seconds of a busy fleet.
TURNS = 2_000
BLOCK_MS = 500


def news_stream(fleet: str) -> str:
    """The name of a fleet's stream of news."""
    return f"corec:{fleet}:news"


class NewsWriter:
    """Adds the turns of one shard to the stream."""

    def __init__(self, link: RedisLink, fleet: str) -> None:
        self._link, self._stream = link, news_stream(fleet)
        self._provisional: Outcome | None = None   # a turn whose alerts were sent before its commit

    def committed(self, outcome: Outcome) -> None:
        """Send a committed turn, unless it is empty.  It is lost where the server is away."""
        if len(outcome.aggregates) or len(outcome.alerts):
            self._send(WorkerTurn(outcome.aggregates, outcome.alerts, alerted_before=outcome is self._provisional))
        self._provisional = None

    def provisional(self, outcome: Outcome) -> None:
        """Send the alerts of a turn that the store does not take for now."""
        if len(outcome.alerts) and self._send(WorkerTurn(outcome.aggregates[:0], outcome.alerts, provisional=True)):
            self._provisional = outcome

    def _send(self, turn: WorkerTurn) -> bool:
        fields = {b"rows": turn.rows.tobytes(), b"alerts": turn.alerts.tobytes(), b"provisional": int(turn.provisional),
                  b"before": int(turn.alerted_before)}  # fmt: skip
        with suppress(ServerError), self._link.errors("take news"):
            self._link.client(self._stream).xadd(self._stream, fields, maxlen=TURNS, approximate=True)
            return True
        return False


class NewsReader(RetryingThread):
    """A thread of a node that passes on each turn that is added from now on."""

    again_s, join_s = 0.5, 2.0

    def __init__(self, server: RedisServer, fleet: str, on_turn: Callable[[WorkerTurn], None], *, clock: Clock = MACHINE,
                 connect: Connect | None = None) -> None:  # fmt: skip
        """on_turn: called in this thread with each turn."""
        super().__init__("fleet-news", f"FleetNews-{fleet}", log, clock=clock)
        self._link, self._stream, self._on_turn = RedisLink(server, connect=connect), news_stream(fleet), on_turn
        self._last = "$"

    def _pass(self) -> None:
        with self._link.errors("tell news"):
            self._listen()

    def _failed(self, error: CoreCError) -> None:
        """Log nothing: the coordinator logs that the server is away."""

    def _end(self) -> None:
        self._link.close()

    def _listen(self) -> None:
        client = self._link.client(self._stream)
        if self._last == "$":       # with a fixed position nothing is missed between two reads
            newest = client.xrevrange(self._stream, count=1)
            self._last = newest[0][0].decode() if newest else "0-0"
        for _, entries in client.xread({self._stream: self._last}, block=BLOCK_MS) or ():
            for number, fields in entries:
                self._last = number.decode()
                self._on_turn(_turn_of(fields))


def _turn_of(fields: dict[bytes, bytes]) -> WorkerTurn:
    rows, alerts = np.frombuffer(fields[b"rows"], dtypes.AGGREGATE), np.frombuffer(fields[b"alerts"], dtypes.ALERT)
    return WorkerTurn(rows, alerts, fields.get(b"provisional") == b"1", fields.get(b"before") == b"1")
