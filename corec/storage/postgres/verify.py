"""Check a node's rows in PostgreSQL: the sequence of turns, and the rows that each of them committed."""

from collections.abc import Iterator
from typing import Any

from corec.common.text import first_of
from corec.storage.postgres.read import PostgresReader

_OWN = "instance_id = %(instance)s AND shard = %(shard)s"
_GAPS = f"""SELECT turn, from_offset, before, upto FROM (SELECT turn, from_offset, lag(turn) OVER w AS before, lag(to_offset) OVER w AS upto
 FROM turns WHERE {_OWN} WINDOW w AS (ORDER BY turn)) AS t WHERE turn <> before + 1 OR from_offset <> upto"""
_END = f"""SELECT s.turn, s.to_offset, t.turn, t.to_offset FROM (SELECT turn, to_offset FROM shards WHERE {_OWN}) AS s,
 (SELECT turn, to_offset FROM turns WHERE {_OWN} ORDER BY turn DESC LIMIT 1) AS t WHERE (s.turn, s.to_offset) <> (t.turn, t.to_offset)"""
#: Rows of an old turn may be in partitions that are dropped already, and those of a moved one rolled up: turns of this month count.
_COUNTS = """WITH held AS (SELECT turn, count(*) AS rows FROM (SELECT turn FROM {table} WHERE {own} AND turn >= %(first)s
  UNION ALL SELECT turn FROM {table}_aside WHERE {own} AND turn >= %(first)s) AS r GROUP BY turn)
SELECT t.turn, t.{column}, coalesce(held.rows, 0) FROM turns AS t LEFT JOIN held USING (turn)
 WHERE t.instance_id = %(instance)s AND t.shard = %(shard)s AND t.turn >= %(first)s AND t.{column} <> coalesce(held.rows, 0)"""
_FIRST = f"""SELECT greatest((SELECT coalesce(min(turn), 0) FROM turns WHERE {_OWN} AND committed >= date_trunc('month', now())),
 (SELECT coalesce((moved::json->>'turn')::bigint, 0) + 1 FROM shards WHERE {_OWN}))"""


def verify(reader: PostgresReader) -> list[str]:
    """Every problem found, as text."""
    return [problem for check in (_turns, _end, _rows) for problem in first_of(list(check(reader)))]


def _ask(reader: PostgresReader, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    instance, shard = reader.key
    return reader.session.query(sql, {"instance": instance, "shard": shard, **values})


def _turns(reader: PostgresReader) -> Iterator[str]:
    for turn, since, before, upto in _ask(reader, _GAPS):
        yield f"turn {before} up to offset {upto} is followed by turn {turn} from {since}"


def _end(reader: PostgresReader) -> Iterator[str]:
    for turn, offset, last, upto in _ask(reader, _END):
        yield f"expected the newest turn to be {turn} up to offset {offset}, got turn {last} up to {upto}"


def _rows(reader: PostgresReader) -> Iterator[str]:
    ((first,),) = _ask(reader, _FIRST)
    for table, column in (("bloques", "windows"), ("alerts", "alerts")):
        for turn, expected, found in _ask(reader, _COUNTS.format(table=table, column=column, own=_OWN), first=first):
            yield f"turn {turn} committed {expected} rows to {table}, {found} are there"
