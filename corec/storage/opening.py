"""The store that the configuration names, and who keeps it in its bounds."""
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from corec.config import Config
from corec.storage.base import Base, House
from corec.storage.retention import Retention
from corec.storage.sqlite import SqliteStore
from corec.storage.sqlite_read import StoreReader, format_node
from corec.storage.store_recovery import open_store as open_sqlite

if TYPE_CHECKING:
    from corec.storage.postgres import PostgresStore
    from corec.storage.postgres_read import PostgresReader

MB = 1 << 20


def open_store(config: Config, path: Path, base: Base, node: int = 0) -> "tuple[SqliteStore | PostgresStore, House]":
    """The store of `db_config`, or the embedded one at *path*, of the node with id *node*; a new one begins at *base*."""
    if config.db_config:
        return _open_postgres(config, path, base, node)
    store = open_sqlite(path, base=base, instance=config.instance_id, messages_bytes=config.mensajes_mb * MB, node=node)
    return store, Retention(store, days=config.retencion_dias, max_bytes=config.max_store_mb * MB)


def open_reader(config: Config | None, data: Path) -> "AbstractContextManager[StoreReader | PostgresReader]":
    """The stored rows of a node, to be read by anybody: those of `db_config` (its replica first), or of the data folder."""
    from contextlib import closing

    if config is None or config.db_config is None:
        return closing(StoreReader(data / "store.db"))
    from corec.storage.postgres_read import PostgresReader

    server = config.db_config.replica or config.db_config
    return closing(PostgresReader(server, instance=config.instance_id))


def probe(config: Config) -> None:
    """ServerAway when the store's server cannot be reached now."""
    if config.db_config:
        from corec.storage.postgres_session import connect

        connect(config.db_config, name=config.instance_id).close()


def _open_postgres(config: Config, path: Path, base: Base, node: int) -> "tuple[PostgresStore, House]":
    from corec.storage import postgres_schema
    from corec.storage.postgres import PostgresStore

    postgres_schema.migrate_if_allowed(config.db_config)
    own = "" if config.redis_config else format_node(node)
    store = PostgresStore(config.db_config, instance=config.instance_id, base=base, days=config.retencion_dias, log=own,
                          fresh=not any((path.parent / "journal").glob("*.log")), messages_bytes=config.mensajes_mb * MB)  # fmt: skip
    return store, store.house
