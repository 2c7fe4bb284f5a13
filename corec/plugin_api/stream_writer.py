"""Puts entries that plugins add to streams into the next commit; there is no other way for them."""
import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corec.common.times import wall_ms
from corec.errors import PluginError
from corec.pipeline.plugin_entries import pack_entry
from corec.plugin_api.metering import charge

if TYPE_CHECKING:
    from corec.pipeline.turns import Pipeline

#: Entries that may wait for a commit; adding more raises a PluginError.
MOST_WAITING = 10_000
#: Pause in seconds for each entry above the plugin's bound, so that a plugin that sends too much slows itself only.
REFUSED_S = 0.01


class StreamWriter:
    """Numbers entries, charges them to their plugin and hands them to the pipeline; usable from any thread."""

    def __init__(self, pipeline: "Callable[[], Pipeline]") -> None:
        """pipeline: called each time, because a recovery replaces the pipeline."""
        self._pipeline = pipeline
        self._lock = threading.Lock()    # numbers reach the pipeline in their order
        self._last = (0, 0)

    def add(self, stream: Any, fields: dict[Any, Any], urgent: bool = False) -> bytes | None:
        """The id of the new entry, or None where its plugin sends more than it may.  urgent: commit at once."""
        name, entry = as_text(stream), as_entry(fields)
        with self._lock:
            number = self._next_number()
            blob = pack_entry(number, entry)
            if not charge(len(blob)):
                return None
            pipeline = self._pipeline()
            if pipeline.waiting_out >= MOST_WAITING:
                raise PluginError(f"{MOST_WAITING} stream entries wait for a commit already",
                                  hint="send fewer, or several values in one entry")  # fmt: skip
            pipeline.put_out(name, blob, urgent)
        return number

    def _next_number(self) -> bytes:
        now = wall_ms()
        self._last = (now, 0) if now > self._last[0] else (self._last[0], self._last[1] + 1)
        return b"%d-%d" % self._last


async def paced(number: bytes | None) -> bytes | None:
    """Return *number* after other tasks had their turn, or after REFUSED_S where it is None."""
    await asyncio.sleep(0 if number else REFUSED_S)
    return number


def as_entry(fields: dict[Any, Any], id: Any = "*") -> dict[bytes, bytes]:
    """Fields as bytes; PluginError where they cannot be an entry."""
    if id not in ("*", b"*"):
        raise PluginError(f"expected the id '*', got {id!r}", hint="ids are the node's, so that entries keep their order")
    if not fields:
        raise PluginError("expected at least one field for a stream entry, got none")
    return {as_bytes(key): as_bytes(value) for key, value in fields.items()}


def as_bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value).encode()
    raise PluginError(f"expected bytes, text or a number in a stream entry, got {type(value).__name__}")


def as_text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
