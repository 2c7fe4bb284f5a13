"""`nucleus.suscribir(stream, handler)`: calls a function of a plugin or a block with each entry of a stream.

    def handler(entry): ...                     plain or async; entry.stream, entry.id, entry.fields, entry.frames
    handle = nucleus.suscribir("corec:alerts", handler)
    handle.cancel()

Inputs are published when the node folds them, outputs once their turn is committed.  Alerts of a turn that the store does not
take for now are published at once, with a field `provisional`.  Each subscriber has a queue of its own; where it is full, the
oldest entries are dropped and counted.

To publish, check `wants(stream)` and call `publish` only where it is true; both may be called from any thread.
"""
import asyncio
import inspect
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from corec._core import dtypes
from corec._core.wire import unpack_envelope
from corec.engine.outcome import Outcome
from corec.errors import DamagedBatch, PluginError
from corec.pipeline.plugin_entries import unpack_entry
from corec.plugin_api.failures import WHATEVER, describe_error
from corec.plugin_api.metering import CURRENT, Meter, Timed
from corec.storage.outbox import ALERT_STREAM, message_stream
from corec.storage.outbox import entries as output_entries
from corec.streams.redis.keys import BARE_STREAM, FIELD

log = logging.getLogger("Subscriptions")

#: Entries that may wait for one subscriber; beyond that the oldest are dropped.
MOST_WAITING = 1_000
#: Seconds that one call of an async handler may take.
CALL_LIMIT_S = 10.0
#: Seconds between two log lines about a handler that fails.
LOG_EVERY_S = 60.0
_SHARD = re.compile(r"\{s\d+\}:(in|fast)")


class StreamEntry(NamedTuple):
    """One entry of a stream, with redis-py's types."""

    stream: str
    id: bytes
    fields: dict[bytes, bytes]

    @property
    def frames(self) -> bytes:
        """The field `m`, b"" without one: frames of 10 bytes in CoreC's own streams."""
        return self.fields.get(FIELD, b"")


class Subscription:
    """The handle of one subscriber; `cancel` ends it."""

    def __init__(self, stream: str, handler: Callable[[StreamEntry], Any], meter: Meter | None) -> None:
        self.stream, self.meter = stream, meter
        self.delivered = self.dropped = self.failures = 0
        self.active = True
        self._handler = handler
        self._waiting: deque[StreamEntry] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._logged_at = -LOG_EVERY_S

    def cancel(self) -> None:
        """Deliver nothing more; from any thread."""
        self.active = False
        self._waiting.clear()
        self._wake()

    def put(self, entry: StreamEntry) -> None:
        """Queue an entry; a full queue drops its oldest.  From any thread."""
        if not self.active:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(entry)
        if len(self._waiting) == 1 or self.dropped:
            self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._arrived.set)

    async def run(self) -> None:
        """Call the handler with every entry.  Run in a newer loop, it ends the run in an abandoned one."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop, self._arrived = loop, asyncio.Event()
        CURRENT.set(self.meter)
        while self.active and self._loop is loop:
            while self._waiting and self.active:
                await self._deliver(self._waiting.popleft())
            if self.active:
                await self._arrived.wait()
                self._arrived.clear()

    async def _deliver(self, entry: StreamEntry) -> None:
        if self.meter:
            self.meter.took(sum(map(len, entry.fields.values())))
        try:
            await Timed(lambda: self._called(entry), self.meter or Meter("program"))
            self.delivered += 1
        except TimeoutError:
            self._failed(f"took more than {CALL_LIMIT_S:g} s")
        except WHATEVER as error:  # a plugin's code may raise
            self._failed(describe_error(error))

    async def _called(self, entry: StreamEntry) -> None:
        result = self._handler(entry)
        if inspect.isawaitable(result):
            await asyncio.wait_for(result, CALL_LIMIT_S)

    def _failed(self, problem: str) -> None:
        self.failures += 1
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = time.monotonic()
            owner = f"plugin {self.meter.name}" if self.meter else "the program"
            log.error("[Subscriptions] the handler of %s for %s failed, %d times so far: %s", owner, self.stream, self.failures, problem)

    def status(self) -> dict[str, Any]:
        """Figures for the node's status."""
        return {"stream": self.stream, "by": self.meter.name if self.meter else "program", "delivered": self.delivered,
                "dropped": self.dropped, "failures": self.failures, "waiting": len(self._waiting)}  # fmt: skip


