"""Open the store that the configuration names, together with its retention."""
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corec.common.clock import MACHINE, Clock
from corec.common.units import MB
from corec.config import Config
from corec.storage.base import Retention, StoreBase, TurnRecord
from corec.storage.numbered import numbered
from corec.storage.sqlite.read import SqliteReader, format_node
from corec.storage.sqlite.recovery import open_store as open_sqlite
from corec.storage.sqlite.retention import SqliteRetention
from corec.storage.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from corec.storage.postgres.read import PostgresReader
    from corec.storage.postgres.store import PostgresStore



def open_store(config: Config, path: Path, base: StoreBase, node: int = 0,
               clock: Clock = MACHINE) -> "tuple[SqliteStore | PostgresStore, Retention]":  # fmt: skip
    """The store of `db_config`, or the embedded one at *path*. A new store begins at *base*.

    node: the id of the node, noted in the store.
    """
    if config.db_config:
        return _open_postgres(config, path, base, node, clock)
    store = open_sqlite(path, base=base, instance=config.instance_id, messages_bytes=config.mensajes_mb * MB, node=node)
    return store, SqliteRetention(store, days=config.retencion_dias, max_bytes=config.max_store_mb * MB, clock=clock)


def open_reader(config: Config | None, data: Path) -> "AbstractContextManager[SqliteReader | PostgresReader]":
    """A reader of a node's stored rows: those of `db_config` (its replica if that keeps up), else those of the data folder."""
    from contextlib import closing

    if config is None or config.db_config is None:
        return closing(SqliteReader(data / "store.db"))
    from corec.storage.postgres.read import PostgresReader
    from corec.storage.postgres.replica import to_read

    server = to_read(config.db_config)
    if config.celery_config:
        from corec.storage.postgres.fleet import FleetReader

        return closing(FleetReader(server, instance=config.flota, shards=config.fragmentos))
    return closing(PostgresReader(server, instance=config.instance_id))


def probe(config: Config) -> None:
    """ServerAway when the store's server cannot be reached now."""
    if config.db_config:
        from corec.storage.postgres.session import connect

        connect(config.db_config, name=config.instance_id).close()


def _open_postgres(config: Config, path: Path, base: StoreBase, node: int, clock: Clock) -> "tuple[PostgresStore, Retention]":
    from corec.storage.postgres import schema as postgres_schema

    postgres_schema.migrate_if_allowed(config.db_config)
    salvaged = _move(config, path, base, node) if path.exists() else []
    own = "" if config.redis_config and not config.celery_config else format_node(node)
    fresh = not numbered(path.parent / "journal", ".log")
    shard = config.fragmentos if config.celery_config else 0
    store, retention = _postgres(config, base, config.instance_id, shard, clock=clock, log=own, fresh=fresh)
    store.salvaged = salvaged
    return store, retention


def open_shard_store(config: Config, shard: int, base: StoreBase, clock: Clock = MACHINE) -> "tuple[PostgresStore, Retention]":
    """The store of one shard of the fleet."""
    return _postgres(config, base, config.flota, shard, clock=clock)


def open_shard_snapshots(config: Config, shard: int) -> Any:
    """The snapshots of one shard, in PostgreSQL, where every machine finds them."""
    from corec.storage.postgres.snapshots import PostgresSnapshots

    return PostgresSnapshots(config.db_config, instance=config.flota, shard=shard)


def _postgres(config: Config, base: StoreBase, instance: str, shard: int, **parts: Any) -> "tuple[PostgresStore, Retention]":
    from corec.storage.postgres.store import PostgresStore

    store = PostgresStore(config.db_config, instance=instance, shard=shard, base=base, days=config.retencion_dias,
                          messages_bytes=config.mensajes_mb * MB, **parts)  # fmt: skip
    return store, store.retention


def _move(config: Config, path: Path, base: StoreBase, node: int) -> list[TurnRecord]:
    """Move the embedded store at *path* to PostgreSQL; return the turn records that have to be folded again after damage."""
    from corec.storage.postgres.move import Move, set_aside

    embedded = open_sqlite(path, base=base, instance=config.instance_id, messages_bytes=config.mensajes_mb * MB, node=node)
    try:
        Move(embedded, config.db_config, config.instance_id, config.retencion_dias).run()
        embedded.checkpoint()
    finally:
        embedded.close()
    set_aside(path)
    return embedded.salvaged
