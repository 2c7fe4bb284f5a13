"""Months that are over keep a row a minute: the same that an embedded node rolls its windows up to."""
import numpy as np
import pytest

from corec._core.dtypes import AGGREGATE
from corec.config.servers import DbServer
from corec.storage.moments import merge_windows
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.compact import compact_month, fine_months

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

APRIL = 1_743_465_600_000   # 2025-04-01 00:00 UTC, ms
COLUMNS = ("count", "mean", "min", "max", "std", "errors", "messages", "fitness", "score")


@pytest.fixture
def server(database):
    server = DbServer(dbname=database["dbname"], user=database["user"], password=None, host=database["host"], port=database["port"])
    postgres_schema.migrate_if_allowed(server)
    return server


def some_windows():
    """Three minutes of two blocks far from zero, some windows empty."""
    dice = np.random.default_rng(4)
    rows = np.zeros(360, AGGREGATE)
    rows["block"], rows["canal"], rows["window"] = np.tile([3, 7], 180), 1, APRIL + np.repeat(np.arange(180), 2) * 1000
    rows["count"], rows["errors"], rows["messages"] = dice.integers(0, 5, 360), dice.integers(0, 3, 360), dice.integers(0, 9, 360)
    rows["mean"], rows["std"] = 101_325 + dice.normal(0, 5, 360), dice.random(360)
    rows["min"], rows["max"] = rows["mean"] - 9, rows["mean"] + 9
    rows["fitness"], rows["score"] = dice.random(360), dice.random(360) * 8
    for name in ("mean", "std", "min", "max"):
        rows[name][rows["count"] == 0] = np.nan
    return rows


def insert(cursor, rows):
    for row in rows:
        measured = [None if row[name] != row[name] else row[name].item() for name in COLUMNS]
        cursor.execute("INSERT INTO bloques (id, canal, num_entidades, timestamp, instance_id, shard, turn, span, block,"
                       ' "count", mean, "min", "max", std, errors, messages, fitness, score) VALUES'
                       " (%s, 1, 1000, to_timestamp(%s / 1000.0), 'n', 0, 5, 0, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                       (f"s/{row['block']}", int(row["window"]), int(row["block"]), *measured))  # fmt: skip


@pytest.mark.parametrize("canales", [[], [1, 2]])
def test_a_month_keeps_a_row_a_minute(server, postgres, canales):
    # Given a month of windows, partitioned by channel or not
    rows = some_windows()
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("SELECT corec_make_month('bloques', '2025-04-01', %s::smallint[])", (canales,))
        insert(cursor, rows)
    assert fine_months(server, APRIL + 40 * 86_400_000) == ["2025-04"] and fine_months(server, APRIL) == []
    # When it is compacted, twice
    assert (compact_month(server, "2025-04"), compact_month(server, "2025-04")) == (6, None)
    # Then it has what an embedded node makes of the same windows, in the same partitions
    expected = merge_windows(rows, 60_000)
    with postgres.connected(server.dbname) as cursor:
        cursor.execute('SELECT "' + '", "'.join(COLUMNS) + '" FROM bloques WHERE span = 60000 ORDER BY timestamp, block')
        found = np.array(cursor.fetchall(), np.float64)
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'bloques_2025_04'::regclass")
        assert cursor.fetchone()[0] == (len(canales) + 1 if canales else 0)
    for place, name in enumerate(COLUMNS):
        assert np.allclose(found[:, place], expected[name], rtol=1e-6, equal_nan=True), name


def test_a_month_that_is_not_there_is_nothing_to_do(server):
    assert compact_month(server, "2019-01") is None
