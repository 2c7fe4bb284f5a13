"""Plugins with `aislado`: the same contract in a process of their own, and what becomes of those that break it there."""
import logging
import os
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.plugins.isolated import parent as isolated
from tests.support.nodes import now_ms, quickest, readings, until
from tests.support.paths import DOCUMENTED, ROOT
from tests.support.plugin_nodes import GOOD, Node, stream

pytestmark = pytest.mark.slow


@pytest.fixture
def node(tmp_path, caplog, monkeypatch):
    """A node whose isolated plugins are started again soon."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(isolated, "FIRST_REST_S", 0.05)
    monkeypatch.setattr(isolated, "GRACE_S", 0.2)
    (tmp_path / "plugins").mkdir()
    return Node(tmp_path)


def plugin(body, start="pass", before=""):
    """The code of a plugin `p` whose pass is *body* and whose start is *start*."""
    return f"""
import asyncio, os, sys, threading, time
from corec.blocks import BloqueSimbiotico
from corec.core import enviar_mensaje_redis, logging, serializar_mensaje
from corec.entities import crear_entidad
{before}
class Plugin:
    passes, kept = 0, []
    def __init__(self, nucleus, config):
        self.nucleus, self.config = nucleus, config
    async def inicializar(self):
        {start}
    async def procesar(self, datos, carga):
        self.passes += 1
        {body}
async def inicializar(nucleus, config):
    nucleus.registrar_plugin("p", Plugin(nucleus, config))
