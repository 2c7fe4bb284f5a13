"""The reply of every n-th command is lost, for each n: on a cluster, and on the line of the router that serves the bare stream."""
import contextlib
import os

import pytest

from corec.publish import Publisher
from tests.support.nodes import now_ms, patient, readings, running, until
from tests.support.servers.proxy import Proxy
from tests.support.servers.redis import announced_cluster, free_port
from tests.support.servers.redis import running as server_running

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis]

MOST = 60 if os.environ.get("COREC_CHAOS") else 12


@contextlib.contextmanager
def plain():
    """(a server, a line to it)."""
    with server_running() as server, Proxy(server.port) as proxy:
        yield server, proxy


@contextlib.contextmanager
def cluster():
    """(the one master of a cluster, the line by which its clients come)."""
    port = free_port()
    with Proxy(port) as proxy, announced_cluster(proxy.port, port) as server:
        yield server, proxy


def once(nucleus) -> int:
    """Readings that were counted, each once."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


@pytest.mark.parametrize("servers", [plain, cluster])
def test_the_reply_to_the_nth_command_is_lost_for_each_n(servers, tmp_path):
    # Given a node, its router and a device, all over one line, and devices that know nothing of shards on another
    with servers() as (server, proxy):
        config = patient(redis_config={"host": "127.0.0.1", "port": proxy.port})    # a frame that waited for a router is not late
        front, sent = server.client(), 0
        with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
            assert front.info("cluster")["cluster_enabled"] == (servers is cluster)
            for nth in range(1, MOST + 1):
                # When the line loses the reply to the nth command from now on
                lost = proxy.replies_lost
                proxy.lose_reply(nth)
                for number in range(10):
                    front.xadd("corec:in", {"m": readings([number])})
                    front.xadd("corec:in", {"m": readings([2500 + number], canal=2)})
                publisher.publish(readings(range(100)), time=now_ms(), timeout=60)
                sent += 120
                # Then each reading counts once, bare frames too, which have no number
                assert until(lambda: proxy.replies_lost > lost, 60), nth  # noqa: B023
                assert until(lambda: once(nucleus) == sent, 60), (nth, once(nucleus), sent, nucleus.status()["redis"])  # noqa: B023
            assert nucleus.store.state.ledger["rejected_malformed"] == nucleus.store.state.ledger["late"] == 0
            assert nucleus.redis.status()["losses"] == 0
