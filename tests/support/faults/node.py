"""A node reduced to its storage: what every entry, row and segment must be follows from its number.

Used by the tests, and as a program under iotrace.c:  node.py power TRACE FOLDER
                                                      node.py faults KIND FOLDER
"""

import ctypes
import random
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from corec._core.dtypes import AGGREGATE, ALERT, MESSAGE
from corec.errors import CoreCError
from corec.storage.base import Block, LateBatch, StoreBase, TurnRecord
from corec.storage.snapshots import Snapshots
from corec.storage.sqlite.recovery import open_store
from corec.storage.sqlite.retention import SqliteRetention
from corec.storage.sqlite.verify import verify as verify_store
from corec.streams.journal import Journal

START_MS = 1_700_000_000_000 // 60_000 * 60_000
BLOCKS = 3
SEGMENTS = 6
SEGMENT_BYTES = 2_000  # of the journal's files
TURNS_A_SNAPSHOT = 4


def payload(offset: int) -> bytes:
    rng = random.Random(offset)
    return rng.randbytes(rng.randrange(1, 300))


def arrival(offset: int) -> int:
    return START_MS + offset


def blob(segment: int, turn: int) -> bytes:
    return random.Random(segment * 1_000_003 + turn).randbytes(150)


def changed_at(segment: int, turn: int) -> int:
    """The last turn up to *turn* that is a snapshot's and changed *segment*."""
    snapshots = range(TURNS_A_SNAPSHOT, turn + 1, TURNS_A_SNAPSHOT)
    changes = [s for s in snapshots if s == TURNS_A_SNAPSHOT or (s // TURNS_A_SNAPSHOT + segment) % 3 == 0]
    return changes[-1]


def offset_of(turn: int) -> int:
    return sum(1 + (n % 3 == 0) for n in range(1, turn + 1))


def record(turn: int) -> TurnRecord:
    commands = [{"orden": "reparar", "bloque": f"enjambre/{turn % BLOCKS}"}] if turn % 5 == 0 else []
    return TurnRecord(turn, offset_of(turn - 1), offset_of(turn), turn % 256, START_MS + 20_000 * turn, commands, "c0de", turn)


def ledger(turn: int) -> dict[str, int]:
    return {"in": 10 * offset_of(turn), "stored": 10 * offset_of(turn)}


def aggregates(turn: int) -> np.ndarray:
    rows = np.zeros(BLOCKS, AGGREGATE)
    rows["block"], rows["canal"] = np.arange(BLOCKS), 1
    rows["window"] = START_MS + 20_000 * turn
    rows["count"] = turn + np.arange(BLOCKS)
    rows["mean"] = np.random.default_rng(turn).normal(20, 2, BLOCKS)
    rows["min"], rows["max"] = rows["mean"] - 1, rows["mean"] + 1
    rows["std"], rows["fitness"], rows["score"] = 0.5, 0.9, np.nan
    return rows


def alerts(turn: int) -> np.ndarray:
    rows = np.zeros(turn % 3, ALERT)
    rows["time"], rows["id"], rows["kind"], rows["valor"] = START_MS + turn, turn, 1, turn / 3
    return rows


def messages(turn: int) -> np.ndarray:
    rows = np.zeros(turn % 4, MESSAGE)
    rows["id"], rows["canal"], rows["valor"], rows["time"] = turn, 1 + np.arange(len(rows)) % 2, turn / 7, START_MS + turn
    return rows


def late(turn: int) -> list[LateBatch]:
    return [LateBatch(0, START_MS + turn, b"0123456789" * 3, "skew")] if turn % 6 == 0 else []


class Node:
    """Journal, store and snapshots of one folder, recovered in the order a node does it."""

    def __init__(self, folder: Path, mark=lambda text: None) -> None:
        self._mark = mark
        self.snapshots = Snapshots(folder / "snapshots")
        self.snapshot = self.snapshots.load()
        base = StoreBase(self.snapshot.turn, self.snapshot.offset) if self.snapshot else StoreBase()
        self.store = open_store(folder / "store.db", base=base, late_bytes=100, messages_bytes=400)
        if self.snapshot and self.snapshot.turn > self.store.state.turn:
            self.snapshot = self.snapshots.load(self.store.state.turn)
        self.journal = Journal(folder / "journal", floor=self.store.state.offset, segment_bytes=SEGMENT_BYTES)
        self.store.set_blocks([Block(i, f"enjambre/{i}", 1, 1000) for i in range(BLOCKS)])
        self.retention = SqliteRetention(self.store, roll_up_after_ms=120_000, slice_rows=8)

    def run(self, turns: int) -> None:
        while self.store.state.turn < turns:
            self.turn(self.store.state.turn + 1)

    def turn(self, turn: int) -> None:
        self.accept(offset_of(turn))
        self.store.commit(record(turn), aggregates=aggregates(turn), alerts=alerts(turn), late=late(turn),
                          messages=messages(turn), ledger=ledger(turn))  # fmt: skip
        self._mark(f"committed {turn}")
        if turn % TURNS_A_SNAPSHOT == 0:
            self.take_snapshot(turn)
        if turn % 3 == 0:
            self.retention.run(START_MS + 20_000 * turn, self.journal.first, budget_s=60)

    def accept(self, upto: int) -> None:
        offsets = range(self.journal.last + 1, upto + 1)
        if not offsets:
            return
        self.journal.append([payload(offset) for offset in offsets], [arrival(offset) for offset in offsets])
        self._mark(f"accepted {self.journal.sync()}")

    def take_snapshot(self, turn: int) -> None:
        last = self.snapshots.last_turn or 0
        changed = [n for n in range(SEGMENTS) if changed_at(n, turn) > last]
        offset = self.store.state.offset
        generation = self.snapshots.write(b"meta %d" % turn, [(n, blob(n, changed_at(n, turn))) for n in changed], turn, offset)
        self._mark(f"snapshot {turn}")
        if self.store.note_snapshot(turn, offset, generation):
            self.journal.trim(self.snapshots.safe_offset)

    def close(self) -> None:
        self.journal.close()
        self.store.close()


class Promise:
    """What a node has said it holds."""

    def __init__(self, marks: list[str]) -> None:
        said = {"accepted": 0, "committed": 0, "snapshot": 0}
        for mark in marks:
            kind, number = mark.split()
            said[kind] = int(number)
        self.accepted, self.committed, self.snapshot = said.values()


def check(folder: Path, promise: Promise) -> None:
    """Recover the node in *folder*, see that it holds what was promised, and let it go on."""
    node = Node(folder)
    try:
        _check_journal(node, promise)
        _check_store(node, promise, folder)
        _check_snapshot(node, promise)
        node.run(node.store.state.turn + TURNS_A_SNAPSHOT + 1)
        assert verify_store(folder / "store.db") == []
    finally:
        node.close()
    assert not list(folder.glob("*damaged*")) and not list(folder.glob("*/*damaged*"))


def _check_journal(node: Node, promise: Promise) -> None:
    start = node.snapshot.offset if node.snapshot else 0
    assert node.journal.last >= promise.accepted, (node.journal.last, promise.accepted)
    assert node.journal.first <= start + 1
    after, offsets = start, []
    while entries := node.journal.read(after, 700):
        for entry in entries:
            assert (entry.payload, entry.arrival) == (payload(entry.offset), arrival(entry.offset))
            offsets.append(entry.offset)
        after = entries[-1].offset
    assert offsets == list(range(start + 1, node.journal.last + 1))
    assert node.journal.gaps == []


def _check_store(node: Node, promise: Promise, folder: Path) -> None:
    assert verify_store(folder / "store.db") == []
    state = node.store.state
    assert state.turn >= promise.committed
    assert state.offset == offset_of(state.turn) <= node.journal.last
    assert dict(state.ledger) == (ledger(state.turn) if state.turn else {})
    rows = node.store.history("*", resolution="minute")
    assert rows["count"].sum() == sum(aggregates(turn)["count"].sum() for turn in range(1, state.turn + 1))
    assert len(node.store.alerts()) == sum(len(alerts(turn)) for turn in range(1, state.turn + 1))
    for found in node.store.turns():
        assert found == record(found.turn)


def _check_snapshot(node: Node, promise: Promise) -> None:
    assert (node.snapshot.turn if node.snapshot else 0) >= promise.snapshot
    if node.snapshot:
        turn = node.snapshot.turn
        assert node.snapshot.meta == b"meta %d" % turn
        assert dict(node.snapshot.segments) == {n: blob(n, changed_at(n, turn)) for n in range(SEGMENTS)}


def power(trace: str, folder: str, turns: int) -> None:
    """Run, stop cleanly, run on; every change to *folder* goes to *trace*."""
    shim = ctypes.CDLL(None)
    mark = lambda text: shim.iotrace_mark(text.encode())  # noqa: E731
    shim.iotrace_start(folder.encode(), trace.encode())
    for upto in (turns // 2, turns):
        node = Node(Path(folder), mark)
        node.run(upto)
        node.close()
    shim.iotrace_stop()


def faults(kind: str, folder: str, turns: int, step: int) -> None:
    """Let the n-th write or sync fail, and three after it, for each n; then the node must go on by itself."""
    shim = ctypes.CDLL(None)
    at, reached = 1, True
    while reached:
        place = Path(folder) / f"{kind}{at}"
        place.mkdir()
        shim.iotrace_start(str(place).encode(), b"/dev/null")
        shim.iotrace_fail(ctypes.c_char(kind.encode()), at, 4)
        _run_through(place, turns)
        reached = shim.iotrace_count(ctypes.c_char(kind.encode())) >= at
        shim.iotrace_stop()
        check(place, Promise([f"accepted {offset_of(turns)}", f"committed {turns}"]))
        at += step
    print(f"{at - step} {kind}")


def _run_through(place: Path, turns: int) -> None:
    """As a supervisor would: an error of the disk stops the pass, not the node; starting is tried again."""
    node = None
    for _ in range(40):
        with suppress(CoreCError):
            node = node or Node(place)
            node.run(turns)
            break
    assert node is not None and node.store.state.turn >= turns
    with suppress(CoreCError):
        node.close()


if __name__ == "__main__":
    {"power": power, "faults": faults}[sys.argv[1]](*sys.argv[2:4], *map(int, sys.argv[4:]))
