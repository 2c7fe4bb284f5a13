"""The identity of a data folder: it refuses files of two nodes, and a folder that belongs to another `instance_id`."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from corec.errors import ConfigError, DamagedFile, StorageError
from corec.storage.folder import Layout
from corec.storage.numbered import numbered
from corec.storage.snapshots import files as snapshot_files
from corec.storage.sqlite.read import SqliteReader, format_node
from corec.storage.sqlite.schema import connect
from corec.streams.journal import files as journal_files


class Owner(NamedTuple):
    """The node and instance that a store names; 0 and "" where they cannot be read."""

    node: int = 0
    instance: str = ""


def identify(layout: Layout, instance: str, *, adopt: bool = False) -> int:
    """The id of the node of a data folder; a new random one for a folder without an id.  ConfigError, StorageError.

    adopt: take over a folder that was used under another `instance_id`.
    """
    owner = _owner(layout.store)
    if owner.instance not in ("", instance) and not adopt:
        raise ConfigError(
            f"expected the instance_id of this data folder, {owner.instance!r}, got {instance!r} - at {layout.path}",
            hint="set instance_id back, name another folder with --data, or take this one over for good: corec run --adopt",
        )
    ids = require_one_node(layout, layout.store)
    return ids or int.from_bytes(os.urandom(8), "big") or 1


def require_one_node(layout: Layout, store: Path) -> int:
    """The id that the files carry, 0 for none; StorageError where they are not of one node.

    store: the layout's, or a copy of it to read instead.
    """
    found: dict[int, Path] = {}
    for path, node in _nodes(layout, store):
        if node:
            found.setdefault(node, path)
    if len(found) > 1:
        named = ", ".join(f"{path.relative_to(layout.path)} of node {format_node(node)}" for node, path in found.items())
        raise StorageError(
            f"expected the files of one node, got {named} - at {layout.path}",
            hint="put back the files that belong together, or move those of the other node out of this folder",
        )
    return next(iter(found), 0)


def _nodes(layout: Layout, store: Path) -> Iterator[tuple[Path, int]]:
    """Yields each file that carries a node id, with that id; 0 for none."""
    yield layout.store, _owner(store).node
    for ending in (".log", ".spare"):
        for path in numbered(layout.journal, ending):
            yield path, journal_files.read_node(path)
    for path in numbered(layout.snapshots, ".snap"):
        yield path, snapshot_files.read_node(path)


def _owner(store: Path) -> Owner:
    """The owner that the store names; an empty one where the store is missing or damaged."""
    if not store.exists():
        return Owner()
    try:
        with closing(SqliteReader(store, db=connect(store, read_only=True, at_rest=True))) as reader:
            return Owner(reader.node, reader.instance)
    except (DamagedFile, sqlite3.Error, ValueError):
        return Owner()
