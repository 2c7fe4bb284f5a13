"""The plugin door: the documented plugin unchanged, and plugins that break the contract in every way."""
import asyncio
import json
import logging
import shutil
import time

import pytest

from corec.config import parse
from corec.core import deserializar_mensaje
from corec.errors import PluginError
from corec.nucleus import CoreCNucleus
from tests.support.nodes import SMALL, now_ms, quickest, readings, small, until
from tests.support.paths import DOCUMENTED
from tests.support.plugin_nodes import GOOD, Node, stream

pytestmark = pytest.mark.slow


def test_documented_plugin_runs_unchanged(tmp_path, caplog):
    # Given the plugin of the documentation, copied into a folder
    caplog.set_level(logging.INFO)
    node = Node(tmp_path)
    node.plugins.mkdir()
    shutil.copytree(DOCUMENTED / "alerts", node.plugins / "alerts")
    # When the node starts, Then its block is registered, it is passed to, and its alert is in the stream
    with node as nucleus:
        assert until(lambda: stream(nucleus, "alertas"))
        assert nucleus.modulos["registro"].bloques["alerts_notificaciones"].canal == 5
        assert nucleus.engine.ledger["in"] % 1000 == 0
        first = nucleus.engine.config.bloques[-1].first_id
    assert "Alerta enviada: valor" in caplog.text
    assert "Bloque registrado" in caplog.text
    # And after a restart the block is bound to its ids again
    with node as nucleus:
        assert nucleus.engine.config.bloques[-1].first_id == first
        assert nucleus.engine.block_ids[-1] == "alerts_notificaciones"
        before = nucleus.engine.ledger["in"]
        assert before >= 1000
        assert until(lambda: nucleus.engine.ledger["in"] > before)


def test_plugin_gets_what_was_committed(node, monkeypatch):
    monkeypatch.setattr(CoreCNucleus, "load", 0.375)
    node.plugin("good", GOOD, {"umbral": 3})
    with node as nucleus:
        plugin = type(until(lambda: nucleus.plugins.plugins.get("good")).plugin)
        assert until(lambda: plugin.passes)
        datos, carga = plugin.seen
        assert set(datos) == {"bloques", "alertas", "ahora"} and carga == 0.375
        assert plugin.config["umbral"] == 3


def test_global_configuration_wins_key_by_key(tmp_path):
    config = tmp_path / "configs"
    config.mkdir()
    (config / "corec_config.json").write_text(json.dumps(SMALL))
    (config / "plugins_config.json").write_text(json.dumps({"good": {"umbral": 4}}))
    from corec.config import load

    node = Node(tmp_path, load(config))
    node.plugin("good", GOOD, {"umbral": 3, "otro": 1})
    with node as nucleus:
        plugin = type(nucleus.plugins.plugins["good"].plugin)
        assert (plugin.config["umbral"], plugin.config["otro"]) == (4, 1)


def test_disabled_plugin_is_skipped_and_said(node, caplog):
    node.plugin("good", GOOD, {"enabled": False})
    with node as nucleus:
        assert nucleus.plugins.plugins == {}
    assert "plugin good is disabled" in caplog.text


@pytest.mark.parametrize(("code", "said"), [
    ("x = 1", "expected a function inicializar(nucleus, config), found none"),
    ("def inicializar(nucleus): pass", "expected inicializar(nucleus, config), got inicializar(nucleus)"),
    ("raise RuntimeError('broken')", "RuntimeError: broken"),
    ("def inicializar(nucleus, config): 1 / 0", "ZeroDivisionError: division by zero (main.py:1)"),
    ("def inicializar(nucleus, config): nucleus.registrar_plugin('bad', object())", "expected a method procesar(datos, carga)"),
])  # fmt: skip
def test_bad_plugin_is_named_and_the_others_go_on(node, caplog, code, said):
    # Given a bad plugin before a good one
    node.plugin("bad", code)
    node.plugin("good", GOOD)
    with node as nucleus:
        # Then the bad one is named with its reason, and the good one runs
        assert list(nucleus.plugins.plugins) == ["good"]
    assert "plugin bad not loaded" in caplog.text and said in caplog.text


