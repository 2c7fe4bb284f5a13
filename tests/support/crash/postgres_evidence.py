"""What a killed node left behind in PostgreSQL, read with SQL alone."""
import json

MEASURES = 'mean, "min"::float8, "max"::float8, std, errors, messages, fitness::float8, score::float8'


def read_turns(cursor, where="true") -> list[dict]:
    """Every turn record, in order."""
    cursor.execute(f"SELECT turn, from_offset, to_offset, load_q, tick, commands FROM turns WHERE {where} ORDER BY turn")
    names = [column.name for column in cursor.description]
    return [{**dict(zip(names, row, strict=True)), "commands": json.loads(row[-1])} for row in cursor.fetchall()]


def read_rows(cursor, where="true") -> list[tuple]:
    """Every committed aggregate, in the order of its turn."""
    window = '(extract(epoch FROM "timestamp") * 1000)::bigint'
    cursor.execute(f'SELECT turn, block, canal, {window}, "count", {MEASURES} FROM bloques WHERE {where} ORDER BY turn, "timestamp", block')
    return cursor.fetchall()


def read_moves(cursor, where="true") -> list[tuple]:
    """Every fusion and undo of the history: turn, time, what, block, host, failing, entities, inherited."""
    cursor.execute('SELECT turn, "time", what, block, host, failing, entities, inherited FROM historia'
                   f" WHERE what IN ('fuse', 'undo') AND {where} ORDER BY turn, row")  # fmt: skip
    return cursor.fetchall()
