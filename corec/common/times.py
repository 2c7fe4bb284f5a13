"""The current time in ms since 1970; times parsed from text and written as text."""
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from corec.errors import FrameError

#: A number of this size and more is milliseconds: as seconds it would lie in the year 5138.
MS_FROM = 1e11
#: The year 5138 in milliseconds; more than that is some finer unit.
MS_UPTO = 1e14


def wall_ms() -> int:
    """Now, in ms since 1970. It jumps when the system clock is set."""
    return time.time_ns() // 1_000_000


class TimeFormat(NamedTuple):
    """One way to write times: its description, and `read`, which raises ValueError."""

    about: str
    read: Callable[[str], int]


def detect(text: str) -> TimeFormat | None:
    """The format that *text* is written in; None when it is not a known time format."""
    for format in _candidates(text.strip()):
        try:
            format.read(text)
        except ValueError:
            continue
        return format
    return None


def require_time(text: str, where: str) -> int:
    """*text* (a date, or s or ms since 1970) in ms; FrameError when it is not a time."""
    format = detect(text)
    if format is None:
        raise FrameError(f"{where}: expected a time, got {text!r}", hint=HINT)
    return format.read(text)


HINT = "ISO 8601, as 2026-01-31 12:00:00 (UTC) or 2026-01-31T12:00:00+01:00, or seconds or milliseconds since 1970"


def iso(ms: int) -> str:
    """ms since 1970 as `2026-01-31 12:00:00.000` in UTC; the plain number where it is beyond the calendar."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{ms % 1000:03d}"
    except (ValueError, OverflowError, OSError):
        return str(ms)


def clock(ms: int) -> str:
    """Time of day in UTC, `12:00:00`, of *ms* since 1970."""
    return iso(ms)[11:19]


def _candidates(text: str) -> list[TimeFormat]:
    try:
        number = abs(float(text))
    except ValueError:
        zoned = "ISO 8601 with a zone" if _has_zone(text) else "ISO 8601 without a zone, taken as UTC"
        return [TimeFormat(zoned, _read_iso)]
    if number >= MS_UPTO or not math.isfinite(number):
        return []
    seconds = TimeFormat("seconds since 1970", _read_seconds)
    return [TimeFormat("milliseconds since 1970", _read_ms) if number >= MS_FROM else seconds]


def _has_zone(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _read_iso(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _bounded(round(moment.timestamp() * 1000))


def _read_seconds(text: str) -> int:
    return _bounded(float(text) * 1000)


def _read_ms(text: str) -> int:
    return _bounded(float(text))


def _bounded(ms: float) -> int:
    if not 0 <= ms < MS_UPTO:
        raise ValueError(f"{ms} ms is no time from 1970 on")
    return round(ms)
