"""The proxy that tests of servers put between: each of its faults does what its name says."""
import socket
import threading
import time

import pytest

from tests.support.servers.proxy import Proxy


@pytest.fixture
def server():
    """An echo server that keeps what it was told: (port, list of requests)."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve(connection):
        while data := connection.recv(100):
            heard.append(data)
            connection.sendall(data.upper())

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(connection, text):
    connection.sendall(text)
    return connection.recv(100)


def connected(proxy, timeout=60.0):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout)


def test_everything_passes_and_is_counted(server):
    # Given a proxy, when a client asks twice, then it gets both answers
    with Proxy(server[0]) as proxy, connected(proxy) as client:
        assert [ask(client, b"one"), ask(client, b"two")] == [b"ONE", b"TWO"]
        assert proxy.exchanges == 2


def test_a_lost_reply_is_of_a_request_that_was_carried_out(server):
    # Given the second reply is to be lost
    port, heard = server
    with Proxy(port) as proxy, connected(proxy) as client:
        proxy.lose_reply(2)
        # When a client asks twice, then the server heard both, the client is cut off, and the next one is served
        assert ask(client, b"one") == b"ONE"
        assert ask(client, b"two") == b""
        assert heard == [b"one", b"two"]
        with connected(proxy) as other:
            assert ask(other, b"three") == b"THREE"
        assert proxy.replies_lost == 1


def test_every_nth_reply_is_lost(server):
    with Proxy(server[0]) as proxy:
        proxy.lose_reply(3, every=True)
        answers = []
        for _ in range(2):
            with connected(proxy) as client:
                answers += [ask(client, b"x") for _ in range(3)]
        assert answers == [b"X", b"X", b"", b"X", b"X", b""]


def test_a_client_that_ends_is_heard_of_no_more(server):
    port, heard = server
    with Proxy(port) as proxy, connected(proxy) as client:
        proxy.end_at(2)
        # Given the second exchange is the last, when a client asks twice, then the server heard both, and nobody gets by again
        assert [ask(client, b"one"), ask(client, b"two")] == [b"ONE", b""]
        assert heard == [b"one", b"two"] and proxy.replies_lost == 1
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)


def test_cut_ends_connections_and_takes_new_ones(server):
    with Proxy(server[0]) as proxy, connected(proxy) as client:
        assert ask(client, b"one") == b"ONE"
        proxy.cut()
        assert client.recv(1) == b""
        with connected(proxy) as other:
            assert ask(other, b"two") == b"TWO"


def test_down_refuses_until_up_on_the_same_port(server):
    with Proxy(server[0]) as proxy:
        proxy.down()
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        proxy.up()
        with connected(proxy) as client:
            assert ask(client, b"one") == b"ONE"


def test_silence_keeps_connections_open_and_passes_nothing(server):
    port, heard = server
    with Proxy(port) as proxy, connected(proxy) as client:
        assert ask(client, b"one") == b"ONE"
        proxy.go_silent()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(client, b"two")
        assert heard == [b"one"]
        proxy.up()
        with connected(proxy) as other:
            assert ask(other, b"three") == b"THREE"


def test_delay_holds_up_each_way(server):
    with Proxy(server[0]) as proxy, connected(proxy) as client:
        proxy.delay = 0.05
        began = time.monotonic()
        assert ask(client, b"one") == b"ONE"
        assert time.monotonic() - began >= 0.1
