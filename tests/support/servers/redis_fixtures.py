"""Fixtures: `shared_redis`, `redis_server` (the same, emptied before each test), `own_redis` (to stop and start), `redis_cluster` (3
masters, 3 replicas).  Each server is stopped at the end of its test, the shared ones at the end of the session.
"""
import os

import pytest

from tests.support.servers import redis as servers


@pytest.fixture(scope="session")
def shared_redis():
    if url := os.environ.get(servers.URL):
        yield servers.ForeignServer(url)
        return
    with servers.running() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis):
    """The session's server, empty."""
    shared_redis.client().flushall()
    return shared_redis


@pytest.fixture
def own_redis():
    """A server to stop and start."""
    with servers.running() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster():
    """The servers of a cluster, masters first."""
    with servers.cluster() as nodes:
        yield nodes
