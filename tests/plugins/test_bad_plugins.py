"""Plugins that block, hang, flood and leak: named, timed out, suspended or left behind, while everybody else goes on."""
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from corec.plugins import manager as plugin_manager
from corec.plugins import runner, running
from corec.plugins.isolated import parent as isolated_plugins
from tests.support.nodes import until
from tests.support.paths import ROOT
from tests.support.plugin_nodes import GOOD, Node, stream

pytestmark = pytest.mark.slow


@pytest.fixture
def node(tmp_path, caplog, monkeypatch):
    """A node whose patience is short."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(runner, "HOLD_LIMIT_S", 0.8)
    monkeypatch.setattr(runner, "BLOCKED_AFTER_S", 0.2)
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(running, "FIRST_PAUSE_S", 0.3)
    (tmp_path / "plugins").mkdir()
    return Node(tmp_path)


def plugin(body, before=""):
    """The code of a plugin `bad` whose pass is *body*."""
    return f"""
import asyncio, time, threading
{before}
class Plugin:
    passes = 0
    def __init__(self, nucleus):
        self.nucleus = nucleus
    async def procesar(self, datos, carga):
        Plugin.passes += 1
        {body}
def inicializar(nucleus, config):
    nucleus.registrar_plugin("bad", Plugin(nucleus))
