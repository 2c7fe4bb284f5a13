"""Ports for servers of the tests' own."""
import os
import random
import socket

#: Below those that the system gives to connections, so that none of them takes a port between its choice and its use;
#: tests that run side by side have each their share.
WORKER, WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
FIRST = 12_000 + 10_000 * WORKER // WORKERS
LAST = 12_000 + 10_000 * (WORKER + 1) // WORKERS
#: A node of a Redis Cluster speaks with the others this much higher; that port is free too.
BUS = 10_000

_dice = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing listens on, given only once."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of *count* such ports in a row."""
    while True:
        first = _dice.randrange(FIRST, LAST - count)
        wanted = {*range(first, first + count)}
        if not wanted & _given and all(_is_free(port) and _is_free(port + BUS) for port in wanted):
            _given.update(wanted)
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
