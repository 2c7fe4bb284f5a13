"""The dialect of a CSV, found in its first lines: what separates its cells, and which lines are comments."""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corec.sources.recordings.cells import is_gap, is_number, split_line
from corec.sources.recordings.opened_text import LONGEST, Line
from corec.sources.recordings.time_cells import kind_of

DELIMITERS = ",;\t|"
COMMENTS = ("#", "//", "%")
#: Lines that one row may take, between quotes.
QUOTED_LINES = 20
_END = object()
_MAYBE_TIME = re.compile(r"\d{2}|\d[/. -]\d")
NAMES = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "bar"}
_SEP = re.compile(r"\s*\"?sep\s*=\s*(\S|\t)\"?\s*", re.IGNORECASE)


class Dialect(NamedTuple):
    """How the lines of a CSV are written."""

    delimiter: str
    sep_line: int  # number of the line that names the delimiter; 0 for none

    @property
    def name(self) -> str:
        return NAMES.get(self.delimiter, self.delimiter)


class SampleRow(NamedTuple):
    line: int
    cells: list[str]


class Sample(NamedTuple):
    """The first lines of a file, and those of them that may be rows or names."""

    lines: list[Line]
    dialect: Dialect
    rows: list[SampleRow]

    def with_commented_names(self, first: int) -> "Sample":
        """The same, with the last comment before row *first* as a row, where it has as many cells: names behind a comment sign."""
        row = self.rows[first]
        for line in reversed(self.lines):
            if line.number < row.line and is_comment(line.text):
                text = line.text.lstrip("".join(COMMENTS)).strip()
                if is_open(text, self.dialect.delimiter):
                    break
                names = SampleRow(line.number, split_line(text, self.dialect.delimiter))
                if len(names.cells) == len(row.cells):
                    return self._replace(rows=[*self.rows[:first], names, *self.rows[first:]])
                break
        return self


def take_sample(lines: list[Line]) -> Sample:
    """The sample that these lines are. Without a time anywhere, its dialect is the most regular one."""
    dialect = _find_dialect([(line.number, line.text) for line in lines if not line.problem])
    lines = [line for line in whole_rows(lines, dialect.delimiter) if line]
    possible = [line for line in lines if not line.problem and not is_comment(line.text) and line.number != dialect.sep_line]
    rows = [SampleRow(line.number, split_line(line.text, dialect.delimiter)) for line in possible
            if not is_open(line.text, dialect.delimiter)]  # fmt: skip
    return Sample(lines, dialect, [row for row in rows if len(row.cells) > 1])


def is_open(text: str, delimiter: str) -> bool:
    """Whether a quote of a line does not close."""
    try:
        split_line(text, delimiter)
    except csv.Error:
        return True
    return False


def _find_dialect(lines: list[tuple[int, str]]) -> Dialect:
    number, first = lines[0] if lines else (0, "")
    named = _SEP.fullmatch(first)
    texts = [text for _, text in lines[bool(named) :] if text.strip() and not is_comment(text)]
    scores = {delimiter: _score(texts, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=scores.__getitem__)
    if named and (_score(texts, named[1]).timed or not scores[best].timed):
        return Dialect(named[1], number)
    if not scores[best].rows and not any(score.dated for score in scores.values()) and _score(texts, " ").rows:
        best = " "
    return Dialect(best, number if named else 0)


def whole_rows(lines: Iterable[Line | None], delimiter: str) -> Iterator[Line | None]:
    """The lines, those made one that a quote holds together. A quote before a line with a time of its own never closes."""
    lines, ahead = iter(lines), deque[Line | None]()
    while ahead or (following := next(lines, _END)) is not _END:
        line = ahead.popleft() if ahead else following
        if line is not None and not line.problem and line.text.count('"') % 2:
            line = _closed(line, lines, ahead, delimiter)
        yield line


def _closed(line: Line, lines: Iterator[Line | None], ahead: deque[Line | None], delimiter: str) -> Line:
    """The line with those behind it up to where its quote closes, or as it is.  ahead: lines that were taken and not used."""
    text = line.text
    for place in range(QUOTED_LINES - 1):
        if place == len(ahead):
            if (following := next(lines, _END)) is _END:
                return line
            ahead.append(following)
        other = ahead[place]
        if other is None or other.problem or len(text) > LONGEST or _has_time(other.text, delimiter):
            return line
        text += f"\n{other.text}"
        if text.count('"') % 2:
            continue
        if is_open(text, delimiter):  # and what follows does not mend it
            return line
        for _ in range(place + 1):
            ahead.popleft()
        return line._replace(text=text, ended=other.ended)
    return line


def _has_time(text: str, delimiter: str) -> bool:
    return bool(_MAYBE_TIME.search(text)) and any(kind_of(cell.strip('"')) for cell in text.split(delimiter))


def is_comment(line: str) -> bool:
    return line.startswith(COMMENTS)


class _Score(NamedTuple):
    """How well a delimiter separates lines; the greater the better."""

    timed: int  # rows of a time and values
    dated: int  # rows of a time
    others: int  # cells of these that are neither, negative
    numbers: int  # rows of values only
    count: int  # lines of the most usual number of cells
    width: int  # that number

    @property
    def rows(self) -> bool:
        return bool(self.timed or self.numbers)


def _score(texts: Iterable[str], delimiter: str) -> _Score:
    timed = dated = numbers = others = 0
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
        times = sum(kind_of(cell) is not None and not is_number(cell) for cell in cells)
        has_time = any(map(kind_of, cells))
        dated += has_time
        if values and has_time:
            timed, others = timed + 1, others + len(cells) - values - times
        numbers += values == len(cells)
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return _Score(timed, dated, -others, numbers, count, width)
