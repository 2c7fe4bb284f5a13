"""Times in cells: ISO 8601, dates in the order of a country, compact dates, numbers since 1970; in UTC or a time zone."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from corec.errors import UsageError

#: A year before or from these on is an error: 1990 and 2100.
EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
#: Units of numbers since 1970, by how many of them are a millisecond. In the years above no number has two of them.
EPOCHS = {"seconds": 0.001, "milliseconds": 1, "microseconds": 1_000, "nanoseconds": 1_000_000}
#: Of day, month and year, and what they are called.
ORDERS = {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year/month/day"}
#: Seconds since the start of a recording: the first is below, none is above.
ELAPSED_START, ELAPSED_MOST = 10_000, 1e8
#: Characters of the longest text that may be a time.
LONGEST_TIME = 64
HOUR_MS = 3_600_000
#: Dates that are looked at for the way from one to the next.
MOST_DATES = 10_000
HINT = (
    "ISO 8601, as 2026-01-31 12:00:00 or with +01:00; 31.01.2026 12:00; 20260131120000; or a number of s, ms, µs or ns since 1970;"
    " years 1990 to 2099"
)

_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp])?(?:\.?[Mm]\.?)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
_CLOCK_ONLY = re.compile(_CLOCK)
_COMPACT_CLOCK = re.compile(r"\d{3,6}")
_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{2,4})(?:[ T,]+" + _CLOCK + ")?")
_NAMED = re.compile(r"(?:[A-Za-z]{3},? )?(\d{1,2})[ .-]+([^\W\d]{3})[^\W\d]*[ .-]+(\d{2,4})(?:[ T,]+" + _CLOCK + ")?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[ _T-]?(\d{2})(\d{2})(\d{2})?(\d{3})?)?")
_NUMBER = re.compile(r"\d+(\.\d*)?([eE]\+?\d+)?")
_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan ene|feb|mar mär mrz|apr abr|may mai|jun|jul|aug ago|sep|oct okt|nov|dec dic dez".split("|"), start=1
    )
    for name in names.split()
}
_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def find_zone(name: str) -> tzinfo:
    """The time zone of a name; UsageError when this machine knows none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "a name as Europe/Berlin; where the system has no list of zones, `pip install tzdata` brings one"
        raise UsageError(f"expected a time zone, got {name!r}", hint=hint) from None


def kind_of(cell: str) -> str | None:
    """How a cell writes a time: "iso", "date", "named", "compact" or "epoch"; None for what is no time of 1990 to 2099."""
    text = cell.strip()
    if len(text) > LONGEST_TIME:
        return None
    for kind, parse in _PARSERS.items():
        if kind == "date":  # any order will do
            if any(_possible(parse, text, order) for order in ORDERS):
                return kind
        elif _possible(parse, text, "dmy"):
            return kind
    return None


def is_clock(cell: str, *, compact: bool) -> bool:
    """Whether a cell is a time of day: 12:00:00, or with *compact* 120000 as well."""
    text = cell.strip()
    return bool(_CLOCK_ONLY.fullmatch(text) or compact and _COMPACT_CLOCK.fullmatch(text) and int(text[-4:-2] or 0) < 60)


def is_date_only(cell: str) -> bool:
    """Whether a cell is a date without a time of day."""
    text = cell.strip()
    return len(text) <= 11 and ":" not in text and kind_of(text) in ("iso", "date", "named", "compact")


def is_elapsed(cell: str) -> bool:
    """Whether a recording of seconds since its start may begin with this."""
    try:
        return 0 <= float(cell) <= ELAPSED_START
    except ValueError:
        return False


def needs_order(cell: str) -> bool:
    """Whether a date does not begin with a year of four digits."""
    found = _DATE.fullmatch(cell.strip())
    return bool(found) and len(found[1]) < 4


