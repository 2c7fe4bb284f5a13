"""The store that the configuration names, and who keeps it in its bounds."""
from pathlib import Path

from corec.config import Config
from corec.storage.base import Base, House
from corec.storage.retention import Retention
from corec.storage.sqlite import SqliteStore
from corec.storage.store_recovery import open_store as open_sqlite

MB = 1 << 20


def open_store(config: Config, path: Path, base: Base, node: int = 0) -> tuple[SqliteStore, House]:
    """The embedded store at *path*, of the node with id *node*; a new one begins at *base*."""
    store = open_sqlite(path, base=base, instance=config.instance_id, messages_bytes=config.mensajes_mb * MB, node=node)
    return store, Retention(store, days=config.retencion_dias, max_bytes=config.max_store_mb * MB)
