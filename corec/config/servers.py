"""The server sections: their passwords, and placeholders that were never filled in.

A password comes from one place: `${ENVIRONMENT_VARIABLE}` in the section, or the file in `password_file`. It is never part
of a repr, an error or a snapshot.
"""

import os
import re
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from corec.config.connections import DbSection, RedisSection
from corec.config.document import Document
from corec.config.types import CoreFile

SECTIONS = ("db_config", "redis_config", "celery_config")
#: Variable in which a container gives the host to use instead of localhost, by the type of the section.
ELSEWHERE = {"DbSection": "COREC_DB_HOST", "ReplicaSection": "COREC_REPLICA_HOST", "RedisSection": "COREC_REDIS_HOST"}
LOCAL = ("localhost", "127.0.0.1", "::1")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PLACEHOLDER = re.compile(r"your_[a-z_]+")
_HINT = 'use "${VARIABLE}" or "password_file"; with --embedded both server sections are ignored'


class Secret:
    """A string that is shown only by `reveal()`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"


class DbServer(Struct, frozen=True, kw_only=True):
    """The section of PostgreSQL with its variables and files read."""

    dbname: str
    user: str
    password: Secret | None
    host: str
    port: int
    sslmode: str | None = None
    sslrootcert: str | None = None
    replica: "DbServer | None" = None
    particion_canales: tuple[int, ...] = ()


class RedisServer(Struct, frozen=True, kw_only=True):
    """The section of Redis with its variables and files read."""

    host: str = "localhost"
    port: int = 6379
    username: str | None = None
    password: Secret | None = None
    unix_socket: str | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    max_mb: int = 64

    @property
    def address(self) -> str:
        """Host and port, or socket, for errors and logs."""
        return self.unix_socket or f"{self.host}:{self.port}"


class CeleryServer(Struct, frozen=True, kw_only=True):
    """Where Celery's messages go, resolved."""

    broker: Secret | None  # a URL with its password; None: the Redis of redis_config
    worker_concurrency: int


def without_servers(tree: Any) -> Any:
    """The tree without its server sections, for `--embedded`."""
    if not isinstance(tree, dict):
        return tree
    return {key: value for key, value in tree.items() if key not in SECTIONS}


def resolve_db(document: Document, section: DbSection | None, folder: Path) -> DbServer | None:
    """The section of PostgreSQL with its variables and files read."""
    if section is None:
        return None
    reader = _Reader(document, ("db_config",), section, folder)
    server = DbServer(
        dbname=reader.text("dbname"),
        user=reader.text("user"),
        password=reader.password(),
        host=reader.host(),
        port=reader.port(),
        sslmode=section.sslmode,
        sslrootcert=section.sslrootcert and str(folder / reader.text("sslrootcert")),
        particion_canales=tuple(sorted(set(section.particion_canales))),
    )
    return structs.replace(server, replica=_replica(document, section, server, folder))


def _replica(document: Document, section: DbSection, primary: DbServer, folder: Path) -> DbServer | None:
    """The replica. What its section does not name is as for the primary."""
    replica = section.replica
    if replica is None:
        return None
    reader = _Reader(document, ("db_config", "replica"), replica, folder)
    own = replica.password or replica.password_file
    return structs.replace(
        primary,
        host=reader.host(),
        port=reader.port(),
        user=reader.text("user") if replica.user else primary.user,
        password=reader.password() if own else primary.password,
    )


def resolve_redis(
    document: Document, section: RedisSection | None, folder: Path
) -> RedisServer | None:
    """The section of Redis with its variables and files read."""
    if section is None:
        return None
    reader = _Reader(document, ("redis_config",), section, folder)
    return RedisServer(
        host=reader.host(),
        port=reader.port(),
        username=reader.text("username") or None,
        password=reader.password(),
        unix_socket=reader.path("unix_socket"),
        tls=section.tls or any((section.ca, section.cert, section.key)),
        ca=reader.path("ca"),
        cert=reader.path("cert"),
        key=reader.path("key"),
        max_mb=section.max_mb,
    )


def resolve_celery(document: Document, core: CoreFile, folder: Path) -> CeleryServer | None:
    """The section of Celery with its variables read. It needs both servers."""
    section = core.celery_config
    if section is None or core.ejecucion.modo == "local":
        return None
    for name in ("redis_config", "db_config"):
        if getattr(core, name) is None:
            raise document.error(("celery_config",), f"{name} beside it", "none",
                                 hint="workers read shards from Redis and commit them to PostgreSQL")  # fmt: skip
    broker = _Reader(document, ("celery_config",), section, folder).text("broker")
    return CeleryServer(broker=Secret(broker) if broker else None, worker_concurrency=section.worker_concurrency)


def require_celery(document: Document, core: CoreFile) -> None:
    """Raise ConfigError when the file asks for workers without a section of Celery."""
    if core.ejecucion.modo == "celery" and core.celery_config is None:
        raise document.error(("ejecucion", "modo"), 'a celery_config beside "celery"', "none", hint='"celery_config": {} will do')


class _Reader:
    """Reads the keys of one section, and fills in their variables."""

    def __init__(self, document: Document, name: tuple[str, ...], section: Any, folder: Path) -> None:
        self.document = document
        self.name = name
        self.section = section
        self.folder = folder

    def text(self, key: str) -> str:
        path = (*self.name, key)
        value = getattr(self.section, key)
        return self._real(path, _VARIABLE.sub(lambda found: self._variable(path, found), value))

    def path(self, key: str) -> str | None:
        """A file name. A relative path starts from the folder of the configuration."""
        return str((self.folder or Path()) / self.text(key)) if getattr(self.section, key) else None

    def host(self) -> str:
        """The host; inside a container, the address of this machine instead of localhost."""
        host = self.text("host")
        there = os.environ.get(ELSEWHERE[type(self.section).__name__], "")
        return there if there and host in LOCAL else host

    def port(self) -> int:
        if isinstance(self.section.port, int):
            return self.section.port
        text = self.text("port")
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
            raise self.document.error((*self.name, "port"), "a port from 1 to 65535", f'"{text}"')
        return int(text)

    def password(self) -> Secret | None:
        text = self.text("password")
        if self.section.password_file is None:
            return Secret(text) if text else None
        if text:
            path = (*self.name, "password_file")
            raise self.document.error(
                path, "one source of the password", "password and password_file", hint="remove one"
            )
        return Secret(self._file("password_file"))

    def _real(self, path: tuple[str, ...], value: str) -> str:
        if _PLACEHOLDER.fullmatch(value):
            got = f'the placeholder "{value}"'
            raise self.document.error(path, "a real value", got, hint=_HINT)
        return value

    def _variable(self, path: tuple[str, ...], found: re.Match) -> str:
        name, default = found.groups()
        value = os.environ.get(name) or default
        if value is None:
            raise self.document.error(
                path,
                f"the environment variable {name}",
                "none",
                hint=f"export {name}=... and start again",
            )
        return value

    def _file(self, key: str) -> str:
        file = self.folder / self.text(key)
        try:
            text = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no UTF-8 text"
            raise self.document.error(
                (*self.name, key), f"a readable file {file}", reason.lower(), hint=_HINT
            ) from None
        if not text:
            raise self.document.error((*self.name, key), f"a password in {file}", "an empty file")
        return self._real((*self.name, key), text)
