"""Small nodes on PostgreSQL, and what they stored there."""
from corec.config import parse
from tests.support.nodes import SMALL


def on(address, **changes):
    """The small configuration with this db_config."""
    return parse({**SMALL, "db_config": address, **changes})


def stored(database, postgres):
    """What is in bloques: readings over all rows, and rows that stand twice."""
    with postgres.connected(database["dbname"]) as cursor:
        cursor.execute('SELECT coalesce(sum("count" + errors), 0)::bigint FROM bloques')
        (total,) = cursor.fetchone()
        cursor.execute('SELECT count(*) FROM (SELECT FROM bloques GROUP BY block, "timestamp", turn HAVING count(*) > 1) AS twice')
        return total, cursor.fetchone()[0]


def folded(nucleus):
    return nucleus.pipeline.pending == 0 and nucleus.store.state.ledger.get("in", 0)
