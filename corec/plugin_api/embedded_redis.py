"""`nucleus.redis_client` of an embedded node: the stream commands of redis.asyncio, over the node's own outbox.

What is added becomes durable with the next commit, within half a second; a critical entry makes that commit
come at once.  Reading gives what is committed.  Anything but streams names the setting that brings a real server.
"""
import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from corec.common.times import wall_ms
from corec.errors import PluginError
from corec.plugin_api.metering import charge

if TYPE_CHECKING:
    from corec.pipeline.turns import Pipeline

#: Entries that may wait for a commit: a plugin that adds more is told so.
MOST_WAITING = 10_000
#: Streams of the node itself hold frames; those of plugins hold fields.
OWN_PREFIX = "corec:"
#: Places in streams that are remembered, so that who reads on does not read all again.
MOST_PLACES = 256
#: Seconds that an entry above its plugin's bound costs it: who floods waits, and not the node.
REFUSED_S = 0.01
STREAM_COMMANDS = "xadd, xlen, xrange, xread, xtrim, xdel"
HINT = "embedded nodes have streams only; name a server in `redis_config` for the rest of Redis"

Entry = tuple[bytes, dict[bytes, bytes]]


class EmbeddedRedis:
    """xadd, xlen, xrange, xread, xtrim and xdel, as redis.asyncio has them and with its types."""

    takes_urgent = True  # xadd(..., urgent=True) commits at once

    def __init__(self, pipeline: Any) -> None:
        self._pipeline_of = pipeline  # a function: a node that recovers gets a new pipeline
        self._lock = threading.Lock()
        self._last = (0, 0)
        self._places: dict[tuple[str, str], int] = {}   # (stream, id that `xread` gave last) -> its number in the outbox
        self.bytes_in = 0

    @property
    def _pipeline(self) -> "Pipeline":
        return self._pipeline_of()

    async def xadd(self, name: Any, fields: dict[Any, Any], id: Any = "*", maxlen: int | None = None, approximate: bool = True,
                   **options: Any) -> bytes | None:
        """Add an entry; its id, or None, after a moment, where its plugin sends more than it may."""
        return await paced(self.add(name, as_entry(fields, id), urgent=bool(options.get("urgent"))))

    def add(self, name: Any, entry: dict[bytes, bytes], *, urgent: bool = False) -> bytes | None:
        """The same without awaiting, from any thread."""
        number = self._next_id()
        blob = msgspec.msgpack.encode([number, entry])
        if not charge(len(blob)):
            return None
        self.bytes_in += len(blob)
        if self._pipeline.waiting_out >= MOST_WAITING:
            raise PluginError(f"{MOST_WAITING} stream entries wait for a commit already", hint="send fewer, or several values in one entry")
        self._pipeline.put_out(_text(name), blob, urgent=urgent)
        return number

    async def xlen(self, name: Any) -> int:
        """How many entries are committed."""
        return len(self._entries(name))

    async def xrange(self, name: Any, min: Any = "-", max: Any = "+", count: int | None = None) -> list[Entry]:
        """Entries with ids from *min* to *max*, oldest first."""
        low, high = _bound(min, (0, 0)), _bound(max, (2**63, 2**63))
        chosen = (entry for entry in self._entries(name) if low <= _pair(entry[0]) <= high)
        return list(itertools.islice(chosen, count))

    async def xread(self, streams: dict[Any, Any], count: int | None = None, block: int | None = None) -> list[list[Any]]:
        """[[stream, entries behind the id given for it], ...] of the streams that have any; never blocks."""
        found = [[_bytes(name), self._behind(_text(name), _text(after), count)] for name, after in streams.items()]
        return [part for part in found if part[1]]

    async def xtrim(self, name: Any, maxlen: int | None = None, approximate: bool = True, **options: Any) -> int:
        """Nothing to do: streams are bounded by `mensajes_mb`, oldest first."""
        return 0

    async def xdel(self, name: Any, *ids: Any) -> int:
        """Entries are part of committed turns and stay until the bound drops them."""
        return 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise PluginError(f"expected one of {STREAM_COMMANDS}, got redis_client.{name}", hint=HINT)

    def _next_id(self) -> bytes:
        with self._lock:
            now = wall_ms()
            self._last = (now, 0) if now > self._last[0] else (self._last[0], self._last[1] + 1)
            return b"%d-%d" % self._last

    def _entries(self, name: Any) -> list[Entry]:
        stream = _text(name)
        return [_entry(stream, row) for row in self._pipeline.read_out(stream)]

    def _behind(self, stream: str, after: str, count: int | None) -> list[Entry]:
        """Entries behind the id *after*; from where it was given on, nothing before it is read again."""
        rows = self._pipeline.read_out(stream, self._places.get((stream, after), 0))
        numbered = ((row[0], _entry(stream, row)) for row in rows)
        low = _bound(after, (2**63, 2**63))
        newer = list(itertools.islice((pair for pair in numbered if _pair(pair[1][0]) > low), count))
        if newer:
            self._remember((stream, _text(newer[-1][1][0])), newer[-1][0])
        return [entry for _, entry in newer]

    def _remember(self, place: tuple[str, str], number: int) -> None:
        with self._lock:
            self._places.pop(place, None)   # the newest stand last
            self._places[place] = number
            if len(self._places) > MOST_PLACES:
                del self._places[next(iter(self._places))]


def _entry(stream: str, row: tuple[int, int, bytes]) -> Entry:
    number, moment, blob = row
    if stream.startswith(OWN_PREFIX):
        return b"%d-%d" % (moment, number), {b"m": blob}
    return tuple(msgspec.msgpack.decode(blob))


def put_out(put: Callable[[str, bytes, bool], None], stream: str, fields: dict[Any, Any], urgent: bool) -> bytes | None:
    """Hand an entry to a node's outbox; the number that it has there, or None where its plugin sends more than it may."""
    number = b"%d-%d" % divmod(time.time_ns(), 1_000_000)
    blob = msgspec.msgpack.encode([number, as_entry(fields)])
    if not charge(len(blob)):
        return None
    put(stream, blob, urgent)
    return number


async def paced(number: bytes | None) -> bytes | None:
    """What adding an entry gave, once everybody else was let through; a plugin above its bound waits a little longer."""
    await asyncio.sleep(0 if number else REFUSED_S)
    return number


def as_entry(fields: dict[Any, Any], id: Any = "*") -> dict[bytes, bytes]:
    """Fields as an entry has them; PluginError where they cannot be one."""
    if id not in ("*", b"*"):
        raise PluginError(f"expected the id '*', got {id!r}", hint="ids are the node's, so that entries keep their order")
    if not fields:
        raise PluginError("expected at least one field for a stream entry, got none")
    return {_bytes(key): _bytes(value) for key, value in fields.items()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value).encode()
    raise PluginError(f"expected bytes, text or a number in a stream entry, got {type(value).__name__}")


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _pair(number: Any) -> tuple[int, int]:
    first, _, second = _text(number).partition("-")
    return int(first), int(second or 0)


def _bound(value: Any, newest: tuple[int, int]) -> tuple[int, int]:
    text = _text(value)
    return newest if text in ("-", "+", "$") else _pair(text)
