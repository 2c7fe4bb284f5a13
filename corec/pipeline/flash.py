"""Keeps the bytes that this process writes to disk in a day within a budget, by making commits and syncs rarer."""
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corec.common.units import DAY_S, MB

log = logging.getLogger("corec.node.flash")

#: Seconds between two looks at the written bytes.
LOOK_EVERY_S = 10.0
#: Largest factor for the intervals of commits and syncs: a turn of 0.5 s then takes 30 s, a group of 10 ms 0.6 s.
MOST_INTERVAL_FACTOR = 60.0
#: At each look the factor falls to this share of itself at the least.
EASE = 0.5
IO = Path("/proc/self/io")


def written_bytes() -> int | None:
    """Bytes that the kernel counts as written to disk by this process, in whole pages; None where it does not count."""
    try:
        lines = IO.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("write_bytes:")), None)


class FlashBudget:
    """Limits the writes of each day (UTC) to *cap_mb*; the day of the start gets its remaining share.  0: no limit.

    One thread calls `look`; others may read `interval_factor`, by which the intervals of commits and syncs are multiplied.
    """

    def __init__(self, cap_mb: int, instance: str, *, now: Callable[[], float] = time.time,
                 written: Callable[[], int | None] = written_bytes) -> None:  # fmt: skip
        self._cap, self._instance, self._now, self._read = cap_mb * MB, instance, now, written
        self.interval_factor = 1.0
        self._warned = False
        self._begin_day(now(), written())
        self._seen = (now(), self._first)
        if cap_mb and self._first is None:
            log.warning("[FlashBudget-%s] max_flash_mb_per_day holds nothing back: this system does not tell what is written", instance)

    def look(self) -> None:
        """Measure the written bytes every LOOK_EVERY_S and adapt `interval_factor`."""
        now, (then, before) = self._now(), self._seen
        if before is None or 0 <= now - then < LOOK_EVERY_S or (not self._cap and now // DAY_S == self._day):
            return
        total = self._read()
        if now // DAY_S != self._day:
            self._begin_day(now, total)
        self._seen = (now, total)
        if self._cap and total is not None and now > then:
            self._pace((total - before) / (now - then), now, total)

    def status(self) -> dict[str, Any] | None:
        """Figures of this day (UTC) since the start of the node; None where written bytes are not counted."""
        total = self._read()
        if total is None or self._first is None:
            return None
        return {"written_bytes": total - self._first, "since": int(self._since * 1000), "cap_bytes_per_day": self._cap,
                "allowed_bytes": round(self._allowed), "stretch": self.interval_factor}  # fmt: skip

    def _begin_day(self, now: float, total: int | None) -> None:
        self._day, self._since, self._first = now // DAY_S, now, total
        self._ends = (self._day + 1) * DAY_S
        self._allowed = self._cap * (self._ends - now) / DAY_S
        self._warned = False

    def _pace(self, rate: float, now: float, total: int) -> None:
        """Raise the factor in proportion to *rate* (bytes/s) above what is left of the day; let it fall by EASE at most."""
        left = self._allowed - (total - self._first)
        may = left / max(self._ends - now, LOOK_EVERY_S)
        wanted = self.interval_factor * rate / may if may > 0 else MOST_INTERVAL_FACTOR
        self.interval_factor = min(MOST_INTERVAL_FACTOR, max(1.0, wanted, self.interval_factor * EASE))
        if left < 0 and not self._warned:
            self._warned = True
            log.warning("[FlashBudget-%s] this day's share of max_flash_mb_per_day, %.0f MB, is written; nothing is refused, commits stay"
                        " as rare as they get until midnight UTC", self._instance, self._allowed / MB)  # fmt: skip