def test_broken_plugin_configuration_is_named(node, caplog):
    node.plugin("bad", GOOD, "{not json")
    with node as nucleus:
        assert nucleus.plugins.plugins == {}
    assert "plugin bad not loaded" in caplog.text and "config.json" in caplog.text


def test_second_plugin_of_a_name_is_refused(node, caplog):
    node.plugin("a", GOOD)
    node.plugin("b", GOOD)
    with node as nucleus:
        assert type(nucleus.plugins.plugins["good"].plugin).__module__ == "corec_plugins.a"
    assert "there is a plugin 'good' already: the first one stays" in caplog.text


def test_plugin_that_fails_is_suspended(node, caplog):
    node.plugin("bad", """
        class Plugin:
            async def procesar(self, datos, carga):
                raise ValueError("always")
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("bad", Plugin())
    """, {"intervalo": 0.05})  # fmt: skip
    with node as nucleus:
        assert until(lambda: "suspended" in caplog.text)
        assert nucleus.plugins.plugins["bad"].failures == 3
        time.sleep(0.3)
        assert nucleus.plugins.plugins["bad"].failures == 3
    assert "procesar: ValueError: always (main.py:4)" in caplog.text and "suspended for 10 s after 3 failures" in caplog.text


def test_plugin_whose_start_fails_is_never_passed_to(node, caplog):
    node.plugin("bad", """
        class Plugin:
            passes = 0
            async def inicializar(self):
                raise OSError("no database")
            async def procesar(self, datos, carga):
                Plugin.passes += 1
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("bad", Plugin())
    """, {"intervalo": 0.05})  # fmt: skip
    with node as nucleus:
        time.sleep(0.3)
        assert type(nucleus.plugins.plugins["bad"].plugin).passes == 0
    assert "OSError: no database" in caplog.text


def test_node_takes_readings_while_a_plugin_blocks_its_loop(node):
    # Given a plugin that sleeps in its pass without giving way
    node.plugin("bad", """
        import time
        class Plugin:
            def procesar(self, datos, carga):
                time.sleep(1.5)
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("bad", Plugin())
    """)  # fmt: skip
    from tests.support.nodes import now_ms, readings

    with node as nucleus:
        # Then readings are accepted and committed meanwhile
        def committed():
            turn = nucleus.store_turn
            nucleus.submit(readings([2500], canal=2), time=now_ms()).result(60)
            assert until(lambda: nucleus.store_turn > turn)

        assert quickest(committed, 1.0) < 1.0


BLOCK = """
    from corec.blocks import BloqueSimbiotico
    from corec.entities import crear_entidad
    class Plugin:
        def __init__(self, nucleus, config):
            self.nucleus, self.config = nucleus, config
        async def inicializar(self):
            entidades = [crear_entidad(f"m{i}", 4, lambda: 1.5) for i in range(self.config.get("entidades", 10))]
            bloque = BloqueSimbiotico(self.config["bloque"], 4, entidades, max_size=2e9)
            self.nucleus.modulos["registro"].bloques[self.config.get("clave", bloque.id)] = bloque
        async def procesar(self, datos, carga):
            return {}
    def inicializar(nucleus, config):
        nucleus.registrar_plugin(config["bloque"], Plugin(nucleus, config))
"""


def test_registered_block_is_stepped_by_the_node(node):
    # Given a block that its plugin never steps
    node.plugin("p", BLOCK, {"bloque": "quieto"})
    with node as nucleus:
        # Then the node does, and each value counts once
        assert until(lambda: nucleus.engine.ledger["in"] >= 20, seconds=60)
        assert nucleus.engine.ledger["in"] % 10 == 0
        assert nucleus.engine.entity(2**31)["valor"] == 1.5


