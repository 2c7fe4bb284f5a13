"""Words in times: names of months in several languages, of time zones, and of units."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan ene gen|feb fev fév|mar mär mrz|apr abr avr|may mai mag|jun juin giu|jul juil lug|aug ago aoû aou|sep set|oct okt out ott"
        "|nov|dec dic dez déc".split("|"),
        start=1,
    )
    for name in names.split()
}
#: Hours ahead of UTC, by names that mean one zone to nearly everybody. IST is not among them: it is of India, Israel and Ireland.
_ZONES = {
    "z": 0, "utc": 0, "gmt": 0, "wet": 0, "west": 1, "bst": 1, "cet": 1, "cest": 2, "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "msk": 3,
    "sast": 2, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8, "hst": -10,
    "brt": -3, "art": -3, "jst": 9, "kst": 9, "awst": 8, "acst": 9.5, "acdt": 10.5, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13,
}  # fmt: skip
_UNITS = {
    "ms": "ms msec msecs millis millisecond milliseconds milisegundos millisekunden",
    "µs": "us usec µs micros microseconds microsegundos mikrosekunden",
    "ns": "ns nsec nanos nanoseconds nanosegundos nanosekunden",
    "min": "min mins minutes minutos minuten",
    "h": "h hour hours horas stunden",
}
_UNIT_OF = {word.casefold(): unit for unit, words in _UNITS.items() for word in words.split()}
_OFFSET_IN = re.compile(r"\b(?:UTC|GMT)\s?([+-])(\d{1,2})(?::?(\d{2}))?\b", re.IGNORECASE)
_PLACE_IN = re.compile(r"\b(?:Africa|America|Asia|Atlantic|Australia|Europe|Indian|Pacific)/[A-Za-z_]+(?:/[A-Za-z_]+)?")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{2}):?(\d{2})?(?:\[[\w/+-]+\])?", re.IGNORECASE)


def month_of(name: str) -> int:
    """1 to 12 for a name or its beginning; ValueError where it is none."""
    lowered = name.casefold()
    number = _MONTHS.get(lowered[:4]) or _MONTHS.get(lowered[:3])
    if number is None:
        raise ValueError("no month")
    return number


def zone_of(text: str) -> tzinfo:
    """The zone of `Z`, `CET`, `+01:00` or `UTC+1`; ValueError where it is none."""
    if found := _OFFSET.fullmatch(text):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return timezone(-offset if sign == "-" else offset)
    hours = _ZONES.get(text.casefold())
    if hours is None:
        raise ValueError("no time zone")
    return timezone(timedelta(hours=hours), text.upper()) if hours or text.casefold() not in ("z", "utc", "gmt") else UTC


def unit_of(name: str) -> str:
    """The unit that the name of a column of times says: "s" where it says none."""
    words = re.split(r"[^a-zµμ]+", name.casefold())
    return next((_UNIT_OF[word] for word in words if word in _UNIT_OF), "s")


def zone_in(text: str) -> tzinfo | None:
    """The zone that the name of a column of times says: `Time (UTC)`, `Date Time, GMT+01:00`, `Timestamp (America/New_York)`."""
    if found := _OFFSET_IN.search(text):
        return zone_of(f"{found[1]}{int(found[2]):02d}{found[3] or '00'}")
    if found := _PLACE_IN.search(text):
        try:
            return ZoneInfo(found[0])
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None
    return UTC if {"utc", "gmt", "timestamputc"} & set(re.split(r"[^a-z]+", text.casefold())) else None
