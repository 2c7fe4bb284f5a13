"""corec.core: what a plugin imports, and the documented plugin over it."""
import asyncio
import importlib
import logging
import math
import random
import struct
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

import corec.core
from corec._core.wire import decode_frames, encode_frames
from corec.core import deserializar_mensaje, enviar_mensaje_redis, serializar_mensaje
from corec.errors import FrameError, PartialFrame, PluginError, UsageError
from corec.pipeline.plugin_entries import unpack_entry
from corec.plugin_api import stream_writer
from corec.plugin_api.embedded_redis import EmbeddedRedis
from corec.plugin_api.stream_writer import StreamWriter
from tests.support.entity_samples import documented_plugin
from tests.support.paths import ROOT


def frame(*parts):
    return asyncio.run(serializar_mensaje(*parts))


def parts(mensaje):
    return asyncio.run(deserializar_mensaje(mensaje))


# --- what is there -----------------------------------------------------------------------------

def test_modules_that_the_documented_plugin_imports():
    assert (corec.core.logging, corec.core.asyncio, corec.core.random) == (logging, asyncio, random)


def test_all_names_are_there():
    assert all(hasattr(corec.core, name) for name in corec.core.__all__)
    assert "celery_app" not in corec.core.__all__


def test_docstring_tells_the_plugin_api_from_the_kernels():
    assert "The plugin API" in corec.core.__doc__ and "Nothing of `corec._core` is for plugins" in corec.core.__doc__


# --- frames ------------------------------------------------------------------------------------

@pytest.mark.parametrize("values", [(0, 5, 0.5, True), (2**32 - 1, 127, -1.5, False), (7, 0, 3.4028234663852886e38, True)])
def test_frame_is_ten_bytes_and_comes_back(values):
    mensaje = frame(*values)
    assert len(mensaje) == 10 and mensaje == struct.pack("!Ibf?", *values)
    assert parts(mensaje) == values
    assert [type(part) for part in parts(bytearray(mensaje))] == [int, int, float, bool]


def test_frame_is_that_of_the_engine():
    assert frame(np.uint32(9), np.int8(3), np.float32(2.25), np.True_) == encode_frames([9], 3, 2.25, True)
    ids, canales, valores, estados = decode_frames(frame(9, 3, 2.25, True))
    assert (ids[0], canales[0], valores[0], estados[0]) == (9, 3, 2.25, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_sensor_failure_travels(bad):
    assert not math.isfinite(parts(frame(1, 1, bad, True))[2])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((-1, 1, 0.0, True), "expected an id from 0 to 4294967295, got -1"), ((2**32, 1, 0.0, True), "got 4294967296"),
        (("0", 1, 0.0, True), "expected an id .* got '0'"), ((0.0, 1, 0.0, True), "expected an id"),
        ((True, 1, 0.0, True), "expected an id"),
        ((0, 128, 0.0, True), r"expected a canal from 0 to 127, got 128\nHINT: the channel is a signed byte"),
        ((0, -1, 0.0, True), "expected a canal"), ((0, None, 0.0, True), "expected a canal"),
        ((0, 1, "1.0", True), "expected a valor that a 32-bit float holds, got '1.0'"), ((0, 1, None, True), "expected a valor"),
        ((0, 1, 1e39, True), r"expected a valor .* got 1e\+39"), ((0, 1, 10**400, True), "expected a valor"),
        ((0, 1, 0.0, None), "expected an estado of True or False, got None"), ((0, 1, 0.0, 2), "expected an estado"),
    ],
)  # fmt: skip
def test_wrong_parts_are_refused(wrong, expected):
    with pytest.raises(FrameError, match=expected):
        frame(*wrong)


@pytest.mark.parametrize("length", [0, 9, 11, 20])
def test_wrong_length_is_refused(length):
    with pytest.raises(PartialFrame, match=rf"expected 10 bytes, got {length}\nHINT: a frame is struct '!Ibf\?'"):
        parts(bytes(length))


@pytest.mark.parametrize(
    ("mensaje", "expected"),
    [
        (struct.pack("!IBf?", 1, 200, 0.0, True), "expected a canal from 0 to 127, got 200"),
        (struct.pack("!Ibf", 1, 1, 0.0) + b"\x02", "expected an estado of 0 or 1 in the last byte, got 2"),
        ("0123456789", r"expected the 10 bytes of a frame, got str\nHINT: a stream entry has them in its field b'm'"),
        ({b"m": b""}, "expected the 10 bytes of a frame, got dict"),
    ],
)
def test_bytes_that_are_no_frame_are_refused(mensaje, expected):
    with pytest.raises(FrameError, match=expected):
        parts(mensaje)


