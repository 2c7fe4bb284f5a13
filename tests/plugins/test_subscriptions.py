"""nucleus.suscribir: inputs, outputs and plugins' streams, to plain and async handlers, each with a queue of its own."""
import asyncio
import threading
import time

import numpy as np
import pytest

from corec.errors import PluginError
from corec.plugin_api import subscriptions
from corec.plugin_api.subscriptions import StreamEntry
from corec.plugins import runner
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.plugin_nodes import Node

pytestmark = pytest.mark.slow


@pytest.fixture
def nucleus(tmp_path):
    with running(small(), tmp_path) as node:
        yield node


def values_of(frames):
    return np.frombuffer(frames, np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "?")]))["valor"].tolist()


def submit(nucleus, *values, canal=1):
    nucleus.submit(readings(range(len(values)) if canal == 1 else [2500], values, canal=canal), time=now_ms()).result(60)


@pytest.mark.parametrize("is_async", [False, True])
def test_inputs_and_outputs_reach_their_subscribers(nucleus, is_async):
    # Given a subscriber of each of the node's own streams
    received = {}

    def plain(entry):
        received.setdefault(entry.stream, []).append(entry)

    async def awaited(entry):
        await asyncio.sleep(0)
        plain(entry)

    handles = [nucleus.suscribir(stream, awaited if is_async else plain) for stream in ("corec:in", "corec:messages:1", "corec:alerts")]
    # When readings come, one of them beyond its limit
    submit(nucleus, 20.0, 150.0)
    submit(nucleus, 7.0, canal=2)
    # Then each stream tells its entries, with the types of redis-py
    assert until(lambda: len(received.get("corec:in", ())) == 2 and "corec:alerts" in received and "corec:messages:1" in received)
    assert values_of(received["corec:in"][0].frames) == [20.0, 150.0]
    assert values_of(received["corec:messages:1"][0].frames) == [20.0, 150.0]
    assert values_of(received["corec:alerts"][0].frames) == [150.0]
    assert all(type(entry.id) is bytes and b"-" in entry.id for entries in received.values() for entry in entries)
    # And nothing more once they are cancelled
    for handle in handles:
        handle.cancel()
    submit(nucleus, 1.0)
    time.sleep(0.3)
    assert len(received["corec:in"]) == 2 and nucleus.status()["subscriptions"] == []


def test_stream_of_a_plugin_is_told_once_it_is_committed(nucleus):
    # Given a subscriber that reads the stream when it is told of an entry
    seen = []

    async def look(entry):
        seen.append((entry.id, await nucleus.redis_client.xrange("cosas")))

    nucleus.suscribir("cosas", look)
    number = asyncio.run(nucleus.redis_client.xadd("cosas", {"m": b"1"}, urgent=True))
    # Then the entry is there already, under the same id
    assert until(lambda: seen)
    assert seen == [(number, [(number, {b"m": b"1"})])]


def test_slow_subscriber_loses_its_oldest_and_nobody_else_does(nucleus, monkeypatch):
    # Given one who does not come to an end, and one who keeps up
    assert subscriptions.MOST_WAITING == 1_000
    monkeypatch.setattr(subscriptions, "MOST_WAITING", 5)
    free, slow, quick = threading.Event(), [], []

    async def dawdle(entry):
        slow.append(entry)
        while not free.is_set():
            await asyncio.sleep(0.01)

    held, _ = nucleus.suscribir("x", dawdle), nucleus.suscribir("x", quick.append)
    for number in range(20):
        nucleus.subscriptions.publish("x", [(b"%d-0" % number, {b"m": b""})])
        assert until(lambda number=number: len(quick) > number)
    # When it comes round, Then the newest are there and the others counted
    assert held.dropped == 14
    free.set()
    assert until(lambda: held.delivered == 6)
    assert [entry.id for entry in slow] == [b"0-0", *(b"%d-0" % number for number in range(15, 20))]
    assert nucleus.status()["subscriptions"][0]["dropped"] == 14


def test_handler_that_fails_or_never_ends_is_counted_and_told_of_once(nucleus, monkeypatch, caplog):
    monkeypatch.setattr(subscriptions, "CALL_LIMIT_S", 0.05)

    async def never(entry):
        await asyncio.Event().wait()

    handles = [nucleus.suscribir("x", lambda entry: 1 / 0), nucleus.suscribir("x", never)]
    nucleus.subscriptions.publish("x", [(b"1-0", {}), (b"2-0", {})])
    assert until(lambda: all(handle.failures == 2 for handle in handles))
    assert caplog.text.count("ZeroDivisionError") == 1 and caplog.text.count("took more than 0.05 s") == 1


@pytest.mark.parametrize(("stream", "handler", "said"), [
    ("", print, "expected the name of a stream"), (7, print, "expected the name of a stream"),
    ("{s03}:fast", print, "the input of one shard"), ("x", "print", "expected a handler that can be called"),
])  # fmt: skip
def test_what_cannot_be_subscribed_to_is_refused(nucleus, stream, handler, said):
    with pytest.raises(PluginError, match=said):
        nucleus.suscribir(stream, handler)


def test_plugin_and_its_block_hear_what_others_say(tmp_path):
    # Given a plugin whose block takes its values from a stream of the node
    node = Node(tmp_path)
    node.plugin("oye", """
        from corec.blocks import BloqueSimbiotico
        from corec.core import deserializar_mensaje
        from corec.entities import ProcesadorSensor, crear_entidad
        class Plugin:
            def __init__(self, nucleus):
                self.nucleus = nucleus
            def inicializar(self):
                entidades = [crear_entidad("eco", 4, procesador=ProcesadorSensor())]
                self.bloque = BloqueSimbiotico("eco", 4, entidades, nucleus=self.nucleus)
                self.nucleus.modulos["registro"].bloques["eco"] = self.bloque
                self.bloque.nucleus.suscribir("corec:messages:2", self.oir)
            async def oir(self, entry):
                id, canal, valor, estado = await deserializar_mensaje(entry.frames[:10])
                self.bloque.receive({"eco": valor})
                await self.bloque.procesar(0.0)
            async def procesar(self, datos, carga):
                pass
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("oye", Plugin(nucleus))
    """)  # fmt: skip
    with node as nucleus:
        submit(nucleus, 31.5, canal=2)
        assert until(lambda: nucleus.engine.ledger["in"] == 2)
        assert until(lambda: nucleus.engine.entity(2**31)["valor"] == 31.5)
        assert nucleus.status()["subscriptions"][0]["by"] == "oye"
        assert nucleus.status()["plugins"][0]["bytes_in_s"] > 0


def test_subscribers_move_with_the_others_when_a_handler_blocks(tmp_path, monkeypatch, caplog):
    # Given a plugin whose handler blocks the loop, and a subscriber of the program's
    monkeypatch.setattr(runner, "HOLD_LIMIT_S", 0.5)
    node, received = Node(tmp_path), []
    node.plugin("bad", """
        import time
        class Plugin:
            async def procesar(self, datos, carga):
                pass
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("bad", Plugin())
            nucleus.suscribir("x", lambda entry: time.sleep(3))
    """)
    with node as nucleus:
        nucleus.suscribir("x", received.append)
        nucleus.subscriptions.publish("x", [(b"1-0", {})])
        # Then the handler is cancelled with its plugin, and the other hears
        assert until(lambda: nucleus.status()["plugins"][0]["state"] == "suspended")
        nucleus.subscriptions.publish("x", [(b"2-0", {})])
        assert until(lambda: StreamEntry("x", b"2-0", {}) in received)
        assert [each["by"] for each in nucleus.status()["subscriptions"]] == ["program"]
