"""The scripts that deploy CoreC, run for real: Redis, a cluster, a replica, setup.sh and run.sh."""
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs
from redis import Connection, RedisError

from corec.config import parse
from corec.config.servers import DbServer, Secret
from corec.storage.open_store import open_reader
from corec.storage.postgres import replica as postgres_replica
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.report import report
from corec.storage.postgres.store import PostgresStore
from tests.support.config_samples import node
from tests.support.deployed import configuration, configure
from tests.support.nodes import until
from tests.support.paths import ROOT
from tests.support.servers.ports import free_port, free_ports
from tests.support.servers.postgres import running
from tests.support.servers.redis import require_binary
from tests.support.stores import record

pytestmark = pytest.mark.slow


def ask_redis(port, *words, password=None):
    """What a Redis answers, as text."""
    connection = Connection(port=port, password=password, decode_responses=True, protocol=2)
    try:
        connection.send_command(*words)
        answer = connection.read_response()
        return "\n".join(answer) if isinstance(answer, list) else str(answer).strip()
    except RedisError as error:
        return str(error)
    finally:
        connection.disconnect()


@pytest.fixture
def servers():
    """Starts processes, and stops them."""
    started = []

    def start(*command, **options):
        started.append(subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


@pytest.fixture
def redis_server_on_path(tmp_path_factory, monkeypatch):
    """The tests' server by the name that scripts have for it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "redis-server").symlink_to(require_binary())
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def redis_tools(redis_server_on_path):
    """The server and `redis-cli`, which the scripts call."""
    if not shutil.which("redis-cli"):
        pytest.skip("no redis-cli here, which the scripts call: install redis-server or redis-tools")


def test_redis_of_the_compose_file_wants_the_password_and_shows_it_nowhere(servers, redis_server_on_path, tmp_path):
    # Given the script that the compose file starts
    (tmp_path / "redis").write_text("s3cr3t\n")
    port = free_port()
    options = ["--port", port, "--bind", "127.0.0.1", "--maxmemory", "64mb"]
    server = servers("sh", ROOT / "deploy/redis.sh", tmp_path / "redis", *options, cwd=tmp_path)
    assert until(lambda: "Authentication required" in ask_redis(port, "ping"), 60)
    # Then who has the password gets in, what is durable is on, and no list of processes shows it
    assert ask_redis(port, "ping", password="s3cr3t") == "PONG"
    assert ask_redis(port, "config", "get", "appendonly", password="s3cr3t") == "appendonly\nyes"
    assert "s3cr3t" not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_six_of_them_join_into_a_cluster_once(servers, redis_tools, tmp_path):
    # Given six nodes, as the profile has them
    (tmp_path / "redis").write_text("s3cr3t\n")
    ports = range(first := free_ports(6), first + 6)
    for port in ports:
        (tmp_path / str(port)).mkdir()
        servers("sh", ROOT / "deploy/redis.sh", tmp_path / "redis", "--port", port, "--cluster-enabled", "yes", "--bind", "127.0.0.1",
                "--cluster-node-timeout", "2000", cwd=tmp_path / str(port))  # fmt: skip
    join = ["sh", ROOT / "deploy/cluster.sh", tmp_path / "redis", *(f"127.0.0.1:{port}" for port in ports)]
    # When they are joined
    assert subprocess.run(join, capture_output=True, timeout=60).returncode == 0
    # Then they are a cluster of three masters and three replicas, and joining them again leaves it so
    assert until(lambda: "cluster_state:ok" in ask_redis(ports[0], "cluster", "info", password="s3cr3t"), 60)
    again = subprocess.run(join, capture_output=True, text=True, timeout=120)
    assert "know one another already" in again.stdout and again.returncode == 0
    assert until(lambda: ask_redis(ports[5], "cluster", "nodes", password="s3cr3t").count("master") == 3)


def test_a_replica_follows_and_starts_again(servers, caplog, monkeypatch):
    # Given a PostgreSQL that was told of the replica's role, as in its image at the first start
    with running() as primary:
        bin, folder = primary.bin, primary.folder
        (folder / "db_replica").write_text("r3plica\n")
        env = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "COREC_SECRETS": str(folder), "PGDATA": str(folder / "data"),
               "POSTGRES_USER": "postgres", "POSTGRES_DB": "postgres", "PGHOST": "127.0.0.1", "PGPORT": str(primary.port)}  # fmt: skip
        subprocess.run(["sh", ROOT / "deploy/replication.sh"], env=env, check=True, capture_output=True)
        with primary.connected("postgres") as cursor:
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("CREATE TABLE told (what int)")
        # When the replica is started, and after a stop again
        follower = Follower(primary, free_port())
        env |= {"PGDATA": str(folder / "replica")}
        shutil.copy(ROOT / "deploy/replica.sh", folder)
        for number in (1, 2):
            process = servers("sh", folder / "replica.sh", folder / "db_replica", "127.0.0.1", primary.port, "-p", follower.port,
                              "-c", f"unix_socket_directories={folder}", env=env, cwd=folder, **primary.account)  # fmt: skip
            with primary.connected("postgres") as cursor:
                cursor.execute("INSERT INTO told VALUES (%s)", (number,))
            # Then it has what the first one is told, and takes nothing else
            assert until(lambda: follower.ask("SELECT count(*), pg_is_in_recovery() FROM told") == (number, True), 60), number  # noqa: B023
            if number == 2:
                config = follower.is_read_while_it_keeps_up(primary, caplog, monkeypatch)
            process.terminate()
            assert process.wait(60) == 0
        # And where it is away, the first one is read, which is said
        caplog.clear()
        assert follower.turn_read(config) == 4 and "cannot be read" in caplog.text
        assert "cannot be read: " in dict(report(config.db_config).facts)["replica"]


class Follower:
    """A replica as others see it."""

    def __init__(self, primary, port):
        self.port, self._address = port, {**primary.address("postgres"), "port": port}

    def is_read_while_it_keeps_up(self, primary, caplog, monkeypatch):
        """Commands read it, unless it is far behind; the configuration of both."""
        server = DbServer(host=primary.host, port=primary.port, user=primary.user, dbname="postgres", password=Secret(""))
        config = structs.replace(parse(node()), db_config=structs.replace(server, replica=structs.replace(server, port=self.port)))
        # Given what a node stored by way of the first one
        postgres_schema.migrate_if_allowed(server)
        store = PostgresStore(server, instance=config.instance_id)
        for turn in (1, 2, 3):
            store.commit(record(turn))
        assert until(lambda: self.ask("SELECT max(turn) FROM turns") == (3,), 60)
        # When rows are asked for, then they are the replica's
        monkeypatch.setattr(postgres_replica, "MOST_BEHIND_S", 1e9)
        assert self.turn_read(config) == 3 and not caplog.text
        assert until(lambda: " 0.0 s behind" in dict(report(config.db_config).facts)["replica"], 60)
        # And where it stands still while the first one goes on, the first one's
        self.ask("SELECT pg_wal_replay_pause()")
        store.commit(record(4))
        store.close()
        assert self.turn_read(config) == 3
        monkeypatch.setattr(postgres_replica, "MOST_BEHIND_S", 0.0)
        assert until(lambda: self.turn_read(config) == 4, 60) and "behind, so" in caplog.text
        return config

    def turn_read(self, config):
        """Up to which turn commands read: the server's newest, or what the replica has of it."""
        with open_reader(config, Path()) as reader:
            return reader.state.turn

    def ask(self, sql):
        import psycopg2

        try:
            with psycopg2.connect(**self._address) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()
        except psycopg2.OperationalError:
            return None


def environment(checkout, **more):
    """As where no Docker is; PostgreSQL's administrator by *more*."""
    return {**os.environ, "COREC_DOCKER": "no", "COREC_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), **more}


def say(checkout, *command, **more):
    """Run a script of the checkout to its end; what it printed."""
    done = subprocess.run(command, cwd=checkout, env=environment(checkout, **more), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lives(pid):
    """Whether a process is more than an entry that nobody has collected."""
    file = Path(f"/proc/{pid}/cmdline")
    return file.exists() and file.read_bytes() != b""


def test_run_starts_restarts_and_stops(checkout):
    # Given a node that was started
    try:
        assert "corec runs" in say(checkout, "./run.sh", "--embedded")
        first = int((checkout / "run/corec.pid").read_text())
        # When it is started again
        said = say(checkout, "./run.sh", "--embedded")
        # Then another one runs in its stead, with what the first had accepted
        second = int((checkout / "run/corec.pid").read_text())
        assert "corec stopped" in said and second != first and not lives(first)
        assert until(lambda: (checkout / "run/corec.log").read_text().count("Inicializado") == 2)
    finally:
        # And it can be stopped, more than once
        assert "corec stopped" in say(checkout, "./run.sh", "stop")
    assert not lives(second) and say(checkout, "./run.sh", "stop") == ""


def test_a_start_that_fails_says_why(checkout):
    (checkout / "configs/corec_config.json").write_text('{"bloques": 1}')
    done = subprocess.run(["./run.sh"], cwd=checkout, env=environment(checkout), capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "$.bloques" in done.stdout


@pytest.fixture
def two_servers(checkout, servers, redis_tools):
    """A Redis without a password; a PostgreSQL as a distribution has it: administrators by the socket, others by password."""
    if os.geteuid() or not shutil.which("runuser") or not any(entry.pw_name == "postgres" for entry in pwd.getpwall()):
        pytest.skip("needs root, and a user postgres for PostgreSQL's administrator")
    redis = free_port()
    (checkout / "redis.conf").write_text(f"port {redis}\nbind 127.0.0.1\nsave \"\"\n")
    servers("redis-server", "redis.conf", cwd=checkout)
    assert until(lambda: ask_redis(redis, "ping") == "PONG", 60)
    with running() as postgres:
        (postgres.folder / "data/pg_hba.conf").write_text("local all postgres peer\nhost all all 127.0.0.1/32 scram-sha-256\n")
        subprocess.run(["kill", "-HUP", str(postgres.process.pid)], check=True)
        yield redis, postgres


def test_setup_and_run_with_both_servers_twice_without_harm(checkout, two_servers):
    # Given a node that ran embedded, until it had results
    redis, postgres = two_servers
    say(checkout, "./run.sh", "--embedded")
    assert until(lambda: "/0" in say(checkout, sys.executable, "-m", "corec", "query"), 60)
    say(checkout, "./run.sh", "stop")
    # And the documented configuration of both servers, nothing filled in
    base = {"password": "your_real_password", "host": "127.0.0.1"}
    configure(checkout, db_config={**base, "dbname": "corec_db", "user": "corec_writer", "port": str(postgres.port)},
              redis_config={**base, "port": redis})  # fmt: skip
    socket_folder = {"PGHOST": str(postgres.folder)}
    for number in (1, 2):
        # When it is set up
        said = say(checkout, "./setup.sh", **socket_folder)
        # Then Redis wants the password, now and after a restart
        password = (checkout / "secrets/redis").read_text().strip()
        assert ask_redis(redis, "ping", password=password) == "PONG" and "Authentication required" in ask_redis(redis, "ping")
        assert re.search(f'requirepass "?{password}"?', (checkout / "redis.conf").read_text())
        # And database, tables and roles are there, made only once
        assert re.search(r"tables +made" if number == 1 else r"tables +were there", said)
    try:
        # And the node runs on them, and runs again
        for _ in range(2):
            assert "corec runs" in say(checkout, "./run.sh")
        assert until(lambda: rows(postgres, checkout) > 0, 60)
        # And what it held as an embedded one has moved there
        assert (checkout / "data/store.db.moved").exists() and not (checkout / "data/store.db").exists()
        assert "moved: the store goes on at turn" in (checkout / "run/corec.log").read_text()
        assert "corec_writer" in say(checkout, sys.executable, "-m", "corec", "db", "status")
        # And with Celery, whose workers go on with the rows
        configure(checkout, **configuration(checkout), celery_config={"worker_concurrency": 1})
        assert "celery runs" in say(checkout, "./run.sh")
        before = rows(postgres, checkout)
        assert until(lambda: rows(postgres, checkout) > before, 60), (checkout / "run/celery.log").read_text()
    finally:
        say(checkout, "./run.sh", "stop")


def rows(postgres, checkout):
    """Rows of results that the reader of `secrets/db_reader` sees."""
    import psycopg2

    password = (checkout / "secrets/db_reader").read_text().strip()
    with psycopg2.connect(host="127.0.0.1", port=postgres.port, user="corec_db_reader", password=password, dbname="corec_db") as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM bloques")
            return cursor.fetchone()[0]


def psql_as_administrator(postgres, *statements):
    psql = ["runuser", "-u", "postgres", "--", "psql", "-h", postgres.folder, "-p", str(postgres.port)]
    for statement in statements:
        subprocess.run([*psql, "-c", statement], check=True, capture_output=True, cwd="/")


def test_a_password_that_others_gave_the_administrator_is_not_changed(checkout, two_servers):
    # Given an administrator of PostgreSQL who has a password already
    redis, postgres = two_servers
    socket_folder = {"PGHOST": str(postgres.folder)}
    psql_as_administrator(postgres, "ALTER ROLE postgres PASSWORD 'theirs'")
    configure(checkout, db_config={"host": "127.0.0.1", "user": "corec_writer", "port": postgres.port}, redis_config={"port": redis})
    # When it is set up, then that is said, and stays
    said = say(checkout, "./setup.sh", **socket_folder)
    assert "PostgreSQL's postgres has another password than secrets/db_admin: left as it is" in said and "tables" not in said
    # And one that was told, and is wrong, is an error
    (checkout / "secrets/db_admin").write_text("a guess\n")
    done = subprocess.run(["./setup.sh"], cwd=checkout, env=environment(checkout, **socket_folder), capture_output=True, text=True)
    assert done.returncode == 1 and "write it into that file" in done.stdout
    # And with the right one in the file, it goes through
    (checkout / "secrets/db_admin").write_text("theirs\n")
    assert "tables      made" in say(checkout, "./setup.sh", **socket_folder)


def test_the_order_of_the_original_documentation(checkout, two_servers):
    # Given both servers with the passwords of its section 4.2, and the database, before any of it is in the configuration
    redis, postgres = two_servers
    assert ask_redis(redis, "config", "set", "requirepass", "secure_password") == "OK"
    psql_as_administrator(postgres, "CREATE DATABASE corec_db", "ALTER USER postgres WITH PASSWORD 'a_password'")
    here = {"db_config": {"dbname": "corec_db", "user": "postgres", "password": "your_real_password", "host": "localhost",
                          "port": str(postgres.port)},
            "redis_config": {"host": "localhost", "port": redis, "username": "", "password": "your_real_redis_password"}}  # fmt: skip
    configure(checkout, **here)
    # When ./setup.sh runs, Then it goes through, leaves the servers as they are, and says what is next
    said = say(checkout, "./setup.sh", PGHOST=str(postgres.folder))
    assert said.count("left as it is") == 2 and "redis_config db_config of configs/corec_config.json, then ./run.sh" in said
    # And when the real passwords stand in the configuration, as in 4.3, ./run.sh starts a node on both
    here["db_config"]["password"], here["redis_config"]["password"] = "a_password", "secure_password"
    configure(checkout, **here)
    try:
        assert "corec runs" in say(checkout, "./run.sh")
        assert "corec1" in say(checkout, sys.executable, "-m", "corec", "db", "status")
    finally:
        say(checkout, "./run.sh", "stop")
    # And ./setup.sh after that gives the tables, which that node made as postgres, to the owner who cannot log in
    again = say(checkout, "./setup.sh", PGHOST=str(postgres.folder))
    assert "corec_db_owner has" in again and "rights      given" in again
    assert (checkout / "secrets/redis").read_text() == "secure_password\n"


def printed(part, *, redis, cluster):
    """The (language, text) of what docs/deployment.md prints under a heading, on these ports."""
    page = (ROOT / "docs/deployment.md").read_text()
    text = page.split(f"\n## {part}")[1].split("\n## ")[0].replace(":6379/", f":{redis}/")
    return re.findall(r"```(\w*)\n(.*?)```", re.sub(r"\b700([0-5])\b", lambda found: str(cluster + int(found[1])), text), re.S)


def fleet_of(checkout):
    """What the first node says of the fleet."""
    return json.loads(say(checkout, sys.executable, "-m", "corec", "status", "--json"))["fleet"]


def test_three_nodes_on_a_cluster_with_the_commands_as_printed(checkout, two_servers):
    # Given what step 2 of the page leaves, with Celery's settings of step 3
    redis, postgres = two_servers
    cluster = free_ports(6)
    (_, join), (_, keys), (_, nodes), (_, ask), _, (_, stop), _ = printed("3. Three nodes", redis=redis, cluster=cluster)
    own = {"password": "your_real_password", "host": "127.0.0.1"}
    configure(checkout, db_config={**own, "dbname": "corec_db", "user": "corec_writer", "port": str(postgres.port)},
              redis_config={"password": "your_real_password", "host": "localhost", "port": redis})  # fmt: skip
    say(checkout, "./setup.sh", PGHOST=str(postgres.folder))
    venv = checkout / ".venv/bin"
    venv.mkdir(parents=True)
    (venv / "corec").write_text(f'#!/bin/sh\nexec {sys.executable} -m corec "$@"\n')
    (venv / "corec").chmod(0o755)
    try:
        # When the commands are given as they are printed
        say(checkout, "sh", "-euc", join)
        configure(checkout, **configuration(checkout) | json.loads(f"{{{keys}}}"))
        said = say(checkout, "bash", "-euc", nodes + ask)
        # Then workers fold all shards, and the other two nodes stand by
        assert "celery runs" in said and "fleet" in said
        assert until(lambda: sum(len(worker["shards"]) for worker in fleet_of(checkout)["workers"]) == 16, 60), fleet_of(checkout)
        assert until(lambda: all("Inicializado" in (checkout / f"run/corec{n}.log").read_text() for n in (2, 3)), 60)
        # And what the first one hears goes through the cluster into rows
        assert until(lambda: rows(postgres, checkout) > 0, 60), (checkout / "run/celery.log").read_text()
    finally:
        stopped = subprocess.run(["bash", "-uc", stop], cwd=checkout, env=environment(checkout), capture_output=True, text=True)
    # And the last commands stop all of it
    assert "celery stopped" in stopped.stdout and "corec stopped" in stopped.stdout
    assert until(lambda: all("stopped at turn" in (checkout / f"run/corec{n}.log").read_text() for n in (2, 3)), 60)
    assert until(lambda: all("refused" in ask_redis(port, "ping") for port in range(cluster, cluster + 6)), 60)
