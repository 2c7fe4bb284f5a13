"""What a killed node left behind, read without its help: the journal's bytes, the store's rows, the acks."""
import json
import sqlite3
import struct
from pathlib import Path
from typing import NamedTuple

from tests.support.oracle.wire import Opened, read_envelope

FILE_HEADER = RECORD_HEADER = 32
RECORD_MAGIC = 0x314A4343


class Accepted(NamedTuple):
    """One batch of the journal."""

    batch: Opened
    arrival: int


def read_journal(folder: Path) -> dict[int, Accepted]:
    """offset -> batch, for every whole record of every file."""
    found: dict[int, Accepted] = {}
    for file in sorted(folder.glob("*.log")):
        data, at = file.read_bytes(), FILE_HEADER
        while at + RECORD_HEADER <= len(data):
            magic, length, offset, arrival = struct.unpack_from("<IIQq", data, at)
            if magic != RECORD_MAGIC or not length:     # the room made ahead, or the seal of a full file
                break
            found[offset] = Accepted(read_envelope(data[at + RECORD_HEADER : at + RECORD_HEADER + length]), arrival)
            at += RECORD_HEADER + length
    return found


def read_acks(file: Path) -> dict[int, int]:
    """offset -> crc32 of the frames that were told to be accepted."""
    data = file.read_bytes()
    return dict(struct.iter_unpack("<QI", data[: len(data) // 12 * 12]))


def read_turns(store: Path) -> list[dict]:
    """Every turn record, in order."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM turns ORDER BY turn")]
    for row in rows:
        row["commands"] = json.loads(row["commands"])
    return rows


def read_rows(store: Path) -> list[tuple]:
    """Every committed aggregate, in the order of its turn."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        names = "turn, block, canal, window, count, mean, min, max, std, errors, messages, fitness, score"
        return db.execute(f"SELECT {names} FROM windows ORDER BY turn, window, block").fetchall()


def read_moves(store: Path) -> list[tuple]:
    """Every fusion and undo of the history: turn, time, what, block, host, failing, entities, inherited."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        names = "turn, time, what, block, host, failing, entities, inherited"
        return db.execute(f"SELECT {names} FROM historia WHERE what IN ('fuse', 'undo') ORDER BY turn, row").fetchall()
