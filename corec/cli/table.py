"""Rows of text in columns."""

from collections.abc import Sequence


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str] = ()) -> list[str]:
    """A line for the header and one for each row; columns named in *left* stand to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    aligned = [str.ljust if name in left else str.rjust for name in header]
    return [
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
