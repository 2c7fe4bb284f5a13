"""Output streams, and frames put aside: numbered blobs. The oldest are dropped and counted at a bound."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from corec._core.dtypes import ALERT_ANOMALY, ALERT_HIGH, ALERT_LOW, ALERT_MUTED
from corec._core.wire import FRAME_BYTES, encode_frames
from corec.storage.rows import row_checksum

ALERT_STREAM = "corec:alerts"
#: Kinds of alerts whose frames say `estado` true: the sensor answers, or the alert is about a block and carries its score.
ALIVE = (ALERT_HIGH, ALERT_LOW, ALERT_ANOMALY)

_INSERT = {
    "late": "INSERT INTO late VALUES (?, ?, ?, ?, ?, ?, ?)",
    "outbox": "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)",
}


def message_stream(canal: int) -> str:
    return f"corec:messages:{canal}"


def entries(turn: int, messages: np.ndarray | None, alerts: np.ndarray | None) -> list[tuple[Any, ...]]:
    """(turn, stream, time, frames): one for each channel with messages, and one for the alerts.

    Muted alerts are not sent: they are only in the table of alerts.
    """
    rows = []
    if messages is not None and len(messages):
        for canal in np.unique(messages["canal"]).tolist():
            chosen = messages[messages["canal"] == canal]
            frames = encode_frames(chosen["id"], chosen["canal"], chosen["valor"], chosen["estado"])
            rows.append((turn, message_stream(canal), int(chosen["time"].max()), frames))
    if alerts is not None and len(alerts := alerts[alerts["kind"] < ALERT_MUTED]):
        frames = encode_frames(alerts["id"], alerts["canal"], alerts["valor"], np.isin(alerts["kind"], ALIVE))
        rows.append((turn, ALERT_STREAM, int(alerts["time"].max()), frames))
    return rows


def append(
    db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]], bound: int, totals: dict[str, int]
) -> int:
    """Add *rows*, whose last field is frames, and number them. Returns how many there are."""
    if not rows:
        return 0
    first = totals.get(f"{table}_seq", 0) + 1
    numbered = [(seq, *row) for seq, row in enumerate(rows, first)]
    db.executemany(_INSERT[table], [(*row, row_checksum(*row)) for row in numbered])
    totals[f"{table}_seq"] = first + len(rows) - 1
    add(totals, table, len(rows), sum(len(row[-1]) for row in rows))
    if totals[f"{table}_bytes"] > bound:
        _drop_oldest(db, table, bound, totals)
    return len(rows)


def count(totals: dict[str, int], table: str, rows: int) -> None:
    totals[table] = totals.get(table, 0) + rows


def add(totals: dict[str, int], table: str, rows: int, size: int) -> None:
    for key, change in ((table, rows), (f"{table}_bytes", size)):
        totals[key] = totals.get(key, 0) + change


def _drop_oldest(db: sqlite3.Connection, table: str, bound: int, totals: dict[str, int]) -> None:
    """Drop rows until a tenth of the bound is free, so that not every commit has to drop some."""
    excess = totals[f"{table}_bytes"] - bound + bound // 10
    upto = 0
    for seq, turn, size in db.execute(f"SELECT seq, turn, length(frames) FROM {table} ORDER BY seq"):
        if excess <= 0:
            break
        excess -= size
        upto = seq
        count_drop(totals, table, turn, size)
    db.execute(f"DELETE FROM {table} WHERE seq <= ?", (upto,))


def count_drop(totals: dict[str, int], table: str, turn: int, size: int) -> None:
    add(totals, table, -1, -size)
    dropped = f"{table}_frames_dropped"
    totals[dropped] = totals.get(dropped, 0) + size // FRAME_BYTES
    totals[f"{table}_pruned"] = max(turn, totals.get(f"{table}_pruned", 0))
