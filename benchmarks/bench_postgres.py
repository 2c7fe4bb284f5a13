"""Rows into PostgreSQL: binary COPY packed by CoreC beside what a Python program has.

The server is the tests' own (tests/support/servers/postgres.py) or the one at COREC_TEST_PG.  Each side writes the same
aggregates into a table of the same columns and index; seconds are those of the wall, server included.
"""
import io
import math
import struct
import time

import numpy as np
import pytest

from benchmarks.harness import race
from corec._core.dtypes import AGGREGATE
from corec.config.servers import DbServer
from corec.storage.base import StoredBlock, TurnRecord
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.copy import BLOQUES
from corec.storage.postgres.store import PostgresStore

pytest_plugins = ["tests.support.servers.postgres"]

ROWS, BLOCKS = 20_000, 1_000
TIMES = 5
COLUMNS = ", ".join(f'"{name}"' for name in BLOQUES.columns)
_TUPLE = struct.Struct("!h")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    found = np.zeros(ROWS, AGGREGATE)
    found["block"] = np.arange(ROWS) % BLOCKS
    found["canal"], found["count"], found["messages"] = 1, 1000, rng.integers(0, 100, ROWS)
    found["window"] = int(time.time()) * 1000 + np.arange(ROWS) // BLOCKS * 1000
    for name in ("mean", "min", "max", "std", "fitness", "score"):
        found[name] = rng.normal(20, 3, ROWS)
    found["min"][::50] = np.nan
    return found


@pytest.fixture(scope="module")
def blocks():
    return [StoredBlock(index, f"enjambre_sensor/{index}", 1, 1000) for index in range(BLOCKS)]


@pytest.fixture(scope="module")
def server(postgres):
    found = DbServer(dbname=postgres.new_database(), user=postgres.user, password=None, host=postgres.host, port=postgres.port)
    postgres_schema.migrate(found)
    return found


def as_tuples(rows, blocks):
    """What a Python program would hand to its driver."""
    ids, sizes = {block.index: block.id for block in blocks}, {block.index: block.entities for block in blocks}
    own = [[none(value) for value in rows[name].tolist()] for name in BLOQUES.columns[7:]]
    of = rows["block"].tolist()
    return [("corec1", 0, 1, 0, ids[block], sizes[block], stamp(ms), *measures)
            for block, ms, *measures in zip(of, rows["window"].tolist(), *own)]  # fmt: skip


def none(value):
    return None if value != value else value


def stamp(ms):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC)


def as_text(rows, blocks):
    """Rows in the text format of COPY."""
    lines = ("\t".join("\\N" if value is None else str(value) for value in row) for row in as_tuples(rows, blocks))
    return io.BytesIO(("\n".join(lines) + "\n").encode())


def as_binary(rows, blocks):
    """Rows in the binary format of COPY, packed field by field with struct."""
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    kinds = ["t", "h", "q", "i", "t", "i", "m", "f", "h", "q", "q", "d", "f", "f", "d", "q", "q", "f"]
    for row in as_tuples(rows, blocks):
        parts.append(_TUPLE.pack(len(row)))
        parts += [field(kind, value) for kind, value in zip(kinds, row)]
    return io.BytesIO(b"".join([*parts, b"\xff\xff"]))


def field(kind, value):
    if value is None:
        return b"\xff\xff\xff\xff"
    if kind == "t":
        raw = value.encode()
        return struct.pack("!i", len(raw)) + raw
    if kind == "m":
        return struct.pack("!iq", 8, round((value.timestamp() - 946_684_800) * 1_000_000))
    return struct.pack("!i" + kind, struct.calcsize("!" + kind), value)


def sides(cursor, rows, blocks):
    from psycopg2.extras import execute_values

    names = BLOQUES.names(blocks)

    def ours():
        BLOQUES.copy(cursor, BLOQUES.pack(rows, names, BLOQUES.shared("corec1", 0, 1)))

    return {
        "ours": ours,
        "COPY binary, struct": lambda: cursor.copy_expert(f"COPY bloques ({COLUMNS}) FROM STDIN (FORMAT binary)", as_binary(rows, blocks)),
        "COPY text": lambda: cursor.copy_expert(f"COPY bloques ({COLUMNS}) FROM STDIN", as_text(rows, blocks)),
        "execute_values": lambda: execute_values(cursor, f"INSERT INTO bloques ({COLUMNS}) VALUES %s", as_tuples(rows, blocks), page_size=1000),
    }  # fmt: skip


def walled(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def test_rows_a_second(report, quick, server, postgres, rows, blocks):
    # Given the same rows, when each way writes them, then ours is at least TIMES as fast as execute_values
    store = PostgresStore(server, instance="bench")  # which makes the partitions
    with postgres.connected(server.dbname) as cursor:
        ways = sides(cursor, rows, blocks)
        for way in ways.values():   # all write the same
            way()
        cursor.execute("SELECT count(*), count(DISTINCT (id, \"timestamp\", mean, \"min\", fitness)) FROM bloques")
        assert cursor.fetchone() == (4 * ROWS, ROWS)
        best = dict.fromkeys(ways, math.inf)
        for _ in range(3 if quick else 10):
            for name, way in ways.items():
                cursor.execute("TRUNCATE bloques")
                best[name] = min(best[name], walled(way))
    store.close()
    rate = {name: ROWS / seconds for name, seconds in best.items()}
    for name in ("COPY binary, struct", "COPY text"):
        report.note("postgres", f"rows of bloques, against {name}", shown(rate["ours"]), shown(rate[name]), rate["ours"] / rate[name])
    report.at_least("postgres", "rows of bloques, against execute_values", TIMES, ours=(rate["ours"], shown(rate["ours"])),
                    yardstick=(rate["execute_values"], shown(rate["execute_values"])))


def test_packing(report, rows, blocks):
    # Given rows in memory, when they are packed, then how fast that is without a server
    names, shared = BLOQUES.names(blocks), BLOQUES.shared("corec1", 0, 1)
    best = race({"ours": lambda: BLOQUES.pack(rows, names, shared), "struct": lambda: as_binary(rows, blocks)}, seconds=1)
    report.note("postgres", "packing a row", f"{best['ours'] / ROWS * 1e9:.0f} ns", f"struct {best['struct'] / ROWS * 1e9:,.0f} ns",
                best["struct"] / best["ours"])


def test_a_commit(report, quick, server, rows, blocks):
    # Given a store, when turns of 1,000 rows are committed, then what one takes
    store = PostgresStore(server, instance="bench-commit")
    store.set_blocks(blocks)
    taken = sorted(walled(lambda: commit(store, rows[:BLOCKS])) for _ in range(20 if quick else 200))
    store.close()
    report.note("postgres", "a commit of 1,000 rows, without fsync", f"p50 {1000 * taken[len(taken) // 2]:.1f} ms",
                f"p99 {1000 * taken[int(0.99 * len(taken))]:.1f} ms")


def commit(store, rows):
    state = store.state
    store.commit(TurnRecord(state.turn + 1, state.offset, state.offset + 1, 0, 0, [], "", int(time.time() * 1000)), aggregates=rows)


def shown(rate):
    return f"{rate / 1000:,.0f} k rows/s"