class Subscriptions:
    """All subscribers of a node, by stream; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_stream: dict[str, tuple[Subscription, ...]] = {}
        self._number = 0
        self._provisional: Outcome | None = None  # a turn whose alerts were published before its commit

    def add(self, stream: Any, handler: Any, kind: type[Subscription] = Subscription) -> Subscription:
        """Subscribe *handler*; PluginError where the stream is not one to subscribe to, or *handler* cannot be called."""
        check_stream(stream)
        if not callable(handler):
            raise PluginError(f"expected a handler that can be called with an entry, got {handler!r:.60}",
                              hint="def handler(entry): ... or async def handler(entry): ...")  # fmt: skip
        found = kind(stream, handler, CURRENT.get())
        with self._lock:
            living = tuple(each for each in self._by_stream.get(stream, ()) if each.active)
            self._by_stream = {**self._by_stream, stream: (*living, found)}
        return found

    def all(self) -> list[Subscription]:
        """Those that are not cancelled."""
        return [each for found in self._by_stream.values() for each in found if each.active]

    def cancel_of(self, folder: str) -> None:
        """Cancel all subscriptions of the plugin of *folder*."""
        for each in self.all():
            if each.meter and each.meter.name == folder:
                each.cancel()

    def wants(self, stream: str) -> bool:
        """Whether *stream* has a subscriber."""
        return any(each.active for each in self._by_stream.get(stream, ()))

    def publish(self, stream: str, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        """Queue entries (id, fields) for all subscribers of *stream*."""
        for number, fields in entries:
            for each in self._by_stream.get(stream, ()):
                each.put(StreamEntry(stream, number, fields))

    # --- what the pipeline calls ---------------------------------------------------------------

    def folded(self, batches: Iterable[Any]) -> None:
        """Publish batches of the journal (offset, arrival, envelope) that were folded."""
        if self.wants(BARE_STREAM):
            self.publish(BARE_STREAM, (entry for batch in batches for entry in _opened(batch)))

    def committed(self, outcome: Outcome, sent: list[tuple[str, int, bytes]]) -> None:
        """Publish the outputs of a durable turn, and the entries that plugins sent with it."""
        if not self._by_stream:
            return
        messages = outcome.messages[self._listened(outcome.messages["canal"])]
        alerts = outcome.alerts if outcome is not self._provisional and self.wants(ALERT_STREAM) else None
        for _, stream, moment, frames in output_entries(0, messages, alerts):
            self.publish(stream, [(self._id(moment), {FIELD: frames})])
        for stream, _, blob in sent:
            if self.wants(stream):
                self.publish(stream, [unpack_entry(blob)])

    def provisional(self, outcome: Outcome) -> None:
        """Publish the alerts of a turn that waits for the store; `committed` then leaves them out."""
        if not self.wants(ALERT_STREAM):
            return
        self._provisional = outcome
        self.alerted(outcome.alerts, provisional=True)

    def alerted(self, alerts: np.ndarray, *, provisional: bool) -> None:
        """Publish alerts (dtypes.ALERT) of a turn of the node or of a worker."""
        if not self.wants(ALERT_STREAM):
            return
        for _, stream, moment, frames in output_entries(0, np.empty(0, dtypes.MESSAGE), alerts):
            self.publish(stream, [(self._id(moment), {FIELD: frames} | ({b"provisional": b"1"} if provisional else {}))])

    def _listened(self, canales: np.ndarray) -> np.ndarray:
        wanted = [canal for canal in np.unique(canales).tolist() if self.wants(message_stream(canal))]
        return np.isin(canales, wanted)

    def _id(self, moment: int) -> bytes:
        self._number += 1
        return b"%d-%d" % (moment, self._number)


def check_stream(stream: Any) -> None:
    """PluginError unless *stream* names a stream that can be subscribed to."""
    if not isinstance(stream, str) or not stream:
        raise PluginError(f"expected the name of a stream, got {stream!r}",
                          hint="corec:in, corec:messages:<canal>, corec:alerts, or one that a plugin names")  # fmt: skip
    if _SHARD.fullmatch(stream):
        raise PluginError(f"expected a stream that can be subscribed to, got {stream!r}, the input of one shard",
                          hint="subscribe to corec:in: it has the readings of all shards of this node")  # fmt: skip


def _opened(batch: Any) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
    try:
        envelope = unpack_envelope(batch.payload)
    except DamagedBatch:
        return
    yield b"%d-%d" % (batch.arrival, batch.offset), {FIELD: bytes(envelope.frames), b"t": b"%d" % envelope.time}
