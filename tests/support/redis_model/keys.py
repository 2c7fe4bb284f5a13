"""The keys of a model server, and what they hold."""
from collections.abc import Callable
from typing import Any

from tests.support.redis_model.stream import Stream

#: The answer of a blocking command that finds nothing yet.
WAIT = object()
#: Bytes that an entry takes beside its fields, about.
OVERHEAD = 24


class Refused(Exception):
    """An error that the server answers."""


class Content:
    """Keys and their values: bytes, dict (hash), set, list or Stream; and until when they are kept (ms by the server's clock)."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}


class Keys:
    """Keys that expire, and a version of each, by which WATCH sees changes."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.content = Content()
        self._versions: dict[bytes, int] = {}
        self._flushes = 0

    def version(self, key: bytes) -> int:
        return self._versions.get(key, 0)

    def has_expired(self, key: bytes) -> bool:
        return key in self.content.values and self.content.expires.get(key, self.now_ms() + 1) <= self.now_ms()

    def get(self, key: bytes, kind: type | None = None) -> Any:
        """The value; None where there is none.  kind: the type that it must have."""
        if self.has_expired(key):
            self._remove(key)
        value = self.content.values.get(key)
        if value is not None and kind is not None and not isinstance(value, kind):
            raise Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def put(self, key: bytes, value: Any, *, keeps: bool = True) -> None:
        """Set a value; an empty collection is deleted.  keeps: whether it goes on to expire as before."""
        if not keeps:
            self.content.expires.pop(key, None)
        if isinstance(value, (dict, set, list)) and not value:
            self._remove(key)
        else:
            self.content.values[key] = value
        self.touch(key)

    def delete(self, key: bytes) -> bool:
        if self.get(key) is None:
            return False
        self._remove(key)
        self.touch(key)
        return True

    def touch(self, key: bytes) -> None:
        self._versions[key] = self._versions.get(key, 0) + 1

    def flush(self) -> None:
        for key in list(self.content.values):
            self.delete(key)

    @property
    def memory(self) -> int:
        return sum(size_of(value) for value in self.content.values.values())

    def _remove(self, key: bytes) -> None:
        self.content.values.pop(key, None)
        self.content.expires.pop(key, None)


def size_of(value: Any) -> int:
    if isinstance(value, Stream):
        return value.size + OVERHEAD * len(value)
    return len(value)


def whole(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise Refused("ERR value is not an integer or out of range") from None
