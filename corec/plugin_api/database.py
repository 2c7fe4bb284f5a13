"""A plugin's own database: PostgreSQL where its configuration names one, else an SQLite file in the node's data folder.

Statements run in a thread of their own, so that a slow server does not block the event loop.
"""
import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from corec.errors import PluginError

FOLDER = "plugins"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
#: Quoted text, which stays as it is; a percent sign, which psycopg2 wants doubled; the `?` of a value.
_PARTS = re.compile(r"('(?:[^']|'')*'|\"[^\"]*\")|(%)|(\?)")

Rows = list[tuple[Any, ...]]


class _Backend(Protocol):
    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Rows: ...
    def close(self) -> None: ...


class PluginDatabase:
    """What `abrir_base` returns.  `tipo` is "postgresql" or "sqlite"; `?` in a statement stands for a value."""

    def __init__(self, tipo: str, make: Callable[[], _Backend]) -> None:
        self.tipo = tipo
        self._make = make
        self._backend: _Backend | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plugin-base")

    async def ejecutar(self, sql: str, valores: Sequence[Any] = ()) -> Rows:
        """Run one statement and commit it; returns its rows."""
        return await self._in_thread(lambda: self._open().run([(sql, _plain(valores))]))

    async def ejecutar_varios(self, sql: str, filas: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of *filas*, in one transaction."""
        rows = list(filas)
        if rows:
            await self._in_thread(lambda: self._open().run([(sql, _plain(row)) for row in rows]))

    async def cerrar(self) -> None:
        """Close the connection and end the thread."""
        await self._in_thread(lambda: self._backend and self._backend.close())
        self._thread.shutdown(wait=False)

    def _open(self) -> _Backend:
        if self._backend is None:
            self._backend = self._make()
        return self._backend

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def abrir_base(nucleus: Any, config: Mapping[str, Any]) -> PluginDatabase:
    """The database that a plugin's configuration names.

    `"db_config": {...}`, as in corec_config.json, is PostgreSQL; without it `"base": "name"` is the file
    plugins/name.db in the node's data folder.  The database is no part of the node's turns: a pass that is repeated after a
    kill writes again.
    """
    name = config.get("base")
    if config.get("db_config") is not None:
        server = _server(config["db_config"])
        return PluginDatabase("postgresql", lambda: _Postgres(server))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f'expected "base" to be a name of letters, digits, - and _, got {name!r}',
                          hint='"base": "trading", or a "db_config" of the plugin\'s own')  # fmt: skip
    path = Path(nucleus.data) / FOLDER / f"{name}.db"
    return PluginDatabase("sqlite", lambda: _Sqlite(path))


def _plain(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values as plain Python objects: SQLite would store a NumPy number, as rows of `datos` have it, as its bytes."""
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def _server(section: Any) -> Any:
    from corec.config import parse

    return parse({"db_config": section}, source="the plugin's config.json").db_config


class _Sqlite:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")

    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Rows:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            rows = [self._db.execute(sql, values).fetchall() for sql, values in statements]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise PluginError(f"the plugin's database refused a statement: {error}", detail=statements[0][0]) from error
        return rows[-1]

    def close(self) -> None:
        self._db.close()


class _Postgres:
    def __init__(self, server: Any) -> None:
        from corec.storage.postgres.session import Session

        self._session = Session(server, name="plugin")

    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Rows:
        with self._session.transaction() as cursor:
            for sql, values in statements:
                cursor.execute(_with_percents(sql), tuple(values))
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._session.close()


def _with_percents(sql: str) -> str:
    """The statement with `%s` for each `?`, as psycopg2 wants it."""
    return _PARTS.sub(lambda part: part[1].replace("%", "%%") if part[1] else "%%" if part[2] else "%s", sql)
