"""When entries came, by their ids: of an id that is no time, the stamp before it and what has passed since.

Anybody may give an entry an id, in seconds or of nobody knows what; behind a huge one the server itself counts on from there.
"""

import time
from collections.abc import Iterable

from corec.common.times import MS_FROM, MS_UPTO, wall_ms
from corec.streams.redis.keys import id_ms


def is_moment(ms: int) -> bool:
    """Whether the first part of an id can be ms since 1970."""
    return MS_FROM <= ms < MS_UPTO


def stamps_of(ids: Iterable[bytes], stand_in: int | None) -> list[int]:
    """The stamp of each of *ids*, neighbours in one stream, in ms.

    stand_in: for ids before the first that is a time; None takes every id as a time, as turns were folded whose records have none.
    """
    stamps = []
    for id in ids:
        ms = id_ms(id)
        if stand_in is not None:
            ms = stand_in = ms if is_moment(ms) else stand_in
        stamps.append(ms)
    return stamps


class StampClock:
    """Time as one stream has it; it goes on by this machine's steady clock."""

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._noted_at = 0.0

    def note(self, id: bytes) -> None:
        """An entry of the stream."""
        if is_moment(ms := id_ms(id)):
            self._stamp, self._noted_at = ms, time.monotonic()

    def stand_in(self) -> int:
        """ms, for an entry whose id is no time; this machine's clock before the first that is one."""
        if self._stamp is None:
            return wall_ms()
        return self._stamp + round(1000 * (time.monotonic() - self._noted_at))
