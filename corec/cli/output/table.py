"""Prints rows of text in columns; to fit a terminal, long names lose their middle."""

import shutil
from collections.abc import Sequence
from typing import NamedTuple

from corec.cli.common.base import on_terminal
from corec.common.text import elided

#: Least characters of a shortened name, while a shorter form of the table is left to try, and without one.
EASY_NAME, LEAST_NAME = 14, 6


class Table(NamedTuple):
    """A header and rows of as many cells; names of the columns aligned left, and of those whose cells may be shortened."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[str] = ()
    names: Sequence[str] = ()


def columns(table: Table, short: Table | None = None, *, width: int | None = None) -> list[str]:
    """A line for the header and one for each row, within *width* columns (None: no limit).

    short: the same in fewer columns, for where eliding names alone would not do.
    """
    if width is None or _fits(lines := _lined(table, width, EASY_NAME, "  "), width):
        return _lined(table, 0, 0, "  ") if width is None else lines
    short = short or table
    for gap in ("  ", " "):
        lines = _lined(short, width, LEAST_NAME, gap)
        if _fits(lines, width):
            break
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def terminal_width() -> int | None:
    """The width of the terminal at standard output; None where it is none, so that nothing may be shortened."""
    return shutil.get_terminal_size().columns if on_terminal() else None


def _fits(lines: Sequence[str], width: int) -> bool:
    return max(map(len, lines)) <= width


def _lined(table: Table, width: int, least: int, gap: str) -> list[str]:
    """The lines, with names shortened to fit *width*, but not below *least* characters (0: not at all)."""
    cells = [list(column) for column in zip(table.header, *table.rows, strict=True)]
    widths = [max(map(len, column)) for column in cells]
    named = [place for place, name in enumerate(table.header) if name in table.names]
    excess = sum(widths) + len(gap) * (len(widths) - 1) - width if width else 0
    while excess > 0 and (longest := max(named, key=widths.__getitem__, default=None)) is not None and widths[longest] > least:
        widths[longest] -= 1
        excess -= 1
    aligned = [str.ljust if name in table.left else str.rjust for name in table.header]
    return [
        gap.join(align(elided(cell, size), size) for align, cell, size in zip(aligned, row, widths, strict=True)).rstrip()
        for row in (table.header, *table.rows)
    ]
