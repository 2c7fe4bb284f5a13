"""corec.config.transport: what is said of the way to each server."""
import pytest

from corec.config import parse
from corec.config.servers import DbServer
from corec.config.transport import unprotected, way_to_postgres
from tests.support.config_samples import node


def to(host="db.example", **keys):
    return DbServer(dbname="corec_db", user="corec_writer", password=None, host=host, port=5432, **keys)


@pytest.mark.parametrize(("keys", "said"), [
    ({}, "sslmode prefer, by default: encrypted where the server offers it, and nobody checks"),
    ({"sslmode": "disable"}, "sslmode disable: nothing is encrypted"),
    ({"sslmode": "require"}, "sslmode require: encrypted, but nobody checks"),
    ({"sslmode": "require", "sslrootcert": "/ca.pem"}, "sslmode require: encrypted, by a server with a certificate of this authority,"),
    ({"sslmode": "verify-full"}, "for this host's name"),
    ({"host": "/run/postgresql"}, "Unix socket"),
])  # fmt: skip
def test_each_mode_is_said_in_words(keys, said):
    assert said in way_to_postgres(to(**keys))


@pytest.mark.parametrize(("sections", "named"), [
    ({"db_config": {"host": "localhost"}, "redis_config": {"host": "127.0.0.1"}}, []),
    ({"db_config": {"host": "db.example"}}, ["db_config"]),
    ({"db_config": {"host": "db.example", "sslmode": "verify-ca"}}, ["db_config"]),
    ({"db_config": {"host": "db.example", "sslmode": "verify-full"}}, []),
    ({"db_config": {"host": "localhost", "replica": {"host": "10.0.0.7"}}}, ["db_config.replica"]),
    ({"redis_config": {"host": "10.0.0.7"}}, ["redis_config"]),
    ({"redis_config": {"host": "10.0.0.7", "tls": True}}, []),
    ({"redis_config": {"unix_socket": "/run/redis.sock"}}, []),
])  # fmt: skip
def test_servers_of_other_machines_in_clear_are_named(sections, named):
    # Given servers, Then those that somebody on the way could read or stand in for are named, each with a remedy
    found = unprotected(parse(node(**sections)))
    assert [line.split(":")[0] for line in found] == named
    assert all("HINT" in line for line in found)
