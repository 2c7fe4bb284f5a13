"""Cells of a line, and numbers in cells: decimal comma or point, thousands, units, words for no value."""

import csv
import math
import re
from collections.abc import Iterable

#: Words, in small letters, that say that there is no value, or that the value is no number.
GAPS = frozenset(
    "nan null (null) none nil na n/a n.a. #n/a #na <na> - -- --- — ? * unavailable unknown undefined missing invalid nd n.d. k.a. s/d"
    " on off true false yes no open closed #value! #div/0! #ref! #num! #null!".split()
    + ["no data", "nodata", "no value", "sin dato", "sin datos", "not available", ""]
)
#: Units that may stand behind a number in its cell, or in brackets behind a name.
UNITS = frozenset(
    "° °c °f ℃ ℉ c f k % %rh rh v mv a ma w kw mw wh kwh mwh hz khz pa hpa kpa bar mbar psi ppm ppb lux lx m mm cm km m/s km/h s ms min h"
    " rpm l l/h l/min m3 m³ m³/h m3/h g kg db dbm dba µg/m³ ug/m3 va var j kj n nm ω ohm".split()
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_WITH_UNIT = re.compile(r"([+-]?[\d.,]+)\s*(\D{1,6}\d?|\D{1,4}/\D\d?)")
#: Digits in groups of three.
_GROUPED = {".": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"), ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")}
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_SPACED = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
#: Spaces and quotes between groups of digits, and the minus sign of typesetters.
_PLAIN = str.maketrans({"\u00a0": "", "\u202f": "", "\u2009": "", "'": "", "’": "", "−": "-"})
#: Characters of the longest text that may be a number.
LONGEST_NUMBER = 64
#: Characters of a foreign text that are shown.
SHOWN = 40


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of a line; csv.Error where a quote is not closed. A space as delimiter stands for any number of them."""
    if '"' in line:
        return next(csv.reader(line.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True, strict=True), [])
    return line.split() if delimiter == " " else line.split(delimiter)


def read_number(cell: str, decimal: str) -> float | None:
    """The number in a cell; None where it has no value, ValueError where it has something else.  decimal: "." or ","."""
    text = cell.strip().strip('"').strip()
    if len(text) > LONGEST_NUMBER:
        raise ValueError("no number")
    if text.casefold() in GAPS:
        return None
    text = _SPACED.sub("", text.translate(_PLAIN))
    if (found := _WITH_UNIT.fullmatch(text)) and found[2].strip().casefold() in UNITS:
        text = found[1]
    if "," in text or decimal == ",":
        text = _with_point(text, decimal)
    if not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    return float(text)


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number, with a decimal comma or a decimal point."""
    for decimal in ".,":
        try:
            number = read_number(cell, decimal)
        except ValueError:
            continue
        return number is not None and math.isfinite(number)
    return False


def is_gap(cell: str) -> bool:
    return cell.strip().casefold() in GAPS


def find_decimal(cells: Iterable[str], delimiter: str) -> str:
    """The decimal mark of the cells of a file: "." or ","."""
    maybe = False
    for cell in cells:
        text = cell.strip().translate(_PLAIN)
        if "," not in text or len(text) > LONGEST_NUMBER:
            continue
        if _GROUPED[","].fullmatch(text) and "." in text or _COMMA.fullmatch(text) and not _GROUPED["."].fullmatch(text):
            return ","
        if _GROUPED["."].fullmatch(text) and "." in text:
            return "."
        maybe = maybe or bool(_COMMA.fullmatch(text))
    return "," if maybe and delimiter != "," else "."


def shown(text: str) -> str:
    """A foreign text for the user: quoted, its unprintable characters escaped, and short."""
    return repr(text) if len(text) <= SHOWN and text.isprintable() else ascii(text[:SHOWN]) + ("..." if len(text) > SHOWN else "")


def _with_point(text: str, decimal: str) -> str:
    if _GROUPED[decimal].fullmatch(text):
        text = text.replace("." if decimal == "," else ",", "")
    return text.replace(",", ".") if decimal == "," else text
