"""Arrival times of entries, from their ids.

A client may give an entry any id, and behind a huge id the server counts on from there.  So does a server whose clock was ahead and
was put back.  An id that cannot be a time, or is ahead of the server's own clock, gets the stamp of the id before it.
"""
from collections.abc import Iterable, Mapping
from typing import Any

from corec.common.clock import MACHINE, Clock
from corec.common.times import MS_FROM, MS_UPTO
from corec.engine.open_turn import STEP_MS
from corec.streams.redis.keys import id_ms

#: Ids ahead of the server's clock have it looked at again, but only so many ms after the last look.
AGAIN_MS = 100


def stamps_of(ids: Iterable[bytes], stand_in: int | None, upto: float = MS_UPTO) -> list[int]:
    """The stamp (ms) of each of *ids*, which are neighbours in one stream.

    stand_in: the stamp for ids before the first that is a time.  None takes every id as a time: so were turns folded whose records have
    no stand-in.
    upto: an id from this ms on is no time.
    """
    stamps = []
    for id in ids:
        ms = id_ms(id)
        if stand_in is not None:
            ms = stand_in = ms if MS_FROM <= ms < upto else stand_in
        stamps.append(ms)
    return stamps


class ServerClock:
    """The clock of a server, which goes on by this machine's between two looks at it.  One thread notes, any may ask."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._ahead: int | None = None  # ms of the server's clock before this machine's boot clock
        self._noted_at = 0
        #: `_ahead` as it was when the server's clock was last set; None: not known yet.
        self.anchor: int | None = None

    def look(self, client: Any) -> None:
        """Ask the server for its clock, by a client of redis-py."""
        self.note(client.info("server"))

    def note(self, info: Mapping[str, Any]) -> None:
        """*info*: what the server just answered to INFO."""
        self._noted_at = self._clock.boot_ms()
        ahead, before = info["server_time_usec"] // 1000 - self._noted_at, self._ahead
        self._ahead = ahead
        if before is None or abs(ahead - before) > STEP_MS:
            self.anchor = ahead

    def now(self) -> int | None:
        """ms; None before the first look."""
        return None if self._ahead is None else self._ahead + self._clock.boot_ms()

    @property
    def age_ms(self) -> int:
        """Milliseconds since the last look."""
        return self._clock.boot_ms() - self._noted_at

    def upto(self) -> float:
        """From this ms on an id is no time: the server's clock is behind it."""
        return MS_UPTO if self._ahead is None else min(self.now() + STEP_MS, MS_UPTO)

    def is_time(self, ms: int) -> bool:
        """Whether an id of *ms* can be a time by now."""
        return MS_FROM <= ms < self.upto()

    def is_doubtful(self, ms: int) -> bool:
        """Whether to look again before an entry of *ms* is judged: it is ahead of the clock, which may have been set."""
        return ms >= self.upto() and self.age_ms >= AGAIN_MS

    def stand_in(self) -> int:
        """ms for an entry that comes now and whose id is no time; by this machine's clock before the first look."""
        return self._clock.wall_ms() if self._ahead is None else self.now()
