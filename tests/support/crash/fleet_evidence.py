"""What a fleet of workers left behind, shard by shard, read without its help; and what the oracle makes of it."""
import json

from corec.streams.redis.keys import fast_stream, normal_stream
from tests.support.crash import redis_evidence
from tests.support.crash.folded import fold, rounded
from tests.support.crash.postgres_evidence import read_moves, read_rows, read_turns

_GAPS = """SELECT shard, max(gap) FROM (SELECT shard, created, created - lag(created) OVER (PARTITION BY shard ORDER BY turn) AS gap
 FROM turns) AS each WHERE created >= %s AND created - gap <= %s GROUP BY shard"""


def compare(cursor, client, config, shard) -> int:
    """The rows, the history and the ledger of a shard are what the oracle makes of its streams: none more, none less."""
    cursor.execute("SELECT turn, ledger FROM shards WHERE instance_id = %s AND shard = %s", (config["flota"], shard))
    upto, ledger = cursor.fetchone()
    where = f"instance_id = '{config['flota']}' AND shard = {shard} AND turn <= {upto}"
    turns, rows = read_turns(cursor, where), read_rows(cursor, where)
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    assert all(before["to_offset"] == after["from_offset"] for before, after in zip(turns, turns[1:]))
    streams = redis_evidence.read_streams(client, (fast_stream(shard), normal_stream(shard)))
    expected = fold(config, turns, lambda turn: redis_evidence.batches_of(turn, streams))
    assert [rounded(row) for row in rows] == expected.rows, f"shard {shard}"
    assert read_moves(cursor, where) == expected.moves, f"shard {shard}"
    assert json.loads(ledger) == expected.ledger, (f"shard {shard}", json.loads(ledger), expected.ledger)
    return len(rows)


def gaps(cursor, since, until) -> dict[int, int]:
    """Shard -> the longest time, ms, between two of its commits that reaches into *since* to *until*."""
    cursor.execute(_GAPS, (since, until))
    return dict(cursor.fetchall())


def assert_all_there(fleet) -> None:
    """Every reading that was sent was folded once, or refused as a repeat of one that was, and is in one row once its window has closed."""
    fleet.wait(lambda: counted(fleet) == fleet.sent, 60, lambda: f"{counted(fleet)} of {fleet.sent}")
    fleet.wait(lambda: in_rows(fleet)[0] + late(fleet) == fleet.sent, 60, lambda: f"{in_rows(fleet)}, {late(fleet)} of {fleet.sent}")
    _, rows, distinct = in_rows(fleet)
    assert rows == distinct


def in_rows(fleet):
    """Readings in windows that have closed; the first rows of these (others amend them), and their blocks and moments."""
    with fleet.connected() as cursor:
        cursor.execute("SELECT coalesce(sum(count), 0)::bigint, count(fitness), count(DISTINCT (id, timestamp)) FILTER (WHERE fitness"
                       " IS NOT NULL) FROM bloques"
                       " WHERE instance_id = 'planta'")  # fmt: skip
        return cursor.fetchone()


def late(fleet):
    return sum(ledger["late"] for ledger in ledgers(fleet))


def counted(fleet):
    """Readings, each once."""
    return sum(ledger["in"] - ledger["rejected_repeated"] for ledger in ledgers(fleet))


def ledgers(fleet):
    with fleet.connected() as cursor:
        cursor.execute("SELECT ledger FROM shards WHERE instance_id = 'planta'")
        return [json.loads(row[0]) for row in cursor.fetchall()]