def day_order(cells: Iterable[str]) -> tuple[str | None, bool]:
    """("dmy", "mdy" or, for years of two digits, "ymd"; whether it is certain).

    It is certain where all dates are possible in one order only. Else the order counts in which it is the shortest way from date to
    date; None where that says nothing.
    """
    times: dict[str, list[int]] = {}
    wrong = Counter[str]()
    before = ""
    for cell in cells:
        found = _DATE.fullmatch(cell.strip())
        if not found or len(found[1]) == 4:
            continue
        if found[2] == ".":
            return "dmy", True
        date = found[2].join(found.group(1, 3, 4))
        if date == before:
            continue
        before = date
        for order in ("dmy", "mdy", "ymd") if found[2] == "-" and len(found[4]) == 2 else ("dmy", "mdy"):
            moments = times.setdefault(order, [])
            if not _possible(_read_date, date, order):
                wrong[order] += 1
            elif len(moments) < MOST_DATES:
                moments.append(_ms_of(_read_date(date, order), UTC))
    best = [order for order in times if wrong[order] == min(wrong[one] for one in times)]
    if len(best) == 1:
        return best[0], True
    ways = {order: sum(abs(b - a) for a, b in zip(times[order], times[order][1:])) for order in best}
    shortest = [order for order in best if ways[order] == min(ways.values())]
    return (shortest[0] if len(shortest) == 1 else None), False


class TimeReader:
    """Reads the times of one recording, row by row in the order of the file."""

    def __init__(self, kind: str, unit: str = "", zone: tzinfo | None = None, order: str = "dmy", zoned: bool = False) -> None:
        """kind: as `kind_of` says, or "elapsed".  unit: of EPOCHS.  zoned: the cells bring their zone."""
        self.kind, self.unit, self._order = kind, unit, order
        self._zone = zone or UTC
        self.about = self._describe(zoned)
        self.changes: list[str] = []  # of the unit
        self._last = self._step = 0

    def read(self, text: str) -> int:
        """ms since 1970; ValueError where *text* is no such time."""
        text = text.strip()
        if len(text) > LONGEST_TIME:
            raise ValueError("no time")
        if self.kind == "elapsed":
            seconds = float(text)
            if not 0 <= seconds <= ELAPSED_MOST:
                raise ValueError("no seconds since the start")
            return round(seconds * 1000)
        if self.kind == "epoch":
            return self._read_number(text)
        try:
            moment = datetime.fromisoformat(text) if self.kind == "iso" else _PARSERS[self.kind](text, self._order)
        except ValueError:
            moment = _read_date(text, self._order)
        return _bounded(self._ms(moment))

    def _read_number(self, text: str) -> int:
        ms, unit = _epoch(text)
        if unit != self.unit:
            if len(self.changes) < 3:
                self.changes.append(f"from {self.unit} to {unit} at {shown_time(ms)}")
            self.unit = unit
        return ms

    def _ms(self, moment: datetime) -> int:
        if moment.tzinfo is not None or self._zone is UTC:
            return _ms_of(moment, UTC)
        first, second = (_ms_of(moment.replace(fold=fold), self._zone) for fold in (0, 1))
        # An hour comes twice: the time that goes on from the row before
        ms = min(first, second, key=lambda time: abs(time - self._last - self._step)) if self._last else first
        if 0 < abs(ms - self._last) <= HOUR_MS:
            self._step = ms - self._last
        self._last = ms
        return ms

    def _describe(self, zoned: bool) -> str:
        if self.kind == "epoch":
            return f"{self.unit} since 1970"
        if self.kind == "elapsed":
            return "seconds since 1970"
        way = {"iso": "ISO 8601", "compact": "dates as 20260131", "named": "dates with names of months"}.get(self.kind)
        way = way or ORDERS[self._order]
        return f"{way} with a zone" if zoned else f"{way} without a zone, taken as {getattr(self._zone, 'key', 'UTC')}"


