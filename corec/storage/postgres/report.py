"""The state of CoreC's database, for `corec db status`."""

from typing import Any, NamedTuple

from corec.common.text import amount
from corec.config.servers import DbServer
from corec.config.transport import way_to_postgres
from corec.storage.postgres import replica as postgres_replica
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.session import Session, where

_SHARDS = """SELECT instance_id, shard::text, turn::text, to_char(taken, 'YYYY-MM-DD HH24:MI:SS'), owner FROM shards ORDER BY 1, 2"""
#: Sizes of what lies under a table, its partitions' partitions included.
_PARTITIONS = """SELECT p.relname, (SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint FROM pg_partition_tree(p.oid)),
 (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_partition_tree(p.oid) AS t JOIN pg_class AS c ON c.oid = t.relid
  WHERE t.isleaf)
 FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhrelid
 WHERE i.inhparent IN (SELECT oid FROM pg_class WHERE relname IN ('bloques', 'alerts', 'historia', 'turns') AND relkind = 'p')
 ORDER BY p.relname"""


class DatabaseReport(NamedTuple):
    """Facts by name, then tables: a header and its rows."""

    facts: list[tuple[str, str]]
    tables: list[tuple[list[str], list[list[str]]]]


def report(server: DbServer) -> DatabaseReport:
    """Ask the server, and its replica where there is one."""
    session = Session(server, name="status", read_only=True)
    try:
        with session.transaction() as cursor:
            version = postgres_schema.version(cursor)
            cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            release, size = cursor.fetchone()
            facts = [("server", f"PostgreSQL {release} at {where(server)}"), ("size", amount(size)),
                     ("connection", _connection(server, cursor.connection.info)),
                     ("tables", f"version {version}, this CoreC knows {postgres_schema.NEWEST}")]  # fmt: skip
            tables = _tables(cursor) if version else []
    finally:
        session.close()
    return DatabaseReport(facts + ([("replica", postgres_replica.described(server.replica))] if server.replica else []), tables)


def _connection(server: DbServer, info: Any) -> str:
    """The way to the server as it is configured, and as it is now."""
    now = f"{info.ssl_attribute('protocol')} now" if info.ssl_in_use else "not encrypted now"
    return way_to_postgres(server) + ("" if server.host.startswith("/") else f"; {now}")


def _tables(cursor: Any) -> list[tuple[list[str], list[list[str]]]]:
    cursor.execute(_SHARDS)
    shards = [list(row) for row in cursor.fetchall()]
    cursor.execute(_PARTITIONS)
    partitions = [[name, f"{rows:,}", amount(size)] for name, size, rows in cursor.fetchall()]
    return [(["instance", "shard", "turn", "since (UTC)", "writer"], shards), (["partition", "rows, about", "size"], partitions)]
