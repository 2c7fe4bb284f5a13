"""Writes rows of a store, with names in place of indexes, as CSV and NumPy files."""

import csv
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from corec.engine.outcome import kind_name
from corec.sources.names import Names


def named_rows(rows: np.ndarray, blocks: dict[int, str], names: Names | None) -> np.ndarray:
    """*rows* with block ids in place of indexes.  names: for alerts; adds columns for kind, name and unit."""
    columns = {name: rows[name] for name in rows.dtype.names if name not in ("turn", "row")}
    columns["block"] = _texts([blocks.get(index, "") for index in rows["block"].tolist()])
    if names is not None:
        known = [names.get(id, ("", "")) for id in rows["id"].tolist()]
        columns["kind"] = _texts([kind_name(kind) for kind in rows["kind"].tolist()])
        columns["name"] = _texts([name for name, _ in known])
        columns["unit"] = _texts([unit for _, unit in known])
    out = np.empty(len(rows), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        out[name] = column
    return out


def write_csv(file: Path, rows: np.ndarray) -> None:
    """Write a header and a line for each row; `-` is standard output."""
    with nullcontext(sys.stdout) if str(file) == "-" else file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows.dtype.names)
        writer.writerows(zip(*(_cells(rows[name]) for name in rows.dtype.names), strict=True))


def save_npy(file: Path, rows: np.ndarray) -> None:
    """Write an array that `numpy.load` reads without pickle."""
    with file.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)


def _cells(column: np.ndarray) -> list:
    """A column's values; 32-bit floats as the shortest text that reads back as the same value."""
    return column.astype("U32").tolist() if column.dtype == np.float32 else column.tolist()


def _texts(texts: list[str]) -> np.ndarray:
    return np.array(texts, f"U{max(map(len, texts), default=1) or 1}")
