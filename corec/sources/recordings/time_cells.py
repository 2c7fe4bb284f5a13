"""Times in cells: ISO 8601, dates in the order of a country, compact dates, numbers since 1970; in UTC or a time zone."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from corec.common.text import counted
from corec.errors import UsageError
from corec.sources.recordings.time_words import month_of, zone_of

#: A year before or from these on is an error: 1990 and 2100.
EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
#: Units of numbers since 1970, by how many of them are a millisecond. In the years above no number has two of them.
EPOCHS = {"seconds": 0.001, "milliseconds": 1, "microseconds": 1_000, "nanoseconds": 1_000_000}
#: Of day, month and year, and what they are called.
ORDERS = {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year/month/day"}
#: Seconds since the start of a recording: the first is below where no unit is named, none is above.
ELAPSED_START, ELAPSED_MOST = 10_000, 1e8
#: Units of times since the start of a recording: (ms of one, name).
ELAPSED = {"s": (1000, "seconds"), "ms": (1, "milliseconds"), "µs": (1e-3, "microseconds"), "ns": (1e-6, "nanoseconds"),
           "min": (60_000, "minutes"), "h": (3_600_000, "hours")}  # fmt: skip
#: Names of zones that are noted.
ZONES_NOTED = 6
#: Characters of the longest text that may be a time, and of one that may be a date only.
LONGEST_TIME, LONGEST_DATE = 64, 24
HOUR_MS = 3_600_000
#: Dates that are looked at for the way from one to the next.
MOST_DATES = 10_000
HINT = (
    "ISO 8601, as 2026-01-31 12:00:00 or with +01:00; 31.01.2026 12:00; 31 Jan 2026 12:00; 20260131120000; or a number of s, ms, µs or ns"
    " since 1970; years 1990 to 2099"
)

_ZONE = r"(?P<zone>(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?(?:\[[\w/+-]{1,40}\])?|[A-Za-z]{1,4})"
_END = r"(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?:(?P<half>[AaPp])\.?\s?[Mm]\.?)?\s*" + _ZONE + "?"
_CLOCK = r"(?P<hour>\d{1,2})(?P<mark>[:.])(?P<minute>\d{2})(?:(?P=mark)(?P<second>\d{2})" + _END
_CLOCK_ONLY = re.compile(_CLOCK.replace("[:.]", ":"))
_COMPACT_CLOCK = re.compile(r"\d{3,6}")
_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{2,4})(?:[\sT,_]+" + _CLOCK + ")?")
_WEEKDAY, _MONTH, _DAY = r"(?:[^\W\d_]{2,12}\.?,?\s+)?", r"(?P<month>[^\W\d_]{3,10})\.?", r"(?P<day>\d{1,2})(?:st|nd|rd|th|º|\.)?"
_NAMED = tuple(re.compile(form) for form in (
    _WEEKDAY + _DAY + r"[\s/-]*(?:de )?" + _MONTH + r"[\s,/-]*(?:del? )?(?P<year>\d{4}|\d{2})(?:[\s,T:]+" + _CLOCK + ")?",
    _WEEKDAY + _MONTH + r"\s*" + _DAY + r",?\s+(?P<year>\d{4})(?:[\s,T]+" + _CLOCK + ")?",
    _WEEKDAY + _MONTH + r"\s+" + _DAY + r"\s+" + _CLOCK + r"\s+(?P<year>\d{4})",
    r"(?P<year>\d{4})[\s/-]+" + _MONTH + r"[\s/-]+" + _DAY + r"(?:[\s,T:]+" + _CLOCK + ")?"))  # fmt: skip
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[ _T-]?(\d{2})(?:(\d{2})(\d{2})?(\d{3})?)?)?")
_NUMBER = re.compile(r"\d+([.,]\d*)?([eE]\+?\d{1,2})?")
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


def is_clock(cell: str) -> bool:
    """Whether a cell is a time of day, as 12:00:00."""
    return bool(_CLOCK_ONLY.fullmatch(cell.strip()))


def is_compact_clock(cell: str) -> bool:
    """Whether a cell may be a time of day as 120000 or 930."""
    text = cell.strip()
    return bool(_COMPACT_CLOCK.fullmatch(text)) and int(text[-4:-2] or 0) < 60


def is_half(cell: str) -> bool:
    """Whether a cell says AM or PM."""
    return cell.strip().casefold() in ("am", "pm", "a.m.", "p.m.")


def is_date_only(cell: str) -> bool:
    """Whether a cell is a date without a time of day."""
    text = cell.strip()
    return len(text) <= LONGEST_DATE and ":" not in text and kind_of(text) in ("iso", "date", "named", "compact")


def is_elapsed(cell: str, unit: str = "s") -> bool:
    """Whether a recording of times since its start may begin with this.  unit: of ELAPSED."""
    try:
        return 0 <= float(cell) * ELAPSED[unit][0] / 1000 <= (ELAPSED_START if unit == "s" else ELAPSED_MOST)
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

    def __init__(self, kind: str, unit: str = "", zone: tzinfo | None = None, order: str | None = None,
                 first: datetime | None = None) -> None:  # fmt: skip
        """kind: as `kind_of` says, or "elapsed".  unit: of EPOCHS or ELAPSED.  order: of ORDERS, where it is known.

        first: the first time; it shows whether the times bring their zone.
        """
        self.kind, self.unit, self._order = kind, unit, order
        self._zone, self._zoned = zone or UTC, first is not None and first.tzinfo is not None
        self.about = self._describe()
        self._changes: list[str] = []  # of the unit
        self._zones: dict[str, str] = {}  # name -> offset
        self._others = self._skipped = 0  # times with a zone among those without, or the reverse; times that the zone does not have
        self._first_skipped = ""
        self._last = self._step = 0

    def notes(self) -> list[str]:
        """What was found in the times so far, beside what `about` says."""
        notes = [f"the unit of the times changes {change}" for change in self._changes]
        if self._zones:
            notes.append("zones as named in the times: " + ", ".join(f"{name} is {offset}" for name, offset in self._zones.items()))
        if self._others:
            which = f"without a zone, taken as {self._zone_name}" if self._zoned else "with a zone of their own"
            notes.append(f"{counted(self._others, 'time')} {which}")
        if self._skipped:
            notes.append(f"{counted(self._skipped, 'time')} of an hour that {self._zone_name} skips, read as if the clock had not been put"
                         f" forward, the first: {self._first_skipped}")  # fmt: skip
        return notes

    def read(self, text: str) -> int:
        """ms since 1970; ValueError where *text* is no such time."""
        text = text.strip()
        if len(text) > LONGEST_TIME:
            raise ValueError("no time")
        if self.kind == "elapsed":
            ms = float(text) * ELAPSED[self.unit][0]
            if not 0 <= ms <= 1000 * ELAPSED_MOST:
                raise ValueError("no time since the start")
            return round(ms)
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
            if len(self._changes) < 3:
                self._changes.append(f"from {self.unit} to {unit} at {shown_time(ms)}")
            self.unit = unit
        return ms

    def _ms(self, moment: datetime) -> int:
        zone = moment.tzinfo
        self._others += (zone is not None) != self._zoned
        if zone is not None and self.kind != "iso" and len(self._zones) < ZONES_NOTED and not (name := moment.tzname()).startswith("UTC"):
            self._zones.setdefault(name, moment.isoformat()[-6:])
        if zone is not None or self._zone is UTC:
            return _ms_of(moment, UTC)
        first, second = (_ms_of(moment.replace(fold=fold), self._zone) for fold in (0, 1))
        if first > second:  # the clock was put forward over this time
            self._skipped += 1
            self._first_skipped = self._first_skipped or str(moment)
            return first
        # An hour comes twice: the time that goes on from the row before
        ms = min(first, second, key=lambda time: abs(time - self._last - self._step)) if self._last else first
        if 0 < abs(ms - self._last) <= HOUR_MS:
            self._step = ms - self._last
        self._last = ms
        return ms

    @property
    def _zone_name(self) -> str:
        return getattr(self._zone, "key", None) or str(self._zone)

    def _describe(self) -> str:
        if self.kind == "epoch":
            return f"{self.unit} since 1970"
        if self.kind == "elapsed":
            return f"{ELAPSED[self.unit][1]} from a start that is taken as 1970-01-01"
        way = {"iso": "ISO 8601", "compact": "dates as 20260131", "named": "dates with names of months"}.get(self.kind)
        way = way or ORDERS[self._order or "ymd"]
        return f"{way} with a zone" if self._zoned else f"{way} without a zone, taken as {self._zone_name}"


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
    order = order or (possible if kind == "date" and needs_order(first) else None)
    return TimeReader(kind, "", zone, order, _PARSERS[kind](first, possible))


def shown_time(ms: int) -> str:
    return (_EPOCH_0 + ms * _MS).strftime("%Y-%m-%d %H:%M:%S")


def _read_iso(text: str, order: str | None) -> datetime:
    if text.isdecimal():
        raise ValueError("compact")
    return datetime.fromisoformat(text)


def _read_compact(text: str, order: str | None) -> datetime:
    found = _COMPACT.fullmatch(text)
    if not found:
        raise ValueError("no compact date")
    year, month, day, hour, minute, second, ms = (int(part or 0) for part in found.groups())
    return datetime(year, month, day, hour, minute, second, ms * 1000)


def _read_date(text: str, order: str | None) -> datetime:
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError("no date")
    first, mark, second, third = found.group(1, 2, 3, 4)
    if len(first) == 4:
        year, month, day = first, second, third
    else:
        order = order or ("dmy" if mark == "." else None)
        if order is None:
            raise ValueError("no order of day and month")
        parts = dict(zip(order, (first, second, third)))
        year, month, day = parts["y"], parts["m"], parts["d"]
    return _moment(year, int(month), day, found)


def _read_named(text: str, order: str | None) -> datetime:
    for form in _NAMED:
        if found := form.fullmatch(text):
            return _moment(found["year"], month_of(found["month"]), found["day"], found)
    raise ValueError("no date")


def _read_epoch(text: str, order: str | None) -> datetime:
    return _EPOCH_0 + _epoch(text)[0] * _MS


def _moment(year: str, month: int, day: str, clock: re.Match) -> datetime:
    """clock: a match with the groups of _CLOCK."""
    if len(year) not in (2, 4):
        raise ValueError("no year")
    hour, half, zone = int(clock["hour"] or 0), clock["half"], clock["zone"]
    minute, second, fraction = int(clock["minute"] or 0), int(clock["second"] or 0), int((clock["fraction"] or "0").ljust(6, "0")[:6])
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of a half day")
        hour = hour % 12 + 12 * (half in "pP")
    ends = (hour, minute, second, fraction) == (24, 0, 0, 0)  # a day ends at 24:00
    moment = datetime(int(year) + 2000 * (len(year) == 2), month, int(day), hour * (not ends), minute, second, fraction)
    moment += timedelta(days=ends)
    return moment.replace(tzinfo=zone_of(zone)) if zone else moment


def _epoch(text: str) -> tuple[int, str]:
    """(ms since 1970, unit); ValueError where no unit gives a possible year."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    number = int(text) if text.isdecimal() else float(text.replace(",", "."))
    for unit, each in EPOCHS.items():
        if EARLIEST_MS <= number / each < LATEST_MS:
            if "e" in text.casefold() and _step_of(text) > 1000 * each:  # as a spreadsheet shows it: all rows would have one time
                raise ValueError("digits are missing")
            return round(number / each), unit
    raise ValueError("no time of 1990 to 2099")


def _step_of(text: str) -> float:
    """What the last digit of a number with an exponent stands for."""
    digits, exponent = text.casefold().replace(",", ".").split("e")
    return 10.0 ** (int(exponent) - len(digits.partition(".")[2]))


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
