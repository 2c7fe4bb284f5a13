"""What must be in the store of a gateway, by what was handed in.  It knows nothing of the engine."""
from collections import Counter
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from tests.support.lives.sensors import DAY, LIMIT, MINUTE, WRONG

WINDOW = MINUTE
#: ms: what the gateway takes of readings that are ahead of its clock, and how exactly a life knows its clock.
AHEAD, TOLERANCE = 10_000, 3_000


def by_answer(tickets: list[tuple[Future, Any]]) -> tuple[list[tuple[Future, Any]], list[Any]]:
    """(tickets that are not answered yet, what the others handed in that was accepted); ticket: (future, what was handed in)."""
    waiting = [each for each in tickets if not each[0].done()]
    return waiting, [content for ticket, content in tickets if ticket.done() and ticket.exception() is None]


class Broken(AssertionError):
    """Something that must hold does not.  what: a name for it, the same for lives that fail alike."""

    def __init__(self, what: str, *details: object) -> None:
        super().__init__(f"{what}: {', '.join(map(str, details))}")
        self.what = what


class Batch:
    """Readings that were handed in together, and between which times (ms) the gateway's clocks were until it folded them."""

    def __init__(self, readings: list[tuple[int, int, float]], *clocks: int) -> None:
        """readings: (sensor, time, value)."""
        self.readings, self._first, self._last = readings, min(clocks), max(clocks)

    def clock_set(self, to: int) -> None:
        """The gateway's clock was set before it folded these."""
        self._first, self._last = min(self._first, to), max(self._last, to)

    def verdicts(self) -> list[tuple[int, int, float, bool, bool]]:
        """(sensor, time, value, whether it must count at the end, whether it counts at once) of each reading.

        What is refused because the gateway's clock is wrong counts once that is put right.
        """
        oldest, newest = self._last + TOLERANCE - DAY, self._first - TOLERANCE + AHEAD
        return [(*reading, at_once or reading[0] not in WRONG, at_once) for reading in self.readings
                for at_once in (oldest <= reading[1] <= newest,)]  # fmt: skip


class Total(NamedTuple):
    """Readings of a window, and their sum."""

    readings: int = 0
    sum: float = 0.0

    def plus(self, value: float) -> "Total":
        return Total(self.readings + 1, self.sum + value)


class Expected:
    """Readings by window: those that must be in its row, and those that may be."""

    def __init__(self) -> None:
        self._sure: dict[int, Total] = {}
        self._maybe: dict[int, Total] = {}
        self._to_tell: dict[float, int] = {}  # value above the limit -> its time
        self.accepted = self._refusable = 0

    def accept(self, batch: Batch) -> None:
        """The gateway accepted *batch* and folded it."""
        self.accepted += len(batch.readings)
        for _, time, value, must_count, at_once in batch.verdicts():
            self._add(self._sure if must_count else self._maybe, time, value)
            self._refusable += not must_count
            if at_once and value > LIMIT:
                self._to_tell[value] = time

    def not_sure_of(self, batch: Batch) -> None:
        """The gateway was killed before it answered."""
        self._refusable += len(batch.readings)
        for _, time, value in batch.readings:
            self._add(self._maybe, time, value)

    def _add(self, totals: dict[int, Total], time: int, value: float) -> None:
        window = time // WINDOW * WINDOW
        totals[window] = totals.get(window, Total()).plus(value)

    def forget(self, before: int) -> None:
        """Ask no more for what is older than *before* ms."""
        self._sure = {window: total for window, total in self._sure.items() if window >= before}
        self._maybe = {window: total for window, total in self._maybe.items() if window >= before}
        self._to_tell = {value: time for value, time in self._to_tell.items() if time >= before}

    # --- what must hold ------------------------------------------------------------------------

    def check(self, rows: np.ndarray, alerts: np.ndarray, until: int) -> None:
        """Each reading before *until* ms is in exactly one row, that of its window, and every limit that it exceeded was told."""
        found: Counter[int] = Counter()
        sums: Counter[int] = Counter()
        for window, count, mean in zip(rows["window"].tolist(), rows["count"].tolist(), rows["mean"].tolist(), strict=True):
            start = window // WINDOW * WINDOW
            found[start] += count
            sums[start] += count * mean if count else 0.0
        for window in self._sure.keys() | self._maybe.keys() | found.keys():
            if window < until:
                self._check_window(window, found[window], sums[window])
        told = set(alerts["valor"].tolist())
        if missing := [value for value, time in self._to_tell.items() if time < until and value not in told]:
            raise Broken("limit exceeded, not told", len(missing), missing[:5])

    def _check_window(self, window: int, found: int, total: float) -> None:
        sure, maybe = self._sure.get(window, Total()), self._maybe.get(window, Total())
        if found < sure.readings:
            raise Broken("readings lost", f"window {window}", f"{found} of {sure.readings}")
        if found > sure.readings + maybe.readings:
            raise Broken("readings counted twice", f"window {window}", f"{found} of {sure.readings} and perhaps {maybe.readings}")
        right = sure.sum if found == sure.readings else sure.sum + maybe.sum if found == sure.readings + maybe.readings else None
        if right is not None and abs(total - right) > 1e-3 * right:
            raise Broken("wrong sum", f"window {window}", f"{total} instead of {right}")

    def check_ledger(self, ledger: dict[str, int]) -> None:
        if ledger["in"] != sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected")) or ledger["late"]:
            raise Broken("ledger", ledger)
        if ledger["rejected_skew"] > self._refusable:
            raise Broken("refused without cause", ledger["rejected_skew"], self._refusable)