"""


ADDS = "await self.nucleus.redis_client.xadd('dice', {'m': repr(%s)})"


def entries(nucleus, name="dice"):
    return [fields[b"m"].decode() for _, fields in stream(nucleus, name)]


def found(nucleus, name="p"):
    return next((each for each in nucleus.status()["plugins"] if each["name"] == name), {})


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_documented_plugin_runs_in_a_process_of_its_own(tmp_path, caplog):
    # Given the plugin of the documentation, isolated by plugins_config.json alone
    caplog.set_level(logging.INFO)
    from tests.support.nodes import small

    node = Node(tmp_path)
    node.plugins.mkdir()
    shutil.copytree(DOCUMENTED / "alerts", node.plugins / "alerts")
    from msgspec.structs import replace

    node.config = replace(small(), plugins={"alerts": {"aislado": True}})
    with node as nucleus:
        # Then its block is registered, its alert is in the stream, and its log lines are in the node's log
        assert until(lambda: stream(nucleus, "alertas") and "Alerta enviada: valor" in caplog.text, seconds=60)
        assert nucleus.engine.config.bloques[-1].id == "alerts_notificaciones"
        assert until(lambda: nucleus.engine.ledger["in"] >= 1000) and nucleus.engine.ledger["in"] % 1000 == 0
        status = found(nucleus, "alerts")
        assert status["isolated"] and status["pid"] != os.getpid() and status["state"] == "running"
        pid = status["pid"]
    assert is_gone(pid)
    assert ("AlertsPlugin", logging.INFO) in {record[:2] for record in caplog.record_tuples}
    assert "Bloque registrado: alerts_notificaciones" in caplog.text


def test_child_gives_way_to_the_node(node):
    # Given a plugin in a process of its own that tells its priority
    node.plugin("p", plugin(ADDS % "(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"), {"aislado": True, "intervalo": 0.05})
    with node as nucleus:
        assert until(lambda: stream(nucleus, "dice"), 60)
        # Then it is the lowest, and it never interrupts others when it wakes up
        (_, fields), *_ = stream(nucleus, "dice")
        assert fields[b"m"] == repr((19, os.SCHED_BATCH)).encode()


def test_child_gets_what_was_committed(node):
    # Given an isolated plugin that tells what it is given
    node.plugin("p", plugin(f"""
        if len(datos["bloques"]):
            {ADDS % "(self.nucleus.engine.block_ids[datos['bloques']['block'][0]], float(datos['bloques']['mean'][0]))"}
        if len(datos["alertas"]):
            {ADDS % "self.nucleus.entity_name(int(datos['alertas']['id'][0]))"}
        assert 0 <= carga <= 1 and set(datos) == set(("bloques", "alertas", "ahora"))"""),
                {"aislado": True, "intervalo": 0.05})  # fmt: skip
    with node as nucleus:
        assert until(lambda: found(nucleus).get("passes"))
        nucleus.submit(readings([7], values=150.0), time=now_ms()).result(60)
        # Then rows, names and alerts are there as for any plugin
        assert until(lambda: len(entries(nucleus)) >= 2)
        assert sorted(entries(nucleus)) == ["('sensores/0', 150.0)", "('sensores/0:7', '')"]
        status = found(nucleus)
        assert status["bytes_in_s"] > 0 and status["bytes_out_s"] > 0 and status["cpu_share"] >= 0
        assert 10 << 20 < status["ram_bytes"] < 100 << 20
        assert status["failures"] == 0


def test_database_of_its_own_works_from_a_process_of_its_own(node):
    # Given an isolated plugin that keeps rows as it is given them
    node.plugin("p", plugin("""
        await self.base.ejecutar_varios("INSERT INTO filas VALUES (?, ?)", [(row["window"], row["mean"]) for row in datos["bloques"]])""",
        start="""from corec.core import abrir_base
        self.base = abrir_base(self.nucleus, self.config)
        await self.base.ejecutar("CREATE TABLE filas (tiempo BIGINT, media DOUBLE PRECISION)")"""),
        {"aislado": True, "intervalo": 0.05, "base": "mine"})  # fmt: skip
    with node as nucleus:
        assert until(lambda: found(nucleus).get("passes"))
        now = now_ms()
        nucleus.submit(readings([7], values=15.0), time=now).result(5)
        # Then they are in the node's data folder, as numbers
        with closing(sqlite3.connect(node.data / "plugins" / "mine.db")) as base:
            kept = until(lambda: base.execute("SELECT * FROM filas").fetchall())
        assert kept == [(now - now % 200, 15.0)]
        assert found(nucleus)["failures"] == 0


def test_streams_work_from_a_process_of_its_own(node):
    # Given a plugin that subscribes, sends and reads
    node.plugin("p", plugin(
        "await self.read()", start="self.received = []; self.nucleus.suscribir('corec:messages:2', self.received.append)",
        before="").replace("    async def procesar", """    async def read(self):
        client = self.nucleus.redis_client
        if self.received and not await client.xlen('eco'):
            await enviar_mensaje_redis(client, 'eco', self.received[0].frames, prioridad='critical')
        entries = await client.xrange('eco')
        if entries:
            again = await client.xread({'eco': '0-0'})
            await client.xadd('dice', {'m': repr(again == [[b'eco', entries]])})
    async def procesar"""), {"aislado": True, "intervalo": 0.05})  # fmt: skip
    with node as nucleus:
        assert until(lambda: found(nucleus).get("passes"))
        frames = readings([2500], values=3.0, canal=2)
        nucleus.submit(frames, time=now_ms()).result(60)
        assert until(lambda: entries(nucleus))
        assert stream(nucleus, "eco")[0][1] == {b"m": frames, b"p": b"critical"}
        assert entries(nucleus)[0] == "True"
        assert nucleus.status()["subscriptions"][0]["by"] == "p"


REPAIRED = '''
    from corec.blocks import BloqueSimbiotico
    from corec.entities import crear_entidad

    def broken():
        raise OSError("no sensor there")

    class Plugin:
        def __init__(self, nucleus):
            self.entidades = [crear_entidad(f"m{i}", 4, broken if i < 40 else lambda: 2.5) for i in range(100)]
            self.bloque = BloqueSimbiotico("horno", 4, self.entidades)
            nucleus.modulos["registro"].bloques["horno"] = self.bloque
        async def procesar(self, datos, carga):
            await self.bloque.procesar(carga)

    def inicializar(nucleus, config):
        nucleus.registrar_plugin("p", Plugin(nucleus))
'''


def test_block_that_repairs_itself_is_as_it_is_in_the_node(node):
    # Given a block of an isolated plugin, 40 of whose 100 functions raise
    node.plugin("p", REPAIRED, {"aislado": True, "intervalo": 0.05})
    with node as nucleus:
        # When some passes are over
        assert until(lambda: found(nucleus).get("passes", 0) >= 5, 60)
        # Then none of them failed, and the readings of the healthy ones are stored
        assert until(lambda: nucleus.engine.ledger["in"] >= 300, 60)
        assert found(nucleus)["failures"] == 0
        assert nucleus.engine.entity(2**31 + 99)["valor"] == 2.5
        # and the history has the repair, with the healthy ones whose functions the others took over
        assert until(lambda: "functions: m0 from m" in history(node) and "and 35 more" in history(node), 60), history(node)


def history(node):
    """What `corec history` says of the block."""
    return CliRunner().invoke(main, ["history", "horno", "--data", str(node.data)], catch_exceptions=False).output


@pytest.mark.parametrize(("reach", "named"), [
    ("self.nucleus.pipeline", "nucleus.pipeline"), ("self.nucleus.engine.arena", "nucleus.engine.arena"),
    ("self.nucleus.config.bloques", "nucleus.config.bloques"), ("self.nucleus.redis_client.get", "redis_client.get"),
])  # fmt: skip
def test_what_is_not_there_is_named(node, caplog, reach, named):
    node.plugin("p", plugin(reach), {"aislado": True})
    with node as nucleus:
        assert until(lambda: found(nucleus).get("failures"))
    assert named in caplog.text


def test_block_is_detached_and_claimed_again_after_a_death(node):
    # Given a plugin with a block that dies in its third pass
    node.plugin("p", plugin(
        "os._exit(3) if self.passes == 3 and not os.path.exists(self.config['once']) and open(self.config['once'], 'w') else None",
        start="self.nucleus.modulos['registro'].bloques['b'] = BloqueSimbiotico('b', 4, [crear_entidad('uno', 4, lambda: 2.5)])"),
        {"aislado": True, "intervalo": 0.05, "once": str(node.data.parent / "once")})  # fmt: skip
    with node as nucleus:
        # Then another process has the block's ids, and its readings count
        assert until(lambda: found(nucleus).get("restarts") == 1, seconds=60)
        assert until(lambda: nucleus.engine.ledger["in"] > 0, seconds=60)
        assert nucleus.engine.entity(2**31)["valor"] == 2.5
        assert len(nucleus.engine.config.bloques) == 3


@pytest.mark.parametrize(("body", "said"), [
    ("time.sleep(100)", "procesar took more than 0.3 s"),
    ("while True: pass", "procesar took more than 0.3 s"),
    ("await asyncio.Event().wait()", "procesar took more than 0.3 s"),
    ("os._exit(7)", "its process ended with 7"),
    ("os.kill(os.getpid(), 11)", "its process was killed by SIGSEGV"),
    ("raise KeyError('x')", "KeyError: 'x' (main.py:"),
    ("self.kept.append(bytearray(20 << 20))", "above its max_ram_mb of 90"),
    ("os.dup2(0, FD)", "its p"),
], ids=["blocks", "spins", "hangs", "exits", "crashes", "raises", "leaks", "closes"])  # fmt: skip
def test_bad_child_is_killed_and_started_again(node, caplog, body, said):
    # Given an isolated plugin that breaks every pass, beside a good one
    fd = "int(sys.argv[1])"
    node.plugin("p", plugin(body.replace("FD", fd)), {"aislado": True, "intervalo": 0.05, "pase_max": 0.3, "max_ram_mb": 90})
    node.plugin("good", GOOD, {"intervalo": 0.05})
    with node as nucleus:
        # Then it is named with its reason, again and again, and the good one goes on
        assert until(lambda: found(nucleus).get("failures", 0) >= 2 and said in caplog.text), caplog.text
        before = found(nucleus, "good")["passes"]
        assert until(lambda: found(nucleus, "good")["passes"] > before + 3)
        pid = found(nucleus)["pid"]
    assert said in caplog.text
    assert not pid or is_gone(pid)


def test_child_that_floods_is_cut_and_the_node_goes_on(node, caplog):
    # Given a plugin that writes, logs and sends readings as fast as it can
    node.plugin("p", plugin("""
        log = logging.getLogger("P")
        for number in range(3000):
            await self.nucleus.redis_client.xadd("ruido", {"m": b"x" * 1000})
            log.info("x" * 1000)"""), {"aislado": True, "intervalo": 0.01, "max_mb_s": 0.05, "pase_max": 30.0})  # fmt: skip
    node.plugin("good", GOOD, {"intervalo": 0.05})
    with node as nucleus:
        assert until(lambda: found(nucleus).get("dropped", 0) > 100)
        assert quickest(lambda: nucleus.submit(readings([2500], canal=2), time=now_ms()).result(60), 1.0) < 1.0
        assert found(nucleus)["bytes_out_s"] < 0.2 * 2**20
    assert caplog.text.count("plugin p floods") == 1


def test_slow_child_loses_its_oldest_passes(node):
    node.plugin("p", plugin("await asyncio.sleep(1.0)"), {"aislado": True, "intervalo": 0.02})
    with node as nucleus:
        assert until(lambda: found(nucleus).get("dropped_passes", 0) > 10)
        assert found(nucleus)["failures"] == 0


@pytest.mark.parametrize(("code", "said"), [
    ("x = 1", "expected a function inicializar(nucleus, config), found none"),
    ("1 / 0", "ZeroDivisionError"), ("import sys; sys.exit(3)", "SystemExit"),
    (plugin("pass", start="raise OSError('no database')"), "no database"),
], ids=["no entry", "raises", "exits", "start"])  # fmt: skip
def test_child_that_cannot_load_is_left_out(node, caplog, code, said):
    node.plugin("p", code, {"aislado": True})
    with node as nucleus:
        assert until(lambda: found(nucleus).get("state") == "not loaded", seconds=60)
        assert said in found(nucleus)["detail"]
        assert nucleus.plugins.plugins == {}
    assert "plugin p not loaded" in caplog.text


def test_second_plugin_of_a_name_stays_out(node, caplog):
    node.plugin("first", GOOD)
    node.plugin("second", plugin("pass").replace('"p"', '"good"'), {"aislado": True})
    with node as nucleus:
        assert until(lambda: "there is a plugin 'good' already" in caplog.text)
        assert not found(nucleus, "good")["isolated"]


def test_children_do_not_outlive_a_killed_node(tmp_path):
    # Given a node in a process of its own, with a child that starts another one and spins
    import signal
    import subprocess
    import sys

    node = Node(tmp_path)
    node.plugin("p", plugin("while True: pass", start="print('child', os.getpid(), flush=True)"), {"aislado": True})
    (tmp_path / "corec_config.json").write_text('{"bloques": [{"id": "a", "canal": 1, "entidades": 10}]}')
    command = ["-m", "corec", "run", "--config", tmp_path / "corec_config.json", "--data", tmp_path / "data", "--plugins", node.plugins]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    pid = next(int(match[1]) for line in process.stderr if (match := re.search(r"child (\d+)", line)))
    # When the node is killed, Then the child is gone at once
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stderr.close()
    assert until(lambda: is_gone(pid))