@pytest.mark.parametrize(("config", "said"), [
    ({"bloque": "sensores"}, "there is a block 'sensores' already"),
    ({"bloque": "x", "clave": "y"}, "expected the block's own id 'x' as key, got 'y'"),
    ({"bloque": "grande", "entidades": 100_000}, "MB"),
])  # fmt: skip
def test_block_that_cannot_be_registered(tmp_path, caplog, config, said):
    node = Node(tmp_path, parse({**SMALL, "max_ram_mb": 78}))
    node.plugin("p", BLOCK, config)
    with node as nucleus:
        assert not nucleus.modulos["registro"].bloques
        assert not nucleus.plugins.plugins[config["bloque"]].ready
    assert said in caplog.text


def test_client_has_streams_and_names_the_setting_for_the_rest(node):
    with node as nucleus:
        client = nucleus.redis_client

        async def use():
            first = await client.xadd("cosas", {"m": b"1", "n": 2})
            await client.xadd("cosas", {"m": b"2"}, urgent=True)
            return first

        first = asyncio.run(use())
        assert until(lambda: asyncio.run(client.xlen("cosas")) == 2)
        assert stream(nucleus, "cosas")[0] == (first, {b"m": b"1", b"n": b"2"})
        assert asyncio.run(client.xread({"cosas": first})) == [[b"cosas", [stream(nucleus, "cosas")[1]]]]
        with pytest.raises(PluginError, match="(?s)xadd, xlen, xrange, xread, xtrim, xdel, got redis_client.get.*`redis_config`"):
            client.get("x")
        # And the node's own streams are read as any other: frames in field m
        nucleus.submit(readings([3], values=150.0), time=now_ms()).result(5)
        assert until(lambda: stream(nucleus, "corec:alerts"))
        (_, fields), = stream(nucleus, "corec:alerts")
        assert list(fields) == [b"m"] and asyncio.run(deserializar_mensaje(fields[b"m"])) == (3, 1, 150.0, True)


def test_who_reads_a_stream_on_is_given_what_is_new_and_nothing_else_is_read(node, monkeypatch):
    with node as nucleus:
        client, added = nucleus.redis_client, []

        def add(many):
            added.extend(asyncio.run(client.xadd("cosas", {"m": b"x"}, urgent=True)) for _ in range(many))
            assert until(lambda: asyncio.run(client.xlen("cosas")) == len(added), 60)

        # Given a stream that somebody has read to its end, in two parts
        add(30)
        [[_, part]] = asyncio.run(client.xread({"cosas": "0-0"}, count=20))
        [[_, rest]] = asyncio.run(client.xread({"cosas": part[-1][0]}))
        assert [id for id, _ in part + rest] == added
        # When three entries more come and it is read on
        add(3)
        read, read_out = [], nucleus.pipeline.read_out
        monkeypatch.setattr(nucleus.pipeline, "read_out", lambda *which: read.append(read_out(*which)) or read[-1])
        [[_, new]] = asyncio.run(client.xread({"cosas": rest[-1][0]}))
        # Then these come, and only these were read
        assert [id for id, _ in new] == added[-3:]
        assert [len(rows) for rows in read] == [3]
        # And once more gives nothing
        assert asyncio.run(client.xread({"cosas": new[-1][0]})) == []
        assert [len(rows) for rows in read] == [3, 0]


def test_start_that_fails_leaves_nothing_behind(tmp_path):
    # Given a module that does not exist
    from corec.errors import ConfigError

    wrong = parse({**SMALL, "modules": ["registro", "auditori"]})
    with pytest.raises(ConfigError, match="there is no module 'auditori'"):
        CoreCNucleus(wrong, data=tmp_path, with_sources=False).start()
    # Then the folder is free for a node that starts
    nucleus = CoreCNucleus(small(), data=tmp_path, with_sources=False)
    nucleus.start()
    nucleus.stop()


def test_plugin_that_exits_is_left_out(node, caplog):
    node.plugin("bad", "import sys; sys.exit(3)")
    node.plugin("good", GOOD)
    with node as nucleus:
        assert list(nucleus.plugins.plugins) == ["good"]
    assert "plugin bad not loaded: SystemExit" in caplog.text
