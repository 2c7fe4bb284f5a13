"""Whether streams are below `redis_config.max_mb`: who writes to them waits while one is not."""
from collections.abc import Iterable

from corec.common.clock import Clock
from corec.common.units import MB
from corec.streams.redis.link import RedisLink

#: Seconds for which a measured size holds.
SIZE_S = 0.1


class Room:
    """The sizes of streams on the server, measured again when they are SIZE_S old.  For one thread, that of *link*."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._clock = clock
        self._link, self._bound = link, link.server.max_mb * MB
        self._sizes: dict[str, tuple[float, int]] = {}

    def lacking(self, streams: Iterable[str]) -> str:
        """What is said of the first stream that is at its bound; "" where all have room."""
        for stream in streams:
            size = self._size_of(stream)
            if size > self._bound:
                return f"{stream} takes {size // MB} MB, redis_config.max_mb allows {self._bound // MB} MB: no node reads as fast"
        return ""

    def _size_of(self, stream: str) -> int:
        asked, size = self._sizes.get(stream, (float("-inf"), 0))
        if self._clock.steady_s() - asked > SIZE_S:
            size = self._link.client(stream).memory_usage(stream, samples=8) or 0
            self._sizes[stream] = self._clock.steady_s(), size
        return size
