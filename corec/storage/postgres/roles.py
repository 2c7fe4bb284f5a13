"""Create CoreC's database and its roles: an owner who cannot log in, a writer, a reader. Each has the least rights.

Running it again changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from corec.config.servers import DbServer, Secret
from corec.errors import ServerError
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.session import connect, explain
from corec.storage.postgres.tables import ALL_FUNCTIONS, CHANGED, EMPTIED, FUNCTIONS, VERSIONS, WRITTEN

#: CoreC's tables and their partitions, as `tables`.
_TABLES = """
WITH named AS (SELECT to_regclass(quote_ident(name)) AS id FROM unnest(%(tables)s) AS name),
  tables AS (SELECT id FROM named WHERE id IS NOT NULL UNION SELECT part.relid FROM named, pg_partition_tree(id) AS part)"""
#: Kind, quoted name and owner of CoreC's tables and functions that are not of their owner.
_OF_OTHERS = _TABLES + """
SELECT 'TABLE', id::regclass::text, pg_get_userbyid(relowner) FROM tables JOIN pg_class ON oid = id
WHERE pg_get_userbyid(relowner) <> %(owner)s
UNION ALL SELECT 'FUNCTION', oid::regprocedure::text, pg_get_userbyid(proowner) FROM pg_proc
WHERE proname = ANY(%(functions)s) AND pronamespace = current_schema()::regnamespace AND pg_get_userbyid(proowner) <> %(owner)s
ORDER BY 1, 2"""
_NAMES = {"tables": [*WRITTEN, VERSIONS], "functions": list(ALL_FUNCTIONS)}


class Roles(NamedTuple):
    """The names of the roles of one database."""

    owner: str  # of the tables; cannot log in
    writer: str
    reader: str


def roles_of(server: DbServer, admin: str) -> Roles:
    """The names of the roles. The writer is the user of db_config, unless that is the administrator."""
    writer = server.user if server.user != admin else f"{server.dbname}_writer"
    return Roles(f"{server.dbname}_owner", writer, f"{server.dbname}_reader")


def init(server: DbServer, admin: DbServer, roles: Roles, writer: Secret | None, reader: Secret | None) -> Iterator[str]:
    """Create or complete everything; yield a line for each step."""
    with _connected(admin, "postgres") as cursor:
        yield _role(cursor, roles.owner, None, login=False)
        yield _role(cursor, roles.writer, writer, login=True)
        yield _role(cursor, roles.reader, reader, login=True)
        _run(cursor, "GRANT {} TO CURRENT_USER", roles.owner)
        yield _database(cursor, server.dbname, roles)
    with _connected(admin, server.dbname) as cursor:
        _schema_rights(cursor, roles)
        taken = take_over(cursor, admin, roles)
    if taken:
        yield f"{'owner':<11} {roles.owner} has {taken} tables and functions now, which a node had made"
    before, now = postgres_schema.migrate(msgspec.structs.replace(admin, dbname=server.dbname), role=roles.owner)
    yield f"tables      {'made' if not before else 'were there' if before == now else f'brought from version {before}'}, version {now}"
    with _connected(admin, server.dbname) as cursor:
        _run(cursor, "SET ROLE {}", roles.owner)
        _table_rights(cursor, roles)
    yield "rights      given"


def take_over(cursor: Any, server: DbServer, roles: Roles) -> int:
    """Give CoreC's tables and functions to their owner, where a node that ran as administrator or writer made them; how many.

    ServerError where one of them is somebody else's: its content and code are not known.
    """
    cursor.execute(_OF_OTHERS, {**_NAMES, "owner": roles.owner})
    found = cursor.fetchall()
    for kind, name, owner in found:
        if owner not in (server.user, roles.writer):
            raise ServerError(f"expected {name} in {server.dbname} to be of {server.user}, {roles.writer} or {roles.owner},"
                              f" got one of {owner}",
                              hint=f"if it is CoreC's: ALTER {kind} {name} OWNER TO {server.user}; else it has to go")  # fmt: skip
    for kind, name, _ in found:
        _run(cursor, f"ALTER {kind} {name} OWNER TO {{}}", roles.owner)     # as PostgreSQL itself quotes it
    return len(found)


@contextmanager
def _connected(admin: DbServer, dbname: str) -> Iterator[Any]:
    import psycopg2

    connection = connect(msgspec.structs.replace(admin, dbname=dbname), name="init")
    try:
        with connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise explain(admin, error) from error
    finally:
        connection.close()


def _run(cursor: Any, sql: str, *names: str) -> None:
    """Run a statement; each {} in it is replaced by a quoted name."""
    from psycopg2 import sql as quoted

    cursor.execute(quoted.SQL(sql).format(*(quoted.Identifier(name) for name in names)))


def _role(cursor: Any, name: str, password: Secret | None, *, login: bool) -> str:
    cursor.execute("SELECT rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE rolname = %s" if _sees_passwords(cursor)
                   else "SELECT rolcanlogin, true FROM pg_roles WHERE rolname = %s", (name,))  # fmt: skip
    found = cursor.fetchone()
    if found is None:
        _run(cursor, "CREATE ROLE {} NOLOGIN", name)
    if login and password:
        _set_password(cursor, name, password)
    elif login and found is None:
        _run(cursor, "ALTER ROLE {} LOGIN", name)
    said = "was there" if found else "made"
    return f"{'role':<11} {name} {said}" + (", password set" if login and password else "")


def _sees_passwords(cursor: Any) -> bool:
    cursor.execute("SELECT has_table_privilege('pg_authid', 'SELECT')")
    return bool(cursor.fetchone()[0])


def _set_password(cursor: Any, name: str, password: Secret) -> None:
    """Send a verifier that is computed here. The password itself is never sent, so no log of the server can hold it."""
    from psycopg2 import sql as quoted
    from psycopg2.extensions import encrypt_password

    verifier = encrypt_password(password.reveal(), name, cursor.connection, "scram-sha-256")
    cursor.execute(quoted.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(quoted.Identifier(name), quoted.Literal(verifier)))


def _database(cursor: Any, name: str, roles: Roles) -> str:
    cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
    there = cursor.fetchone() is not None
    if not there:
        _run(cursor, "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0", name, roles.owner)
    _run(cursor, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
    _run(cursor, "GRANT CONNECT ON DATABASE {} TO {}, {}, {}", name, *roles)
    return f"{'database':<11} {name} {'was there' if there else 'made'}"


def _schema_rights(cursor: Any, roles: Roles) -> None:
    cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    _run(cursor, "GRANT USAGE, CREATE ON SCHEMA public TO {}", roles.owner)
    _run(cursor, "GRANT USAGE ON SCHEMA public TO {}, {}", roles.writer, roles.reader)


def _table_rights(cursor: Any, roles: Roles) -> None:
    cursor.execute(_TABLES + " SELECT string_agg(id::regclass::text, ', ') FROM tables", _NAMES)
    tables = cursor.fetchone()[0]  # not all tables of the schema: others' may be among them
    for name in (roles.writer, roles.reader):
        _run(cursor, f"GRANT SELECT ON {tables} TO {{}}", name)
        _run(cursor, "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}", name)
    for right, changed in (("INSERT", WRITTEN), ("UPDATE", CHANGED), ("DELETE", EMPTIED)):
        _run(cursor, f"GRANT {right} ON {', '.join(changed)} TO {{}}", roles.writer)
    _run(cursor, f"GRANT EXECUTE ON FUNCTION {', '.join(FUNCTIONS)} TO {{}}", roles.writer)