# --- streams -----------------------------------------------------------------------------------

class FakeRedis:
    """xadd of redis.asyncio, with its parameters and no others."""

    def __init__(self):
        self.added = []

    async def xadd(self, name, fields, id="*", maxlen=None, approximate=True, nomkstream=False, minid=None, limit=None):
        self.added.append((name, fields, maxlen, approximate))
        return b"1-0"


class Blocking:
    """A client that is not async."""

    def xadd(self, name, fields, maxlen, approximate):
        return b"2-0"


def send(client, *arguments, **options):
    return asyncio.run(enviar_mensaje_redis(client, *arguments, **options))


def test_message_goes_into_field_m_of_a_bounded_stream():
    client = FakeRedis()
    assert send(client, "alertas", b"0123456789") == b"1-0"
    assert client.added == [("alertas", {"m": b"0123456789"}, 100_000, True)]


def test_critical_message_says_so():
    client = FakeRedis()
    send(client, "alertas", bytearray(b"0123456789"), prioridad="critical")
    assert client.added == [("alertas", {"m": b"0123456789", "p": "critical"}, 100_000, True)]


def test_client_without_async_works_too():
    assert send(Blocking(), "alertas", b"0123456789") == b"2-0"


class Outbox:
    """A pipeline as far as entries of plugins know it."""

    def __init__(self):
        self.entries = []

    @property
    def waiting_out(self):
        return len(self.entries)

    def put_out(self, stream, blob, urgent):
        self.entries.append((stream, unpack_entry(blob), urgent))


def own_client(kind, outbox):
    """`nucleus.redis_client` of an embedded node, and of one on Redis."""
    if kind == "embedded":
        return EmbeddedRedis(lambda: outbox)
    client = FakeRedis()
    client.corec_put_out = StreamWriter(lambda: outbox).add
    return client


@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_message_by_a_nodes_own_client_goes_along_with_a_commit(kind):
    # Given a node's own client
    outbox = Outbox()
    client = own_client(kind, outbox)
    # When an ordinary and a critical message are sent
    numbers = [send(client, "alertas", b"0123456789"), send(client, "alertas", b"0123456789", prioridad="critical")]
    # Then both wait for a commit under the numbers that were given back, and the critical one has it come at once
    assert outbox.entries == [("alertas", (numbers[0], {b"m": b"0123456789"}), False),
                              ("alertas", (numbers[1], {b"m": b"0123456789", b"p": b"critical"}), True)]  # fmt: skip


@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_no_more_than_a_bound_of_entries_waits_for_a_commit(kind, monkeypatch):
    monkeypatch.setattr(stream_writer, "MOST_WAITING", 3)
    client = own_client(kind, Outbox())
    for _ in range(3):
        send(client, "alertas", b"0123456789")
    with pytest.raises(PluginError, match="3 stream entries wait for a commit already\nHINT: send fewer"):
        send(client, "alertas", b"0123456789")


