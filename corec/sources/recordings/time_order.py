"""The order of the rows of a recording: newest first, and times that leap ahead of the rows around them."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import TypeVar

from corec.common.units import DAY_MS

#: A leap is at least this, and this many usual steps.
LEAP_MS, LEAP_STEPS = DAY_MS, 100
#: Rows in a row that are held back until it shows whether the others follow them.
HELD = 100

Row = TypeVar("Row", bound=tuple)


def newest_first(times: list[int]) -> bool:
    """Whether a file that begins with these times has its rows backward."""
    down = sum(b < a for a, b in pairwise(times))
    up = sum(b > a for a, b in pairwise(times))
    return down > 1 and down > 3 * up


class Leaps:
    """Holds back rows that leap ahead, and leaves them out when the rows behind them do not follow."""

    def __init__(self, sample: list[int], latest: Callable[[], int]) -> None:
        """sample: times of the first rows.  latest: gives the time after which rows at the end are from the future."""
        steps = [abs(b - a) for a, b in pairwise(sample) if a != b]
        self._leap = max(LEAP_MS, LEAP_STEPS * median(steps) if steps else 0)
        self._newest = median(sample) if sample else None
        self._latest = latest

    def sound(self, rows: Iterable[Row | None], leave_out: Callable[[Row], None]) -> Iterator[Row | None]:
        """The rows, each with its time in ms first, without those that leap. None, where there is no more yet, is passed on."""
        held: list[Row] = []
        for row in rows:
            if row is None:
                yield from self._released(held, leave_out)
                held = []
                yield None
                continue
            ahead = self._newest is not None and row[0] > self._newest + self._leap
            if held and not ahead:
                for one in held:
                    leave_out(one)
                held = []
            if ahead:
                held.append(row)
                if len(held) > HELD:
                    yield from self._followed(held)
                    held = []
                continue
            self._newest = row[0] if self._newest is None else max(self._newest, row[0])
            yield row
        yield from self._released(held, leave_out)

    def _followed(self, held: list[Row]) -> Iterator[Row]:
        self._newest = max(row[0] for row in held)
        yield from held

    def _released(self, held: list[Row], leave_out: Callable[[Row], None]) -> Iterator[Row]:
        """Rows behind a gap at the end count, unless they are from the future."""
        latest = self._latest()
        sound = [row for row in held if row[0] <= latest]
        for row in held:
            if row[0] > latest:
                leave_out(row)
        if sound:
            yield from self._followed(sound)
