"""`corec db`: database, roles and tables are made with the least rights, twice without harm."""

import json
import uuid

import psycopg2
import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.config.servers import DbServer, Secret
from corec.errors import ExitCode, ServerError
from corec.storage.open_store import open_reader
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.store import PostgresStore
from tests.support.postgres_stores import DAYS
from tests.support.stores import BLOCKS, fill, record

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture(scope="module")
def locked():
    """A server where everybody but the administrator needs a password."""
    from tests.support.servers import postgres as servers

    with servers.running("password_encryption=scram-sha-256") as server:
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.restart()
        yield server


@pytest.fixture
def here(tmp_path, monkeypatch, locked):
    """A folder whose configuration names a database that is not there yet."""
    name = f"plant_{uuid.uuid4().hex[:8]}"
    section = {"host": locked.host, "port": locked.port, "dbname": name, "user": f"{name}_node", "password": "${NODE_PASSWORD}"}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "corec_config.json").write_text(json.dumps(
        {"instance_id": "node1", "bloques": [{"id": "a", "canal": 1, "entidades": 10}], "db_config": section}))
    (tmp_path / "reader.secret").write_text("reader-secret\n")
    monkeypatch.setenv("NODE_PASSWORD", "node-secret")
    monkeypatch.chdir(tmp_path)
    return DbServer(dbname=name, user=f"{name}_node", password=Secret("node-secret"), host=locked.host, port=locked.port)


def corec(*words, code=0):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    return done.output


def test_init_makes_all_and_twice_does_no_harm(here):
    # Given a server without the database, when `corec db init` runs twice, then the second time finds all there
    first = corec("db", "init", "--reader-password-file", "reader.secret")
    assert f"database    {here.dbname} made" in first and "tables      made, version" in first
    again = corec("db", "init")
    assert again.count("was there") == 4 and "tables      were there" in again
    # And the node's user writes, and the reader reads
    store = PostgresStore(here, instance="node1", days=DAYS, keep_every_s=0)
    store.set_blocks(BLOCKS)
    fill(store, 3)
    store.note_snapshot(1, 10, 1)
    store.note_snapshot(2, 20, 2)
    store.note_snapshot(3, 30, 3)
    store.retention.run(0, 5)
    store.close()
    reader = DbServer(dbname=here.dbname, user=f"{here.dbname}_reader", password=Secret("reader-secret"), host=here.host, port=here.port)
    with psycopg2.connect(host=reader.host, port=reader.port, dbname=reader.dbname, user=reader.user, password="reader-secret") as asked:
        cursor = asked.cursor()
        cursor.execute("SELECT count(*) FROM bloques_2023_11")
        assert cursor.fetchone() == (9,)
    said = corec("db", "status")
    assert "PostgreSQL" in said and "bloques_2023_11" in said and "node1" in said
    # And how it is reached stands there, as configured and as it is
    assert "connection  sslmode prefer, by default: " in said and "; not encrypted now" in said


FORBIDDEN = {
    "node": ["DELETE FROM bloques", "UPDATE bloques SET canal = 2", "DELETE FROM turns", "DROP TABLE bloques_2023_11", "TRUNCATE alerts",
             "CREATE TABLE mine (a int)", "INSERT INTO corec_schema (version) VALUES (99)", "DELETE FROM shards"],
    "reader": ["INSERT INTO blocks SELECT * FROM blocks", "UPDATE shards SET turn = 0",
               "SELECT corec_make_month('bloques', '2020-01-01', '{}')",
               "SELECT corec_drop_before('bloques', '2100-01-01')", "CREATE TABLE mine (a int)"],
}  # fmt: skip


@pytest.mark.parametrize(("who", "sql"), [(who, sql) for who, statements in FORBIDDEN.items() for sql in statements])
def test_each_role_has_the_least_rights(locked, tmp_path_factory, who, sql, ready):
    # Given the writer or the reader, when it tries what is not its work, then PostgreSQL refuses
    asked = psycopg2.connect(host=ready.host, port=ready.port, dbname=ready.dbname, user=f"{ready.dbname}_{who}", password=f"{who}-secret")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        asked.cursor().execute(sql)
    asked.close()


@pytest.fixture(scope="module")
def ready(locked, tmp_path_factory):
    """A database made by `corec db init`, with rows."""
    folder = tmp_path_factory.mktemp("ready")
    section = {"host": locked.host, "port": locked.port, "dbname": "ready", "user": "ready_node", "password": "node-secret"}
    (folder / "corec_config.json").write_text(json.dumps({"db_config": section}))
    (folder / "r").write_text("reader-secret")
    corec("db", "init", "--config", str(folder), "--reader-password-file", str(folder / "r"))
    server = DbServer(dbname="ready", user="ready_node", password=Secret("node-secret"), host=locked.host, port=locked.port)
    store = PostgresStore(server, instance="node1", days=DAYS)
    fill(store, 1)
    store.close()
    return server


def test_no_password_reaches_the_log_of_the_server(ready, locked):
    assert "secret" not in (locked.folder / "log").read_text()


