"""Arrival times of entries, from their ids.

A client may give an entry any id, and behind a huge id the server counts on from there. An id that is not a time gets the
stamp of the id before it, plus the time that has passed since.
"""

from collections.abc import Iterable

from corec.common.clock import MACHINE, Clock
from corec.common.times import MS_FROM, MS_UPTO
from corec.streams.redis.keys import id_ms


def is_moment(ms: int) -> bool:
    """Whether the first number of an id can be ms since 1970."""
    return MS_FROM <= ms < MS_UPTO


def stamps_of(ids: Iterable[bytes], stand_in: int | None) -> list[int]:
    """The stamp (ms) of each of *ids*, which are neighbours in one stream.

    stand_in: the stamp for ids before the first that is a time. None takes every id as a time: so were turns folded whose
    records have no stand-in.
    """
    stamps = []
    for id in ids:
        ms = id_ms(id)
        if stand_in is not None:
            ms = stand_in = ms if is_moment(ms) else stand_in
        stamps.append(ms)
    return stamps


class StampClock:
    """The current time of one stream. Between entries it advances by the monotonic clock of this machine."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._stamp: int | None = None
        self._noted_at = 0.0

    def note(self, id: bytes) -> None:
        """Set the clock by an entry's id, if that is a time."""
        if is_moment(ms := id_ms(id)):
            self._stamp, self._noted_at = ms, self._clock.steady_s()

    def stand_in(self) -> int:
        """ms for an entry whose id is not a time. Before the first id that is one, it is this machine's clock."""
        if self._stamp is None:
            return self._clock.wall_ms()
        return self._stamp + round(1000 * (self._clock.steady_s() - self._noted_at))