"""


def starting(code, start):
    """*code* whose plugin has an `inicializar` that does *start*."""
    return code.replace("    async def procesar", f"    {start}\n    async def procesar")


def found(nucleus, name):
    return next((each for each in nucleus.status()["plugins"] if each["name"] == name), {})


def good_of(nucleus):
    return type(nucleus.plugins.plugins["good"].plugin)


@pytest.mark.parametrize("code", [
    "import time\ntime.sleep(2.5)",
    "import time\ndef inicializar(nucleus, config): time.sleep(2.5)",
    "def inicializar(nucleus, config):\n    while True: pass",
], ids=["module", "function", "spinning"])  # fmt: skip
def test_plugin_that_blocks_while_it_is_loaded_is_left_out(node, caplog, code):
    # Given a plugin that blocks before a good one
    node.plugin("bad", code)
    node.plugin("good", GOOD)
    with node as nucleus:
        # Then log and status name it with where it blocks, and the good one runs
        assert until(lambda: good_of(nucleus).passes)
        assert found(nucleus, "bad")["state"] == "not loaded"
        assert "blocked its thread" in found(nucleus, "bad")["detail"]
    assert "plugin bad holds the loop" in caplog.text and "main.py" in caplog.text


def test_start_does_not_wait_for_slow_plugins(node, monkeypatch):
    # Given a plugin whose start ends when there is a file, and a start that waits for a moment
    monkeypatch.setattr(runner, "START_WAIT_S", 0.2)
    file = node.plugins.parent / "go on"
    waits = f"""async def inicializar(self):
        while not os.path.exists({str(file)!r}):
            await asyncio.sleep(0.01)"""
    node.plugin("bad", starting(plugin("pass", before="import os"), waits))
    with node as nucleus:
        # Then the node is there before the plugin is, which comes later
        assert not found(nucleus, "bad").get("passes")
        file.touch()
        assert until(lambda: found(nucleus, "bad").get("passes"))


def test_registration_that_comes_too_late_is_refused(node, caplog):
    node.plugin("bad", "import time\ndef inicializar(nucleus, config):\n    time.sleep(1.5)\n    nucleus.registrar_plugin('bad', object)")
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad"))
        time.sleep(1.0)
        assert "bad" not in nucleus.plugins.plugins


def test_plugin_that_blocks_its_start_is_left_behind(node, caplog):
    node.plugin("bad", starting(plugin("pass"), "def inicializar(self): time.sleep(2.5)"))
    node.plugin("good", GOOD)
    with node as nucleus:
        assert until(lambda: good_of(nucleus).passes)
        assert found(nucleus, "bad")["state"] == "left behind"
        assert type(nucleus.plugins.plugins["bad"].plugin).passes == 0


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("code", [
    "async def inicializar(nucleus, config):\n    await __import__('asyncio').Event().wait()",
    starting(plugin("pass"), "async def inicializar(self): await __import__('asyncio').Event().wait()"),
], ids=["entry", "start"])  # fmt: skip
def test_start_that_never_ends_is_timed_out(node, monkeypatch, caplog, code, isolated):
    # Given a plugin that gives way in its start and never comes back
    assert running.START_LIMIT_S == 30.0
    for module in (plugin_manager, isolated_plugins):
        monkeypatch.setattr(module, "START_LIMIT_S", 0.4)
    node.plugin("bad", code, {"intervalo": 0.05, "aislado": isolated})
    # Then that is said, and no pass begins
    with node as nucleus:
        assert until(lambda: "took more than 0.4 s" in caplog.text)
        assert not found(nucleus, "bad").get("passes")


@pytest.mark.parametrize("body", ["time.sleep(2)", "while True: pass"], ids=["sleeping", "spinning"])
def test_plugin_that_blocks_the_loop_is_named_and_left_behind(node, caplog, body):
    # Given a plugin whose pass blocks for longer than it may, and a good one
    node.plugin("bad", plugin(body))
    node.plugin("good", GOOD, {"intervalo": 0.1})
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad").get("state") == "suspended")
        # Then the good one goes on in a new loop, and the log has the line that blocks
        before = good_of(nucleus).passes
        assert until(lambda: good_of(nucleus).passes > before + 3)
        assert body in caplog.text and "plugin bad holds the loop" in caplog.text
        # And it gets another pass, when its thread has come back
        assert until(lambda: type(nucleus.plugins.plugins["bad"].plugin).passes == 2)


def test_threads_take_short_turns_while_a_plugin_spins(node):
    # Given a plugin that spins in Python once, until it is told to stop or left behind
    node.plugin("bad", plugin("\n        while Plugin.passes == 1 and not spun.is_set(): pass", "spun = threading.Event()"))
    before = sys.getswitchinterval()
    with node:
        # Then, as long as it does, others wait a fiftieth as long for the interpreter
        assert until(lambda: sys.getswitchinterval() < before / 40, 60)
        # And when it ended, all is as it was
        assert until(lambda: sys.getswitchinterval() == before, 60)
    # And nothing of it goes on spinning
    assert until(lambda: not any(thread.name.startswith("extensions") for thread in threading.enumerate()), 60)


def test_plugin_that_blocks_for_a_while_has_failed(node, caplog):
    node.plugin("bad", plugin("time.sleep(0.5)"), {"intervalo": 0.05})
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad").get("failures"))
        assert found(nucleus, "bad")["state"] in ("running", "suspended")
    assert "procesar blocked the loop for" in caplog.text


def test_plugin_that_hangs_is_timed_out_and_retried(node, caplog):
    # Given a pass that never ends but gives way
    node.plugin("bad", plugin("await asyncio.Event().wait()"), {"intervalo": 0.05, "pase_max": 0.1})
    node.plugin("good", GOOD, {"intervalo": 0.1})
    with node as nucleus:
        # Then it is suspended, then tried again, and the pause doubles
        assert until(lambda: found(nucleus, "bad").get("failures", 0) >= 5)
        assert good_of(nucleus).passes > 3
    assert "procesar took more than 0.1 s" in caplog.text
    assert "suspended for 0 s" in caplog.text and "suspended for 1 s" in caplog.text


def test_suspended_plugin_works_again(node, caplog):
    node.plugin("bad", plugin("if Plugin.passes < 5: raise ValueError('not yet')"), {"intervalo": 0.02})
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad").get("state") == "running" and found(nucleus, "bad")["passes"] > 2)
    assert "plugin bad works again" in caplog.text


def test_plugin_that_floods_is_cut_and_told_of_once(node, caplog):
    # Given a plugin that sends more than it may
    node.plugin("bad", plugin("for _ in range(300): await self.nucleus.redis_client.xadd('ruido', {'m': b'x' * 1000})"),
                {"intervalo": 0.05, "max_mb_s": 0.01})  # fmt: skip
    began = time.monotonic()
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad").get("dropped", 0) > 300)
        # Then what is above its bound is dropped and counted, and the rest is there
        assert until(lambda: stream(nucleus, "ruido"))
        assert sum(len(fields[b"m"]) for _, fields in stream(nucleus, "ruido")) <= 0.01 * 2**20 * (2 + time.monotonic() - began)
        assert found(nucleus, "bad")["bytes_out_s"] < 100_000
    assert caplog.text.count("plugin bad floods") == 1


def test_readings_of_a_plugin_that_floods_count_as_shed(node):
    node.plugin("bad", """
        from corec.blocks import BloqueSimbiotico
        from corec.entities import crear_entidad
        class Plugin:
            def __init__(self, nucleus):
                self.nucleus = nucleus
            def inicializar(self):
                self.bloque = BloqueSimbiotico("b", 4, [crear_entidad(f"m{i}", 4, lambda: 1.0) for i in range(500)])
                self.nucleus.modulos["registro"].bloques["b"] = self.bloque
            async def procesar(self, datos, carga):
                for _ in range(5):
                    await self.bloque.procesar(0.0)
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("bad", Plugin(nucleus))
    """, {"intervalo": 0.05, "max_mb_s": 0.005})  # fmt: skip
    with node as nucleus:
        assert until(lambda: nucleus.report_refused() or nucleus.engine.ledger["shed"] >= 1000)
        assert nucleus.engine.ledger["shed"] % 500 == 0
        shed = nucleus.status()["shed"]
        assert list(shed) == ["a plugin floods"] and list(shed["a plugin floods"]) == ["4"] and shed["a plugin floods"]["4"] >= 1000


def test_plugin_that_leaks_is_suspended(node, monkeypatch, caplog):
    monkeypatch.setattr(plugin_manager, "WEIGH_EVERY_S", 0.0)
    node.plugin("bad", plugin("Plugin.kept.append(bytearray(1 << 20))").replace("passes = 0", "passes = 0; kept = []"),
                {"intervalo": 0.01, "max_ram_mb": 5})  # fmt: skip
    with node as nucleus:
        assert until(lambda: found(nucleus, "bad").get("state") == "suspended")
        assert found(nucleus, "bad")["ram_bytes"] > 5 << 20
    assert "above its max_ram_mb of 5" in caplog.text


@pytest.mark.parametrize("result", ["'text'", "None", "float('nan')", "object()", "[1] * 10", "{1: {2}}"])
def test_whatever_procesar_returns_is_no_failure(node, result):
    node.plugin("good", GOOD.replace("return {}", f"return {result}"), {"intervalo": 0.02})
    with node as nucleus:
        assert until(lambda: found(nucleus, "good").get("passes", 0) > 3)
        assert found(nucleus, "good")["failures"] == 0


def test_meter_does_not_charge_for_waiting(node):
    # Given a plugin that waits and one that works
    node.plugin("waits", plugin("await asyncio.sleep(0.05)").replace('"bad"', '"waits"'), {"intervalo": 0.01})
    working = plugin("end = time.thread_time() + 0.02\n        while time.thread_time() < end: pass")
    node.plugin("works", working.replace('"bad"', '"works"'), {"intervalo": 0.01})
    with node as nucleus:
        assert until(lambda: found(nucleus, "works").get("passes", 0) > 10)
        assert found(nucleus, "works")["cpu_share"] > 10 * found(nucleus, "waits")["cpu_share"] > 0
        assert found(nucleus, "waits")["targets"]["ram_kb"] == [10, 20]


def test_signal_during_start_ends_the_process(tmp_path):
    # Given a node whose start waits for a plugin that sleeps for ever
    node = Node(tmp_path)
    node.plugin("bad", "import time\nprint('blocking', flush=True)\ntime.sleep(1000)")
    (tmp_path / "corec_config.json").write_text('{"bloques": [{"id": "a", "canal": 1, "entidades": 10}]}')
    command = ["-m", "corec", "run", "--config", tmp_path / "corec_config.json", "--data", tmp_path / "data", "--plugins", node.plugins]

    def stop_one():
        """The seconds from the signal to a clean end."""
        with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "blocking\n"
            os.kill(process.pid, signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(60) == 0
            return time.monotonic() - began

    # When it is told to stop, Then it ends within a second, cleanly: what else a machine does only adds to that
    assert any(stop_one() < 1.5 for _ in range(4))


def test_thread_of_a_plugin_does_not_keep_the_process(tmp_path):
    # Given a plugin that begins a thread which never ends
    node = Node(tmp_path)
    node.plugin("bad", plugin("pass", before="threading.Thread(target=time.sleep, args=(1000,), name='eterno', daemon=False).start()"))
    (tmp_path / "corec_config.json").write_text('{"bloques": [{"id": "a", "canal": 1, "entidades": 10}]}')
    command = ["-m", "corec", "run", "--config", tmp_path / "corec_config.json", "--data", tmp_path / "data", "--plugins", node.plugins]
    # When the node's time is over, Then the process ends and the log names the thread
    done = subprocess.run([sys.executable, *command, "--for", "1"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "threads of plugins are left behind: eterno" in done.stderr