@pytest.fixture
def made_by_a_node(locked, tmp_path, monkeypatch):
    """A database, made as the documentation has it, whose tables a node of the documented configuration made as `postgres`."""
    name = f"plant_{uuid.uuid4().hex[:8]}"
    with locked.connected("postgres") as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    with locked.connected(name) as cursor:
        cursor.execute("CREATE TABLE theirs (a int)")
        cursor.execute("REVOKE ALL ON theirs FROM PUBLIC")
    server = DbServer(dbname=name, user="postgres", password=None, host=locked.host, port=locked.port)
    postgres_schema.migrate_if_allowed(server)
    store = PostgresStore(server, instance="node1", days=DAYS, keep_every_s=0)
    store.set_blocks(BLOCKS)
    fill(store, 3)
    store.close()
    section = {"host": locked.host, "port": locked.port, "dbname": name, "user": "postgres"}
    (tmp_path / "corec_config.json").write_text(json.dumps({"db_config": section}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COREC_DB_WRITER_PASSWORD", "w")
    return server


def test_init_takes_over_what_a_node_made_as_the_administrator(made_by_a_node, locked):
    # Given tables that a node made as `postgres`, and somebody else's beside them
    server = made_by_a_node
    # When `corec db init` runs, Then it says what it took over
    said = corec("db", "init", "--config", ".")
    assert f"{server.dbname}_owner has" in said and "tables      were there" in said and "rights      given" in said
    assert "which a node had made" not in corec("db", "init", "--config", ".")
    # And the writer, who owns nothing, goes on with them: rows, months and days that are made by the owner's functions
    writer = DbServer(dbname=server.dbname, user=f"{server.dbname}_writer", password=Secret("w"), host=server.host, port=server.port)
    store = PostgresStore(writer, instance="node1", days=DAYS, keep_every_s=0)
    fill(store, 1)
    store.retention.run(0, 5)
    assert len(store.history()) == 12
    store.close()
    with locked.connected(server.dbname) as cursor:
        cursor.execute("SELECT relname, pg_get_userbyid(relowner) FROM pg_class"
                       " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')")  # fmt: skip
        owners = dict(cursor.fetchall())
        cursor.execute("SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE proname LIKE 'corec%'")
        assert cursor.fetchall() == [(f"{server.dbname}_owner",)]
    # And what is not CoreC's stays as it was
    assert owners.pop("theirs") == "postgres" and set(owners.values()) == {f"{server.dbname}_owner"}


def test_migrate_brings_on_what_a_node_made_as_the_administrator(made_by_a_node):
    # Given tables that a node made as `postgres`, with no other role, When migrated, Then it is done as their owner
    assert corec("db", "migrate", "--config", ".") == f"version {postgres_schema.NEWEST}, as it was\n"


def test_migrate_of_a_database_without_tables_says_what_makes_them(locked, tmp_path):
    with locked.connected("postgres") as cursor:
        cursor.execute("CREATE DATABASE bare")
    section = {"host": locked.host, "port": locked.port, "dbname": "bare", "user": "postgres"}
    (tmp_path / "corec_config.json").write_text(json.dumps({"db_config": section}))
    said = corec("db", "migrate", "--config", str(tmp_path), code=int(ExitCode.SERVER))
    assert "expected CoreC's tables, and the role bare_owner" in said and "HINT: corec db init" in said


def test_tables_of_a_stranger_are_not_taken_over(made_by_a_node, locked):
    # Given a function of CoreC's name that somebody else has made, which the owner would run with its rights
    server = made_by_a_node
    with locked.connected(server.dbname) as cursor:
        cursor.execute("DO $$ BEGIN CREATE ROLE stranger; EXCEPTION WHEN duplicate_object THEN END $$")
        cursor.execute("ALTER FUNCTION corec_make_turns(date) OWNER TO stranger")
    # When `corec db init` runs, Then it names it, and takes nothing over
    said = corec("db", "init", "--config", ".", code=int(ExitCode.SERVER))
    assert "expected corec_make_turns(date)" in said and "got one of stranger" in said and "HINT" in said


def test_documented_user_is_told_of_a_better_one(locked, tmp_path):
    # Given the documented configuration, whose user is the administrator, then all works, and the writer is named
    section = {"host": locked.host, "port": locked.port, "dbname": "planta", "user": "postgres"}
    (tmp_path / "corec_config.json").write_text(json.dumps({"db_config": section}))
    assert "let it be planta_writer" in corec("db", "init", "--config", str(tmp_path))


def test_migrate_brings_an_older_database_on(here, locked, monkeypatch):
    # Given a database of this version, and a CoreC with one migration more
    corec("db", "init")
    for module in (postgres_schema,):
        monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, "ALTER TABLE shards ADD colour text"))
        monkeypatch.setattr(module, "NEWEST", module.NEWEST + 1)
    # When a node starts as the writer, then the error says what to do, and `corec db migrate` does it
    with pytest.raises(ServerError, match="expected tables of version") as caught:
        PostgresStore(here, instance="node1")
    assert "corec db migrate" in caught.value.hint
    assert corec("db", "migrate") == f"version {postgres_schema.NEWEST}, before {postgres_schema.NEWEST - 1}\n"
    assert corec("db", "migrate") == f"version {postgres_schema.NEWEST}, as it was\n"
    store = PostgresStore(here, instance="node1")
    store.commit(record(1))
    store.close()


def test_reader_of_a_configuration_reads_the_replica(ready, tmp_path, locked):
    # Given a configuration with a replica, when rows are asked for, then the replica is asked
    from msgspec import structs

    from corec.config import parse

    config = structs.replace(parse({"instance_id": "node1"}), db_config=structs.replace(ready, port=1, replica=ready))
    with open_reader(config, tmp_path) as reader:
        assert len(reader.history()) == 3


def test_without_db_config_there_is_nothing_to_do(tmp_path):
    (tmp_path / "corec_config.json").write_text("{}")
    for command in ("init", "migrate", "status"):
        assert "expected a db_config, got none" in corec("db", command, "--config", str(tmp_path), code=int(ExitCode.USAGE))


def test_server_that_is_away_is_said(tmp_path):
    (tmp_path / "corec_config.json").write_text(json.dumps({"db_config": {"host": "127.0.0.1", "port": 1}}))
    assert "cannot be reached" in corec("db", "status", "--config", str(tmp_path), code=int(ExitCode.SERVER))
