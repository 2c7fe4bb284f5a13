"""Cells of a line, and what stands in them: names, and numbers with decimal comma or point, thousands, units, words for no value."""

import csv
import math
import re
import unicodedata
from collections.abc import Iterable

from corec.common.text import elided

Cells = list[str]

#: Words, in small letters, that say that there is no value, or that the value is no number.
GAPS = frozenset(
    "nan null (null) none nil na n/a n.a. #n/a #na <na> unavailable unknown undefined missing invalid nd n.d. k.a. s/d ausente desconocido"
    " fehlt unbekannt indisponible inconnu absent nan(ind) -nan(ind) -1.#ind 1.#qnan on off true false yes no open closed"
    " #value! #div/0! #ref! #num! #null!".split()
    + ["no data", "nodata", "no value", "sin dato", "sin datos", "sin valor", "not available", "no disponible", "nicht verfügbar",
       "keine daten", "non disponible", ""]
)  # fmt: skip
#: Signs of which a cell without a value may consist: `-`, `--.-`, `*****`, `?`.
_SIGNS = frozenset("-–—.*_?#/ ")
#: Units that may stand behind a number in its cell, or in brackets behind a name.
UNITS = frozenset(
    "° °c °f ℃ ℉ c f k % %rh rh v mv a ma w kw mw wh kwh mwh hz khz pa hpa kpa bar mbar psi ppm ppb lux lx m mm cm km m/s km/h s ms min h"
    " rpm l l/h l/min m3 m³ m³/h m3/h g kg db dbm dba µg/m³ ug/m3 va var j kj n nm ω ohm".split()
)
_UNIT_BEHIND = re.compile(r"(.*\S)\s*[\[(](.{1,8})[\])]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_WITH_UNIT = re.compile(r"([+-]?[\d.,]+)\s*(\D{1,6}\d?|\D{1,4}/\D\d?)")
#: Digits in groups of three.
_GROUPED = {".": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"), ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")}
#: One mark and no groups.
_SIMPLE = {mark: re.compile(rf"[+-]?\d*{re.escape(mark)}\d+([eE][+-]?\d+)?") for mark in ".,"}
_SPACED = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
#: Spaces and quotes between groups of digits, and the minus sign of typesetters.
_PLAIN = str.maketrans({"\u00a0": "", "\u202f": "", "\u2009": "", "'": "", "’": "", "−": "-"})
#: Characters of the longest text that may be a number.
LONGEST_NUMBER = 64
#: Characters of a foreign text that are shown.
SHOWN = 40
#: Names that a line lists.
NAMED = 6
#: Longest name of a column that is kept.
NAME_LENGTH = 80


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
    if is_gap(text):
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
    """Whether a cell says that there is no value, by a word, by signs, or by nothing."""
    text = cell.strip().strip("\"'").casefold().replace("_", " ")
    return text in GAPS or _SIGNS.issuperset(text)


def find_decimal(cells: Iterable[str]) -> str:
    """The decimal mark that cells show, "." or ","; "" where they leave it open, "?" where a comma is likely."""
    likely = ""
    for cell in cells:
        text = cell.strip().translate(_PLAIN)
        if len(text) > LONGEST_NUMBER:
            continue
        for mark, other in ((",", "."), (".", ",")):
            grouped = _GROUPED[mark].fullmatch(text)
            if grouped and (mark in text and other in text or text.count(other) > 1) or _SIMPLE[mark].fullmatch(text) \
                    and not _GROUPED[other].fullmatch(text):  # fmt: skip
                return mark
        likely = likely or "?" * ("," in text and bool(_SIMPLE[","].fullmatch(text)))
    return likely


def shown(text: str) -> str:
    """A foreign text for the user: quoted, its unprintable characters escaped, and short."""
    return repr(text) if len(text) <= SHOWN and text.isprintable() else ascii(text[:SHOWN]) + ("..." if len(text) > SHOWN else "")


def cell_at(cells: Cells, index: int) -> str:
    """A cell of a row; '' where the row is too short."""
    return cells[index] if index < len(cells) else ""


def clean_name(text: str) -> str:
    """A name as it is kept and shown: printable, without spaces around it, and short."""
    text = " ".join(text.strip().strip('"').lstrip("\ufeff").split())
    return elided(text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text), NAME_LENGTH)


def plain_name(name: str) -> str:
    """A name without what near names differ in: case, spaces, and how Unicode composes its letters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def split_unit(name: str) -> tuple[str, str]:
    """(name, unit) of a name with a unit in brackets behind it; the unit is '' where there is none."""
    found = _UNIT_BEHIND.fullmatch(name)
    return (found[1], found[2]) if found and found[2].casefold() in UNITS else (name, "")


def few(names: Iterable[str]) -> str:
    """Some names for the user, each printable."""
    names = list(names)
    listed = ", ".join(name if name.isprintable() else shown(name) for name in names[:NAMED])
    return listed + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _with_point(text: str, decimal: str) -> str:
    if _GROUPED[decimal].fullmatch(text):
        text = text.replace("." if decimal == "," else ",", "")
    elif _SIMPLE[","].fullmatch(text):  # whatever the other cells have
        return text.replace(",", ".")
    return text.replace(",", ".") if decimal == "," else text
