"""Names of the Redis keys, and ids of stream entries."""

import re
from collections.abc import Iterable

#: Channels with a stream of their own, which is read first: security, AI, alerts.
CRITICAL_CHANNELS = (2, 3, 5)
#: Field of an entry that holds the envelope or the frame.
FIELD = b"m"
BARE_STREAM = "corec:in"
BEGINNING = "0-0"
_ID = re.compile(rb"\d{1,20}-\d{1,20}")


def shard_key(shard: int, name: str) -> str:
    """A key of a shard. The tag in braces keeps all keys of a shard in one slot of a cluster."""
    return f"{{s{shard:02d}}}:{name}"


def fast_stream(shard: int) -> str:
    """Stream for batches of critical channels."""
    return shard_key(shard, "fast")


def normal_stream(shard: int) -> str:
    """Stream for batches of all other channels."""
    return shard_key(shard, "in")


def committed_key(shard: int) -> str:
    """A hash: stream -> id of the newest entry that the shard's owner has committed, and `run` -> run id of the server."""
    return shard_key(shard, "committed")


def owner_key(shard: int) -> str:
    """Which node reads the streams of a shard; it expires unless that node renews it."""
    return shard_key(shard, "owner")


def shard_of(key: str) -> str:
    """The tag "{sNN}" of a stream, which all keys of its shard share."""
    return key.partition(":")[0]


def life_key(shard: str) -> str:
    """A random value beside the streams of *shard* ("{s00}"), set by senders where it is missing.

    A changed value means that all keys of the shard were deleted.
    """
    return f"{shard}:life"


def mark_of(value: bytes | None) -> str:
    """An entry's id that stands in a key of CoreC's, where others may write too: BEGINNING for what is none."""
    return value.decode() if value and _ID.fullmatch(value) else BEGINNING


def id_pair(id: str | bytes) -> tuple[int, int]:
    """An entry's id as two numbers, which sort as the server sorts ids."""
    text = id.decode() if isinstance(id, bytes) else id
    first, _, second = text.partition("-")
    return int(first), int(second or 0)


def id_ms(id: bytes) -> int:
    """The first number of an id: ms since 1970, if the server gave the id."""
    return int(id.partition(b"-")[0])


def payload_of(fields: Iterable[bytes] | None) -> bytes:
    """The value of field `m` in a flat list of fields and values. b"" where it is missing; the engine counts that as malformed."""
    flat = list(fields or ())
    return flat[flat.index(FIELD) + 1] if FIELD in flat[::2] else b""
