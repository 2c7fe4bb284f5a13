"""The dialect of a CSV: what separates its cells, which lines are comments, which mark decimals have."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from corec.sources.cells import is_gap, is_number, split_line
from corec.sources.time_cells import kind_of

DELIMITERS = ",;\t|"
COMMENTS = ("#", "//", "%")
NAMES = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "bar"}
_SEP = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)


class Dialect(NamedTuple):
    """How the lines of a CSV are written."""

    delimiter: str
    sep_line: int  # number of the line that names the delimiter; 0 for none

    @property
    def name(self) -> str:
        return NAMES.get(self.delimiter, self.delimiter)


def find_dialect(lines: list[tuple[int, str]]) -> Dialect:
    """The dialect of a file that begins with these (number, text). Without a time anywhere, the most regular one."""
    number, first = lines[0] if lines else (0, "")
    if named := _SEP.fullmatch(first):
        return Dialect(named[1], number)
    texts = [text for _, text in lines if text.strip() and not is_comment(text)]
    scores = {delimiter: _score(texts, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=scores.__getitem__)
    if not any(scores[best][:2]) and any(_score(texts, " ")[:2]):
        best = " "
    return Dialect(best, 0)


def is_comment(line: str) -> bool:
    return line.startswith(COMMENTS)


def _score(texts: Iterable[str], delimiter: str) -> tuple[int, int, int, int]:
    """(rows of a time and values, rows of values, lines of the same number of cells, that number)."""
    timed = numbers = 0
    widths: Counter[int] = Counter()
    for text in texts:
        try:
            cells = split_line(text, delimiter)
        except csv.Error:
            continue
        if len(cells) < 2:
            continue
        widths[len(cells)] += 1
        values = sum(is_number(cell) or is_gap(cell) for cell in cells)
        timed += any(map(kind_of, cells)) and values > 0
        numbers += values == len(cells)
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return timed, numbers, count, width
