"""`nucleus.redis_client` of an embedded node: the stream commands of redis.asyncio, over the node's own outbox.

An added entry becomes durable with the next commit, within half a second; an urgent one commits at once.  Reads see committed
entries only.  Any other command raises a PluginError that names the setting for a real server.
"""
import itertools
import threading
from typing import TYPE_CHECKING, Any

from corec.errors import PluginError
from corec.pipeline.plugin_entries import OWN_PREFIX, unpack_entry
from corec.plugin_api.stream_writer import StreamWriter, as_bytes, as_entry, as_text, paced
from corec.streams.redis.keys import FIELD

if TYPE_CHECKING:
    from corec.pipeline.turns import Pipeline

#: Read positions in streams that are remembered, so that the next `xread` need not begin at the oldest entry.
MOST_POSITIONS = 256
STREAM_COMMANDS = "xadd, xlen, xrange, xread, xtrim, xdel"
HINT = "embedded nodes have streams only; name a server in `redis_config` for the rest of Redis"

Entry = tuple[bytes, dict[bytes, bytes]]


class EmbeddedRedis:
    """xadd, xlen, xrange, xread, xtrim and xdel with the parameters and types of redis.asyncio."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline_of = pipeline  # a function: a node that recovers gets a new pipeline
        self._lock = threading.Lock()
        self._read_positions: dict[tuple[str, str], int] = {}   # (stream, id that `xread` gave last) -> its number in the outbox
        self.corec_put_out = StreamWriter(pipeline).add

    @property
    def _pipeline(self) -> "Pipeline":
        return self._pipeline_of()

    async def xadd(self, name: Any, fields: dict[Any, Any], id: Any = "*", maxlen: int | None = None, approximate: bool = True,
                   **options: Any) -> bytes | None:
        """Add an entry; returns its id, or None after a pause where its plugin sends more than it may."""
        return await paced(self.corec_put_out(name, as_entry(fields, id), bool(options.get("urgent"))))

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
        found = [[as_bytes(name), self._behind(as_text(name), as_text(after), count)] for name, after in streams.items()]
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

    def _entries(self, name: Any) -> list[Entry]:
        stream = as_text(name)
        return [_entry(stream, row) for row in self._pipeline.read_out(stream)]

    def _behind(self, stream: str, after: str, count: int | None) -> list[Entry]:
        """Entries behind the id *after*.  Where `xread` gave that id, older entries are not read again."""
        rows = self._pipeline.read_out(stream, self._read_positions.get((stream, after), 0))
        numbered = ((row[0], _entry(stream, row)) for row in rows)
        low = _bound(after, (2**63, 2**63))
        newer = list(itertools.islice((pair for pair in numbered if _pair(pair[1][0]) > low), count))
        if newer:
            self._remember((stream, as_text(newer[-1][1][0])), newer[-1][0])
        return [entry for _, entry in newer]

    def _remember(self, position: tuple[str, str], number: int) -> None:
        with self._lock:
            self._read_positions.pop(position, None)   # the newest is last
            self._read_positions[position] = number
            if len(self._read_positions) > MOST_POSITIONS:
                del self._read_positions[next(iter(self._read_positions))]


def _entry(stream: str, row: tuple[int, int, bytes]) -> Entry:
    number, moment, blob = row
    if stream.startswith(OWN_PREFIX):
        return b"%d-%d" % (moment, number), {FIELD: blob}
    return unpack_entry(blob)


def _pair(number: Any) -> tuple[int, int]:
    first, _, second = as_text(number).partition("-")
    return int(first), int(second or 0)


def _bound(value: Any, newest: tuple[int, int]) -> tuple[int, int]:
    text = as_text(value)
    return newest if text in ("-", "+", "$") else _pair(text)
