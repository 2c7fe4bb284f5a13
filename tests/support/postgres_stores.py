"""The store on PostgreSQL, opened for a test, and what two stores hold compared."""
import numpy as np

from corec.config.servers import DbServer, Secret
from corec.storage.postgres.store import PostgresStore

DAYS = 36_500  # the tests' time is November 2023


def server_of(address, **changes):
    """The DbServer of a db_config."""
    password = Secret(address["password"]) if address["password"] else None
    return DbServer(**{**address, "password": password, **changes})


def opened(server, **options):
    return PostgresStore(server, **{"instance": "corec1", "days": DAYS, **options})


def assert_same(found, expected):
    """Structured arrays, field by field: NaN is equal to NaN."""
    assert found.dtype == expected.dtype
    for name in found.dtype.names:
        np.testing.assert_array_equal(found[name], expected[name])
