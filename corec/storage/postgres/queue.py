"""What a turn stores besides aggregates and alerts: output streams, frames put aside, and events of blocks.

Streams and frames are numbered. The oldest are dropped and counted at a bound.
"""

from collections.abc import Sequence
from typing import Any

from corec._core.wire import FRAME_BYTES
from corec.storage.historia import Happening
from corec.storage.outbox import add, count

_COLUMNS = {"late": 'turn, "time", arrival, cause, frames', "outbox": 'turn, stream, "time", frames'}
_DROP = """WITH sized AS (SELECT seq, sum(length(frames)) OVER (ORDER BY seq) AS upto FROM {table}
 WHERE instance_id = %(instance)s AND shard = %(shard)s),
gone AS (DELETE FROM {table} WHERE instance_id = %(instance)s AND shard = %(shard)s
 AND seq <= (SELECT coalesce(min(seq), 0) FROM sized WHERE upto >= %(excess)s) RETURNING turn, length(frames) AS size)
SELECT count(*), coalesce(sum(size), 0), coalesce(max(turn), 0) FROM gone"""


def append(cursor: Any, table: str, key: tuple[str, int], rows: Sequence[tuple[Any, ...]], bound: int, totals: dict[str, int]) -> int:
    """Add *rows*, whose last field is frames, in the transaction of their turn. Returns how many there are."""
    if not rows:
        return 0
    first = totals.get(f"{table}_seq", 0) + 1
    insert(cursor, table, key, [(seq, *row) for seq, row in enumerate(rows, first)])
    totals[f"{table}_seq"] = first + len(rows) - 1
    add(totals, table, len(rows), sum(len(row[-1]) for row in rows))
    if totals[f"{table}_bytes"] > bound:
        _drop_oldest(cursor, table, key, totals[f"{table}_bytes"] - bound + bound // 10, totals)
    return len(rows)


def insert(cursor: Any, table: str, key: tuple[str, int], numbered: Sequence[tuple[Any, ...]]) -> None:
    """Add rows that have a number already."""
    from psycopg2.extras import execute_values

    execute_values(cursor, f"INSERT INTO {table} (instance_id, shard, seq, {_COLUMNS[table]}) VALUES %s",
                   [(*key, *row) for row in numbered])  # fmt: skip


def _drop_oldest(cursor: Any, table: str, key: tuple[str, int], excess: int, totals: dict[str, int]) -> None:
    cursor.execute(_DROP.format(table=table), {"instance": key[0], "shard": key[1], "excess": excess})
    gone, size, turn = (int(value) for value in cursor.fetchone())
    add(totals, table, -gone, -size)
    dropped = f"{table}_frames_dropped"
    totals[dropped] = totals.get(dropped, 0) + size // FRAME_BYTES
    totals[f"{table}_pruned"] = max(turn, totals.get(f"{table}_pruned", 0))


def note(cursor: Any, key: tuple[str, int], turn: int, events: Sequence[tuple[Any, ...]], totals: dict[str, int]) -> None:
    """Add the events of a turn, (time, block, what, ...) each."""
    if events:
        keep(cursor, key, [Happening(event[0], turn, row, *event[1:]) for row, event in enumerate(events)])
        count(totals, "historia", len(events))


def keep(cursor: Any, key: tuple[str, int], happenings: Sequence[Happening]) -> None:
    """Add rows of `historia`."""
    from psycopg2.extras import execute_values

    columns = ", ".join(f'"{name}"' for name in Happening._fields)
    rows = [(*key, *(_number(value) for value in happening)) for happening in happenings]
    execute_values(cursor, f"INSERT INTO historia (instance_id, shard, {columns}) VALUES %s", rows)


def _number(value: Any) -> Any:
    """NaN as None, and NumPy numbers as Python numbers."""
    value = value.item() if hasattr(value, "item") else value
    return None if value != value else value