def find_reader(cells: list[str], zone: tzinfo | None, order: str | None) -> TimeReader | None:
    """The reader for a column with these cells, most of which are times; None where none is.

    order: of day and month, where cells need it.
    """
    kinds = Counter(kind for cell in cells if (kind := kind_of(cell)))
    if not kinds:
        return None
    kind = kinds.most_common(1)[0][0]
    first = next(cell.strip() for cell in cells if kind_of(cell) == kind)
    if kind == "epoch":
        return TimeReader(kind, _epoch(first)[1])
    possible = next(one for one in (order or "dmy", *ORDERS) if _possible(_PARSERS[kind], first, one))
    return TimeReader(kind, "", zone, order or "dmy", _PARSERS[kind](first, possible).tzinfo is not None)


def shown_time(ms: int) -> str:
    return (_EPOCH_0 + ms * _MS).strftime("%Y-%m-%d %H:%M:%S")


def _read_iso(text: str, order: str) -> datetime:
    if text.isdecimal():
        raise ValueError("compact")
    return datetime.fromisoformat(text)


def _read_compact(text: str, order: str) -> datetime:
    found = _COMPACT.fullmatch(text)
    if not found:
        raise ValueError("no compact date")
    year, month, day, hour, minute, second, ms = (int(part or 0) for part in found.groups())
    return datetime(year, month, day, hour, minute, second, ms * 1000)


def _read_date(text: str, order: str) -> datetime:
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError("no date")
    first, _, second, third, *clock = found.groups()
    if len(first) == 4:
        year, month, day = first, second, third
    else:
        parts = dict(zip(order, (first, second, third)))
        year, month, day = parts["y"], parts["m"], parts["d"]
    if len(year) not in (2, 4):
        raise ValueError("no year")
    return _moment(year, int(month), day, clock)


def _read_named(text: str, order: str) -> datetime:
    found = _NAMED.fullmatch(text)
    if not found:
        raise ValueError("no date")
    day, month, year, *clock = found.groups()
    return _moment(year, _MONTHS.get(month.casefold(), 0), day, clock)


def _read_epoch(text: str, order: str) -> datetime:
    return _EPOCH_0 + _epoch(text)[0] * _MS


def _moment(year: str, month: int, day: str, clock: list[str | None]) -> datetime:
    hour, minute, second, fraction, half, zone = clock
    hours = int(hour or 0)
    if half:
        if not 1 <= hours <= 12:
            raise ValueError("no hour of a half day")
        hours = hours % 12 + 12 * (half in "pP")
    moment = datetime(int(year) + 2000 * (len(year) == 2), month, int(day), hours, int(minute or 0), int(second or 0),
                      int((fraction or "0").ljust(6, "0")[:6]))  # fmt: skip
    if zone is None:
        return moment
    return moment.replace(tzinfo=datetime.fromisoformat(f"2026-01-01 00:00{zone}").tzinfo if zone[0] in "+-" else UTC)


def _epoch(text: str) -> tuple[int, str]:
    """(ms since 1970, unit); ValueError where no unit gives a possible year."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    number = int(text) if text.isdecimal() else float(text)
    for unit, each in EPOCHS.items():
        if EARLIEST_MS <= number / each < LATEST_MS:
            return round(number / each), unit
    raise ValueError("no time of 1990 to 2099")


def _ms_of(moment: datetime, zone: tzinfo) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return round((moment - _EPOCH_0) / _MS)


def _bounded(ms: int) -> int:
    if not EARLIEST_MS <= ms < LATEST_MS:
        raise ValueError("no time of 1990 to 2099")
    return ms


def _possible(parse, text: str, order: str) -> bool:
    try:
        _bounded(_ms_of(parse(text, order), UTC))
    except (ValueError, OverflowError):
        return False
    return True


#: How to read each kind, the likeliest first.
_PARSERS = {"iso": _read_iso, "compact": _read_compact, "date": _read_date, "named": _read_named, "epoch": _read_epoch}
