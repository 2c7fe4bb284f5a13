"""What one accepted batch of 1,000 readings costs: bytes that reach the disk and CPU, journal against SQLite.

    PYTHONPATH=. python tests/support/faults/flash_cost.py [FOLDER]     prints the table of docs/decisions/0001

FOLDER lies on the disk to measure; the disk should have nothing else to do.
"""

import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from corec._core.wire import encode_frames, pack_envelope
from corec.streams.journal import Journal

BATCHES = 4_000
FRAMES = 1_000
RUNS = 5
#: Both are trimmed this often, as behind a snapshot.
TRIM_EVERY = 1_000


def batches() -> list[bytes]:
    """Envelopes as a gateway's sensors make them: random ids of a million, values around a level with noise."""
    rng = np.random.default_rng(7)
    made = []
    for sequence in range(50):
        ids = rng.integers(0, 1_000_000, FRAMES)
        frames = encode_frames(ids, 1, np.round(rng.normal(20, 3, FRAMES), 2), 1)
        made.append(pack_envelope(frames, producer=1, epoch=1, sequence=sequence * FRAMES, time=0))
    return made


def into_journal(folder: Path) -> Callable[[list[bytes], bool], None]:
    journal = Journal(folder)

    def commit(group: list[bytes], trim: bool) -> None:
        journal.append(group, 0)
        journal.sync()
        if trim:
            journal.trim(journal.last)

    return commit


def into_sqlite(folder: Path) -> Callable[[list[bytes], bool], None]:
    db = sqlite3.connect(folder / "journal.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE journal (entry INTEGER PRIMARY KEY AUTOINCREMENT, arrival INTEGER, payload BLOB)")

    def commit(group: list[bytes], trim: bool) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO journal (arrival, payload) VALUES (0, ?)", [(payload,) for payload in group])
        if trim:
            db.execute("DELETE FROM journal WHERE entry < (SELECT max(entry) FROM journal)")
        db.execute("COMMIT")

    return commit


def measure(commit: Callable[[list[bytes], bool], None], size: int, folder: Path) -> tuple[float, float, float]:
    """(bytes the device wrote, CPU us) a batch, and the median group in ms."""
    made, taken = batches(), []
    os.sync()
    device, cpu = _device_bytes(folder), _cpu()
    for first in range(0, BATCHES, size):
        start = time.perf_counter()
        commit([made[(first + i) % len(made)] for i in range(size)], first % TRIM_EVERY == 0)
        taken.append(time.perf_counter() - start)
    cpu = _cpu() - cpu
    os.sync()
    return (_device_bytes(folder) - device) / BATCHES, 1e6 * cpu / BATCHES, 1e3 * sorted(taken)[len(taken) // 2]


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _device_bytes(folder: Path) -> int:
    """All that was written to the device of *folder*, the file system's own journal included."""
    number = folder.stat().st_dev
    fields = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
    return 512 * int(fields[6])


def main(place: str = ".") -> None:
    payload = sum(map(len, batches())) / len(batches())
    print(f"{BATCHES} batches of {FRAMES} readings, {payload:,.0f} bytes each compressed; least of {RUNS} runs")
    print("| log | batches a sync | bytes to the device a batch | x payload | CPU us a batch | group p50 ms |")
    print("|---|---|---|---|---|---|")
    for size in (1, 5, 20):
        for name, way in (("SQLite, WAL", into_sqlite), ("own log", into_journal)):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                commit = way(Path(folder))
                runs = [measure(commit, size, Path(folder)) for _ in range(RUNS + 1)][1:]  # the first makes the files
            device, cpu, group = map(min, zip(*runs, strict=True))
            print(f"| {name} | {size} | {device:,.0f} | {device / payload:.1f} | {cpu:.0f} | {group:.2f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
