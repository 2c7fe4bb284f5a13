"""What one accepted batch of 1,000 readings costs: bytes that reach the disk and CPU, journal against SQLite.

    python tests/faults/flash_cost.py          prints the table of docs/decisions/0001
"""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from corec._core.wire import encode_frames, pack_envelope

BATCHES = 4_000
FRAMES = 1_000
RUNS = 5
PAGE = 4096


def batches() -> list[bytes]:
    """Envelopes as a gateway's sensors make them: random ids of a million, values around a level with noise."""
    rng = np.random.default_rng(7)
    made = []
    for sequence in range(50):
        ids = rng.integers(0, 1_000_000, FRAMES)
        frames = encode_frames(ids, np.ones(FRAMES, np.int8), np.round(rng.normal(20, 3, FRAMES), 2), np.ones(FRAMES, np.uint8))
        made.append(pack_envelope(frames, producer=1, epoch=1, sequence=sequence * FRAMES, time=0))
    return made


def into_journal(folder: Path) -> Callable[[list[bytes]], None]:
    from corec.streams.journal import Journal

    journal = Journal(folder / "journal")

    def commit(group: list[bytes]) -> None:
        journal.append(group, 0)
        journal.sync()

    return commit


def into_sqlite(folder: Path) -> Callable[[list[bytes]], None]:
    db = sqlite3.connect(folder / "journal.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE journal (entry INTEGER PRIMARY KEY, arrival INTEGER, payload BLOB)")

    def commit(group: list[bytes]) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO journal (arrival, payload) VALUES (0, ?)", [(payload,) for payload in group])
        db.execute("COMMIT")

    return commit


WAYS = {"journal": into_journal, "sqlite": into_sqlite}


def best(way: str, size: int, folder: Path) -> tuple[float, float]:
    """The least of a few runs: what else the machine does only adds."""
    results = []
    for number in range(RUNS):
        (folder / str(number)).mkdir()
        results.append(run(way, size, folder / str(number)))
    return min(cpu for cpu, _ in results), min(group for _, group in results)


def run(way: str, size: int, folder: Path) -> tuple[float, float]:
    """CPU us a batch and the median group in ms, in groups of *size* batches."""
    commit, made = WAYS[way](folder), batches()
    before, taken = _cpu(), []
    for first in range(0, BATCHES, size):
        start = time.perf_counter()
        commit([made[(first + i) % len(made)] for i in range(size)])
        taken.append(time.perf_counter() - start)
    return 1e6 * (_cpu() - before) / BATCHES, 1e3 * sorted(taken)[len(taken) // 2]


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def synced_bytes(trace: Path) -> int:
    """Whole pages, each counted as often as a sync found it changed."""
    from powercut import Op, read_trace

    changed: dict[str, set[int]] = {}
    names: dict[int, str] = {}
    pages = 0
    for event in read_trace(trace):
        if event.op is Op.OPEN:
            names[event.handle] = event.path
        elif event.op is Op.WRITE and not names[event.handle].endswith("-shm"):
            touched = range(event.position // PAGE, (event.position + len(event.data) - 1) // PAGE + 1)
            changed.setdefault(names[event.handle], set()).update(touched)
        elif event.op is Op.SYNC:
            pages += len(changed.pop(names[event.handle], ()))
    return pages * PAGE


def main() -> None:
    from shim import build, environment

    payload = sum(map(len, batches())) / len(batches())
    print(f"{BATCHES} batches of {FRAMES} readings, {payload:,.0f} bytes each compressed")
    print("| log | batches a sync | bytes to disk a batch | x payload | CPU us a batch | group p50 ms |")
    print("|---|---|---|---|---|---|")
    for size in (1, 5, 20):
        for way in WAYS:
            with tempfile.TemporaryDirectory(dir=".") as place:
                folder = Path(place).resolve()
                (folder / "traced").mkdir()
                (folder / "timed").mkdir()
                trace = folder / "trace"
                command = [sys.executable, __file__, way, str(size), str(folder / "traced"), str(trace)]
                subprocess.run(command, check=True, env=environment(build(folder)))
                cpu, group = best(way, size, folder / "timed")
                each = synced_bytes(trace) / BATCHES
                print(f"| {way} | {size} | {each:,.0f} | {each / payload:.2f} | {cpu:.0f} | {group:.2f} |")


def traced(way: str, size: str, folder: str, trace: str) -> None:
    import ctypes

    shim = ctypes.CDLL(None)
    shim.iotrace_start(folder.encode(), trace.encode())
    run(way, int(size), Path(folder))
    shim.iotrace_stop()
    os._exit(0)  # what closing would still write is not the batches'


if __name__ == "__main__":
    traced(*sys.argv[1:]) if len(sys.argv) > 1 else main()
