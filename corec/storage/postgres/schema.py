"""Bring CoreC's database to the newest version: forward only, one transaction for each migration, one migrator at a time."""

from typing import Any

from corec.config.servers import DbServer
from corec.errors import ServerError
from corec.storage.postgres.session import Session, connect, explain, where
from corec.storage.postgres.tables import MIGRATIONS

NEWEST = len(MIGRATIONS)
_VERSIONS = """CREATE TABLE IF NOT EXISTS corec_schema (
 version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now(), by text NOT NULL DEFAULT current_user)"""
_MAY_MIGRATE = """SELECT has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (SELECT FROM pg_class
 WHERE oid = to_regclass('corec_schema') AND NOT pg_has_role(relowner, 'MEMBER'))"""
_LOCK = "SELECT pg_advisory_lock(hashtext('corec schema'))"


def version(cursor: Any) -> int:
    """Version of the database; 0 when it has none of CoreC's tables."""
    cursor.execute("SELECT to_regclass('corec_schema') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM corec_schema")
    return cursor.fetchone()[0]


def require(cursor: Any, server: DbServer) -> None:
    """ServerError unless the database has the version that this CoreC knows."""
    found = version(cursor)
    if found > NEWEST:
        raise ServerError(f"expected tables of version {NEWEST}, got {found}, which a newer CoreC made - in {where(server)}",
                          hint="upgrade this CoreC: pip install --upgrade corec")  # fmt: skip
    if found < NEWEST:
        raise ServerError(f"expected tables of version {NEWEST}, got {found or 'none'} - in {where(server)}",
                          hint="corec db migrate, as a user who owns them" if found else "corec db init")  # fmt: skip


def migrate(server: DbServer, *, role: str | None = None) -> tuple[int, int]:
    """Apply the missing migrations as the owner of the tables; return (version before, version now).

    role: who owns them where there are none yet, the user of *server* if not given.
    """
    import psycopg2

    connection = connect(server, name="migration")
    try:
        with connection.cursor() as cursor:
            _become(cursor, _owner(cursor) or role, server)
            return _migrate(cursor, server)
    except psycopg2.Error as error:
        raise explain(server, error) from error
    finally:
        connection.close()


def _owner(cursor: Any) -> str | None:
    cursor.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('corec_schema')")
    return (cursor.fetchone() or (None,))[0]


def _become(cursor: Any, role: str | None, server: DbServer) -> None:
    from psycopg2 import sql as quoted

    if role is None:
        return
    cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
    if cursor.fetchone() is None:
        raise ServerError(f"expected CoreC's tables, and the role {role} that owns them, got neither - in {where(server)}",
                          hint="corec db init")  # fmt: skip
    cursor.execute(quoted.SQL("SET ROLE {}").format(quoted.Identifier(role)))


def _migrate(cursor: Any, server: DbServer) -> tuple[int, int]:
    cursor.execute("SET lock_timeout = '30s'")
    cursor.execute(_LOCK)
    before = version(cursor)
    if before > NEWEST:
        require(cursor, server)
    if before == 0:
        cursor.execute(_VERSIONS)
    for number in range(before + 1, NEWEST + 1):
        cursor.execute("BEGIN")
        cursor.execute(MIGRATIONS[number - 1])
        cursor.execute("INSERT INTO corec_schema (version) VALUES (%s)", (number,))
        cursor.execute("COMMIT")
    return before, NEWEST


def migrate_if_allowed(server: DbServer) -> None:
    """Migrate an older or empty database if this user may. Otherwise `require` reports what to do."""
    session = Session(server, name="migration")
    try:
        with session.transaction() as cursor:
            if version(cursor) >= NEWEST:
                return
            cursor.execute(_MAY_MIGRATE)
            allowed = cursor.fetchone()[0]
    finally:
        session.close()
    if allowed:
        migrate(server)
