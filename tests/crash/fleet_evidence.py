"""What a fleet of workers left behind, shard by shard, read without its help; and what the oracle makes of it."""
import json

from corec.streams.redis_keys import fast_stream, normal_stream
from tests.crash import redis_evidence
from tests.crash.folded import fold, rounded
from tests.crash.postgres_evidence import read_moves, read_rows, read_turns

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
    assert json.loads(ledger) == expected.ledger, f"shard {shard}"
    return len(rows)


def gaps(cursor, since, until) -> dict[int, int]:
    """Shard -> the longest time, ms, between two of its commits that reaches into *since* to *until*."""
    cursor.execute(_GAPS, (since, until))
    return dict(cursor.fetchall())
