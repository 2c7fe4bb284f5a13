"""Names and ids of what CoreC has on Redis."""

from collections.abc import Iterable

#: Channels that travel on streams of their own, read first: security, AI, alerts.
CRITICAL_CHANNELS = (2, 3, 5)
#: Field of an entry that holds the envelope or the frame.
FIELD = b"m"
BARE_STREAM = "corec:in"
BEGINNING = "0-0"


def shard_key(shard: int, name: str) -> str:
    """A key of a shard; the tag in braces keeps all of them in one slot of a cluster."""
    return f"{{s{shard:02d}}}:{name}"


def fast_stream(shard: int) -> str:
    """Batches of critical channels."""
    return shard_key(shard, "fast")


def normal_stream(shard: int) -> str:
    """All other batches."""
    return shard_key(shard, "in")


def committed_key(shard: int) -> str:
    """A hash: stream -> id of the newest entry whose readings the shard's owner has committed, and `run` of the server."""
    return shard_key(shard, "committed")


def life_key(shard: str) -> str:
    """A key beside the streams of *shard* ("{s00}") that senders set where there is none: another value, and all was deleted."""
    return f"{shard}:life"


def id_pair(id: str | bytes) -> tuple[int, int]:
    """An entry's id as numbers, which compare as the server compares them."""
    text = id.decode() if isinstance(id, bytes) else id
    first, _, second = text.partition("-")
    return int(first), int(second or 0)


def id_ms(id: bytes) -> int:
    """The time in an entry's id."""
    return int(id.partition(b"-")[0])


def payload_of(fields: Iterable[bytes] | None) -> bytes:
    """What an entry carries in its field `m`; empty where it has none, which the engine counts as malformed."""
    flat = list(fields or ())
    return flat[flat.index(FIELD) + 1] if FIELD in flat[::2] else b""