def test_entries_of_several_threads_wait_in_the_order_of_their_numbers():
    # Given a writer whose pipeline is slow to take an entry
    outbox = Outbox()
    outbox.put_out = lambda stream, blob, urgent: (time.sleep(0.0001), Outbox.put_out(outbox, stream, blob, urgent))
    writer = StreamWriter(lambda: outbox)
    # When four threads add to one stream
    threads = [threading.Thread(target=lambda: [writer.add("alertas", {"m": b"x"}) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # Then numbers rise from entry to entry
    numbers = [tuple(map(int, number.split(b"-"))) for _, (number, _), _ in outbox.entries]
    assert len(numbers) == 200 and numbers == sorted(set(numbers))


@pytest.mark.parametrize("stream", ["corec:in", "{s00}:in", "{s07}:fast", "{s15}:in"])
def test_stream_that_is_an_input_is_refused(stream):
    client = FakeRedis()
    with pytest.raises(PluginError, match="which is an input of CoreC\nHINT: readings come from a block"):
        send(client, stream, b"0123456789")
    assert client.added == []


@pytest.mark.parametrize("stream", ["alertas", "corec:alerts", "trading:in", "s07:in"])
def test_stream_that_is_an_output_is_taken(stream):
    assert send(FakeRedis(), stream, b"0123456789") == b"1-0"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((FakeRedis(), "", b"x"), "expected the name of a stream, got ''"), ((FakeRedis(), None, b"x"), "expected the name of a stream"),
        ((FakeRedis(), "alertas", "text"), r"expected the bytes of a message, got 'text'\nHINT: await serializar_mensaje"),
        ((FakeRedis(), "alertas", b""), "expected the bytes of a message"), ((FakeRedis(), "alertas", None), "expected the bytes"),
        ((FakeRedis(), "alertas", b"x", "urgent"), "expected a prioridad of normal or critical, got 'urgent'"),
        ((None, "alertas", b"x"), r"expected a Redis client, got None\nHINT: nucleus.redis_client is one"),
    ],
)  # fmt: skip
def test_wrong_message_is_refused(arguments, expected):
    with pytest.raises(PluginError, match=expected):
        send(*arguments)


# --- Celery ------------------------------------------------------------------------------------

@pytest.fixture
def without_app(monkeypatch):
    monkeypatch.delitem(vars(corec.core), "celery_app", raising=False)
    yield
    vars(corec.core).pop("celery_app", None)


def test_import_of_the_door_does_not_import_celery():
    code = "import sys, corec.core; from corec.core import *; print('celery' in sys.modules, 'redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_celery_app_is_made_on_first_use_and_once(monkeypatch, without_app):
    # Given a Celery of which we see how it is set up
    made = []

    class Celery:
        def __init__(self, name, **options):
            made.append(name)
            self.conf = {}

    monkeypatch.setitem(sys.modules, "celery", types.SimpleNamespace(Celery=Celery))
    # When the attribute is looked up as `celery -A corec.core.celery_app` does
    module = importlib.import_module("corec.core")
    app = module.celery_app
    # Then there is one app, which takes nothing but JSON
    assert made == ["corec"] and module.celery_app is app
    assert app.conf["accept_content"] == app.conf["result_accept_content"] == ["json"]
    assert app.conf["task_acks_late"] and app.conf["worker_prefetch_multiplier"] == 1


def test_real_celery_finds_the_app(without_app):
    pytest.importorskip("celery")
    from celery.app.utils import find_app

    assert find_app("corec.core.celery_app").main == "corec"


def test_celery_that_is_not_installed_is_said(monkeypatch, without_app):
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(UsageError, match=r'celery_app needs Celery, which does not load.*\nHINT: pip install "celery\[redis\]"'):
        _ = corec.core.celery_app


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="module 'corec.core' has no attribute 'celery'"):
        _ = corec.core.celery


# --- the documented plugin ---------------------------------------------------------------------

class FakeNucleus:
    """What the documented plugin asks of a nucleus."""

    def __init__(self):
        self.plugins, self.redis_client = {}, FakeRedis()
        self.modulos = {"registro": types.SimpleNamespace(bloques={})}

    def registrar_plugin(self, name, plugin):
        self.plugins[name] = plugin


def test_documented_plugin_runs_unchanged_and_sends_its_alert(caplog):
    # Given the plugin of section 7.2, as it is printed there
    caplog.set_level("INFO")
    namespace, nucleus = {"__name__": "corec_plugins.alerts"}, FakeNucleus()
    exec(compile(documented_plugin(), "plugins/alerts/main.py", "exec"), namespace)
    namespace["inicializar"](nucleus, {"bloque": "alerts_notificaciones", "enabled": True, "canal": 5, "umbral_alerta": 0.9})

    async def story():
        plugin = nucleus.plugins["alerts"]
        await plugin.inicializar()
        return await plugin.procesar({}, 0.5)

    # When it is initialised and runs a pass
    resultado = asyncio.run(story())
    # Then its block is registered, and the largest of its thousand values is sent, critical, as a frame
    bloque = nucleus.modulos["registro"].bloques["alerts_notificaciones"]
    assert len(bloque.entidades) == 1000 and bloque.nucleus is nucleus and bloque.canal == 5
    assert len(resultado["alertas"]) == 1000 and all(type(valor) is float for valor in resultado["alertas"])
    (stream, fields, maxlen, approximate), = nucleus.redis_client.added
    assert (stream, fields["p"], approximate) == ("alertas", "critical", True) and maxlen > 0
    id, canal, valor, estado = parts(fields["m"])
    assert (id, canal, estado) == (0, 5, True) and valor == pytest.approx(max(resultado["alertas"])) and valor > 0.9
    assert [record.message for record in caplog.records if record.name == "AlertsPlugin"] == [
        "Bloque alertas alerts_notificaciones registrado con 1000 entidades",
        f"Alerta enviada: valor {max(resultado['alertas'])} supera umbral 0.9",
    ]
