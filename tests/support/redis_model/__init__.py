"""A model of Redis for simulated worlds: the commands that CoreC uses, by a clock of its own, and faults on demand.

    server = ModelServer(SimulatedClock(world, wall_ms=START))
    network = Network(world, {"redis:6379": server})
    link = RedisLink(config.redis_config, connect=network.connect())

A client of redis-py speaks to it through `ModelConnection`.  `tests/simulation/test_redis_model.py` holds it to a real server.
"""
from tests.support.redis_model.network import ModelConnection, Network, connection
from tests.support.redis_model.server import ModelServer

__all__ = ["ModelConnection", "ModelServer", "Network", "connection"]
