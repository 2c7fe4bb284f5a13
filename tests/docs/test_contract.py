"""The contract with those who know the original documentation: each line of it, and the tests that fail when it is broken.

contract_lines.py is the matrix; what no other file tests is tested here.  docs/contract.md tells readers the same in words.
"""
import ast
import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping, MutableMapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import corec
import corec.modules
from corec.blocks import BloqueSimbiotico
from corec.config import load, parse, registered
from corec.config.plugins import settings_of
from corec.entities import crear_entidad
from corec.errors import ServerAway, ServerError
from corec.modules import registro
from corec.modules.base import ModuloBase
from corec.storage.postgres.session import Session
from corec.streams.redis.link import RedisLink
from corec.workers.celery_app import app_of
from tests.support.contract_lines import LINES
from tests.support.figures.measures import NotRun
from tests.support.figures.table import FIGURES, Figure, measured, shown
from tests.support.nodes import SMALL, now_ms, quickest, readings, running, small, until
from tests.support.paths import ROOT
from tests.support.plugin_nodes import GOOD, Node

pytestmark = pytest.mark.slow

START = 1_700_000_000_000


def known_tests():
    """`file::test` of every test there is."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        names = [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        yield from (f"{file.stem.removeprefix('test_')}::{name.removeprefix('test_')}" for name in names if name.startswith("test_"))


def test_every_line_has_tests_that_exist():
    # Given the matrix, Then each of its tests is there
    tests = (test for lines in LINES.values() for tests in lines.values() for test in tests.split())
    named = {test if "::" in test else f"contract::{test}" for test in tests}
    known = set(known_tests())
    assert named - known == set()
    # And every test of this file stands for a line
    own = {test for test in known if test.startswith("contract::")}
    assert own - named == {"contract::every_line_has_tests_that_exist"}


# --- configuration -----------------------------------------------------------------------------

def test_blocks_are_named_by_entry_and_index():
    # Given the documented configuration
    ids = corec.Engine(ROOT / "configs").block_ids
    # Then a block is called by its entry and its number in it
    assert (ids[0], ids[979], ids[980], ids[981], ids[-1], len(ids)) == (
        "enjambre_sensor/0", "enjambre_sensor/979", "nodo_seguridad/0", "ia_analisis/0", "ia_analisis/9", 991)  # fmt: skip


def block(id, *names, canal=4, value=1.5):
    return BloqueSimbiotico(id, canal, [crear_entidad(name, canal, lambda: value) for name in names])


def ids_of(nucleus, id):
    """Wire ids that readings of a registered block came in with."""
    return [wire for wire in range(2**31, 2**31 + 20) if block_of(nucleus, wire) == id]


def block_of(nucleus, wire):
    """The block of a wire id, None where nobody has it."""
    try:
        segment, _ = nucleus.engine.locate(wire)
    except KeyError:
        return None
    return nucleus.engine.block_ids[nucleus.engine.arena.segments["owner"][segment]]


def test_ids_are_never_reused(tmp_path):
    with running(small(), tmp_path) as nucleus:
        # Given a block that was registered and taken away again
        bloques = nucleus.modulos["registro"].bloques
        bloques["viejo"] = block("viejo", "a", "b")
        first = ids_of(nucleus, "viejo")
        del bloques["viejo"]
        # When another one comes, Then it gets ids of its own
        bloques["nuevo"] = block("nuevo", "a", "b")
        assert len(first) == 2
        assert ids_of(nucleus, "nuevo") == [id + 2 for id in first]


def test_limits_of_a_device_table_alert_without_a_plugin(tmp_path):
    # Given a table of devices in a file beside the configuration
    (tmp_path / "devices.csv").write_text("device,name,unit,low,high\n70000,oven,C,,90\n4000000000,cellar,C,5,\n")
    entry = {"id": "house", "canal": 1, "entidades": 10, "ids": "devices.csv"}
    (tmp_path / "corec_config.json").write_text(json.dumps({"bloques": [entry]}))
    engine = corec.Engine(tmp_path)
    # When one is above its limit and one below, Then both are alerted, by their own ids
    alerts = engine.feed_arrays([70000, 4000000000], [91.0, 4.0], channel=1, at=START).alerts
    assert [(a["id"], a["kind"], a["limit"]) for a in alerts] == [(70000, 1, 90.0), (4000000000, 2, 5.0)]


def test_other_limits_in_a_device_table_leave_its_sensors_as_they_are(tmp_path):
    # Given a node that knows a device of a table
    def config(high):
        devices = {"device": [70000, 80000], "low": [None, None], "high": [high, None]}
        return small(bloques=[{"id": "house", "canal": 1, "entidades": 10, "ventana": 0.2, "ids": devices}])

    with running(config(90), tmp_path) as nucleus:
        nucleus.submit(readings([70000], 50.0), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 1)
        before = nucleus.engine.entity(70000)
    # When it starts with another limit, Then what it knows of the device is there, and the new limit holds
    with running(config(40), tmp_path) as nucleus:
        assert {**nucleus.engine.entity(70000), "failures": 0} == before
        nucleus.submit(readings([70000], 50.0), time=now_ms()).result(60)
        assert until(lambda: [alert["limit"] for alert in nucleus.alerts.recent] == [40.0])


@pytest.mark.parametrize(("names", "kept"), [
    (["m0", "m1", "m2"], "m"), (["m0", "m1", "m3"], ["m0", "m1", "m3"]), (["oven", "door"], ["oven", "door"]), (["0", "1"], ["0", "1"]),
])  # fmt: skip
def test_numbered_names_are_arithmetic_and_others_stand_in_a_table(names, kept):
    # Given the entry of a block that is registered with these names
    config = parse({"bloques": [{"id": "a", "canal": 1, "entidades": 2}]})
    running = registered.RunningConfig(config)
    entry = running.entry_for("own", 3, names)
    # Then it keeps a prefix where that is all there is to know, and each name is found either way
    assert entry["nombres"] == kept
    own = running.resolve(entry)
    assert [registered.name_at(own, place) for place in range(len(names))] == names == list(registered.names_of(own))


def test_silence_of_a_sensor_that_was_heard_alerts():
    # Given two sensors of which one was heard
    engine = corec.Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 2, "silencio_max": 10}]})
    engine.feed_arrays([1], [20.0], channel=1, at=START)
    # When they say nothing for longer than silencio_max, Then that one is alerted, once
    seen = [(second, a["id"], a["kind"]) for second in range(1, 60) for a in engine.tick(START + second * 1000).alerts]
    assert seen == [(11, 1, 3)]


def test_absent_plugin_leaves_plain_blocks_and_a_warning(tmp_path, caplog):
    # Given an entry that names a plugin, and a folder without it
    entry = {"id": "ia", "canal": 3, "entidades": 10, "plugin": "listo", "ventana": 0.2}
    node = Node(tmp_path, small(bloques=[entry]))
    with node as nucleus:
        # Then its blocks take readings and give rows like any other
        nucleus.submit(readings(range(10), canal=3), time=now_ms()).result(60)
        assert until(lambda: nucleus.pipeline.totals["rows"])
    assert "entry ia names plugin listo, which does not run" in caplog.text
    # And nothing is said where it is there
    caplog.clear()
    node.plugin("listo", GOOD.replace('"good"', '"listo"'))
    with node:
        pass
    assert "names plugin listo" not in caplog.text


MODULE = """
from corec.modules.base import ModuloBase
class ModuloEco(ModuloBase):
    nombre, seen = "eco", []
    async def inicializar(self, nucleus): self.seen.append("inicializar")
    async def ejecutar(self, datos, carga): self.seen.append(sorted(datos))
    async def detener(self): self.seen.append("detener")
"""


def test_module_of_ones_own_is_loaded_and_its_hooks_are_called(tmp_path, monkeypatch):
    # Given a file in corec/modules with a ModuloBase, named in the configuration
    (tmp_path / "eco.py").write_text(MODULE)
    monkeypatch.setattr(corec.modules, "__path__", [*corec.modules.__path__, str(tmp_path)])
    with running(small(modules=["registro", "eco"]), tmp_path / "data") as nucleus:
        # Then it runs beside the others
        eco = nucleus.modulos["eco"]
        assert isinstance(eco, ModuloBase) and list(nucleus.modulos) == ["registro", "eco"]
        assert until(lambda: len(eco.seen) > 1)
    assert eco.seen[0] == "inicializar" and eco.seen[1] == ["ahora", "alertas", "bloques"] and eco.seen[-1] == "detener"
    sys.modules.pop("corec.modules.eco")
    # And one that is not named does not
    with running(small(modules=["registro"]), tmp_path / "data") as nucleus:
        assert list(nucleus.modulos) == ["registro"]


def scores(**config):
    """Scores of the windows of a block that is quiet, then not."""
    engine = corec.Engine({"retraso_max": 0, "bloques": [{"id": "a", "canal": 1, "entidades": 10}], **config})
    values = np.random.default_rng(1).normal(20, 1, (120, 10)) + np.r_[np.zeros(100), np.full(20, 30)][:, None]
    rows = [engine.feed_arrays(range(10), row, channel=1, at=START + second * 1000).aggregates for second, row in enumerate(values)]
    return np.concatenate(rows)["score"].tolist()


def test_sensor_runs_no_auditoria():
    # Given the same readings
    plain, audited = scores(modules=["registro"]), scores(modules=["registro", "auditoria"])
    # Then the score is auditoria's where it runs, and not in the role of a sensor
    assert audited != plain
    assert scores(modules=["registro", "auditoria"], rol="sensor") == plain


def test_disabled_in_the_global_file_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "corec_config.json").write_text(json.dumps(SMALL))
    (tmp_path / "plugins_config.json").write_text('{"good": {"enabled": false}}')
    node = Node(tmp_path, load(tmp_path))
    node.plugin("good", GOOD, {"enabled": True})
    with node as nucleus:
        assert nucleus.plugins.plugins == {}
    assert "plugin good is disabled" in caplog.text


# --- entities and blocks -----------------------------------------------------------------------

def test_two_blocks_may_have_the_same_names(tmp_path):
    with running(small(), tmp_path) as nucleus:
        # Given two blocks whose entities are called alike
        bloques = nucleus.modulos["registro"].bloques
        for id, value in (("norte", 1.0), ("sur", 2.0)):
            bloques[id] = block(id, "m0", value=value)
            asyncio.run(bloques[id].procesar(0.0))
        # Then each is one of its own
        assert until(lambda: nucleus.engine.ledger["in"] == 2)
        assert [nucleus.engine.entity(ids_of(nucleus, id)[0])["valor"] for id in ("norte", "sur")] == [1.0, 2.0]


@pytest.mark.parametrize(("failing", "regenerated"), [(5, []), (6, [6])])
def test_sensors_are_regenerated_above_max_errores_only(failing, regenerated):
    # Given twenty sensors, of which a quarter may fail
    entry = {"id": "a", "canal": 1, "entidades": 20, "autoreparacion": {"max_errores": 0.25}}
    engine = corec.Engine({"retraso_max": 0, "bloques": [entry]})
    states = [place >= failing for place in range(20)]
    # When some fail in three windows, Then they start afresh where they are more than that
    outcomes = [engine.feed_arrays(range(20), np.ones(20), channel=1, at=START + s * 1000, states=states) for s in range(4)]
    assert [event.entities for outcome in outcomes for event in outcome.events if event.what == "regenerate"] == regenerated


# --- plugins -----------------------------------------------------------------------------------

NAMED = """
    order = __import__("builtins").__dict__.setdefault("corec_test_order", [])
    class Plugin:
        def __init__(self, nucleus):
            self.nucleus = nucleus
        async def inicializar(self):
            order.append((__name__, sorted(self.nucleus.plugins.plugins), "registro" in self.nucleus.modulos))
        async def procesar(self, datos, carga): pass
    {kind} inicializar(nucleus, config):
        order.append(__name__)
        nucleus.registrar_plugin(__name__, Plugin(nucleus))
"""


@pytest.fixture
def order(monkeypatch):
    """What plugins of NAMED noted."""
    import builtins

    monkeypatch.setattr(builtins, "corec_test_order", [], raising=False)
    return builtins.corec_test_order


def test_plugins_load_in_order_under_names_of_their_own(tmp_path, order):
    node = Node(tmp_path)
    for name in ("zeta", "alfa", "media"):
        node.plugin(name, NAMED.replace("{kind}", "def"))
    with node:
        assert order[:3] == ["corec_plugins.alfa", "corec_plugins.media", "corec_plugins.zeta"]


def test_entry_point_may_be_async(tmp_path, order):
    node = Node(tmp_path)
    node.plugin("tarde", NAMED.replace("{kind}", "async def"))
    with node as nucleus:
        assert list(nucleus.plugins.plugins) == ["corec_plugins.tarde"]


def test_plugin_is_initialised_when_all_modules_run_and_all_plugins_are_recorded(tmp_path, order):
    node = Node(tmp_path)
    for name in ("a", "b"):
        node.plugin(name, NAMED.replace("{kind}", "def"))
    with node:
        names = ["corec_plugins.a", "corec_plugins.b"]
        assert order == [*names, *((name, names, True) for name in names)]


def test_modulos_is_a_mapping_and_bloques_a_mutable_one(tmp_path):
    with running(small(), tmp_path) as nucleus:
        assert isinstance(nucleus.modulos, Mapping) and nucleus.modulos.get("otro") is None
        assert isinstance(nucleus.modulos.get("registro").bloques, MutableMapping)


def test_passes_come_at_their_interval_and_never_overlap(tmp_path):
    # Given a plugin whose pass takes longer than its interval
    node = Node(tmp_path)
    node.plugin("lento", """
        import asyncio
        class Plugin:
            passes = running = most = 0
            async def procesar(self, datos, carga):
                Plugin.passes += 1
                Plugin.running += 1
                Plugin.most = max(Plugin.most, Plugin.running)
                await asyncio.sleep(0.1)
                Plugin.running -= 1
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("lento", Plugin())
    """, {"intervalo": 0.02})  # fmt: skip
    with node as nucleus:
        # Then it is passed to more often than once a second, and never twice at a time
        plugin = type(nucleus.plugins.plugins["lento"].plugin)

        def three_more():
            before = plugin.passes
            assert until(lambda: plugin.passes >= before + 3)

        assert quickest(three_more, 2) < 2
        assert plugin.most == 1


def noting(calls):
    async def note(*arguments):
        calls.append(arguments)

    return note


def test_values_of_a_block_that_its_plugin_steps_count_once(tmp_path, monkeypatch):
    # Given a plugin that steps its block, and a node that would, soon
    unpatched_left_alone = registro.LEFT_ALONE_S
    monkeypatch.setattr(registro, "LEFT_ALONE_S", 0.3)
    node = Node(tmp_path, small(modules=["registro", "ejecucion"]))
    node.plugin("propio", """
        from corec.blocks import BloqueSimbiotico
        from corec.entities import crear_entidad
        class Plugin:
            def __init__(self, nucleus):
                self.nucleus = nucleus
            async def inicializar(self):
                self.bloque = BloqueSimbiotico("propio", 4, [crear_entidad(f"m{i}", 4, lambda: 1.5) for i in range(10)])
                self.nucleus.modulos["registro"].bloques["propio"] = self.bloque
            async def procesar(self, datos, carga):
                await self.bloque.procesar(carga)
        def inicializar(nucleus, config):
            nucleus.registrar_plugin("propio", Plugin(nucleus))
    """, {"intervalo": 0.1})  # fmt: skip
    with node as nucleus:
        assert unpatched_left_alone > settings_of({}).intervalo == 1.0
        steps = []
        monkeypatch.setattr(nucleus.modulos["registro"], "step", noting(steps))
        bloque = nucleus.modulos["registro"].bloques["propio"]
        assert until(lambda: bloque.passes >= 20)
        # Then the node did not step it, and what its functions gave was counted once
        assert steps == []
    assert nucleus.engine.ledger["in"] == 10 * bloque.passes


# --- names and commands ------------------------------------------------------------------------

@pytest.mark.parametrize("name", [
    "corec.nucleus:CoreCNucleus", "corec.nucleus:PluginManager", "corec.nucleus:CoreCNucleus.registrar_plugin",
    "corec.nucleus:CoreCNucleus.modulos",
    "corec.blocks:BloqueSimbiotico", "corec.blocks:BloqueSimbiotico.procesar", "corec.entities:crear_entidad",
    "corec.entities:MicroCeluEntidadCoreC", "corec.entities:CeluEntidadCoreC", "corec.entities:ProcesadorSensor",
    "corec.entities:ProcesadorFiltro", "corec.modules.base:ModuloBase",
    "corec.modules.registro:ModuloRegistro", "corec.modules.ejecucion:ModuloEjecucion",
    "corec.modules.sincronizacion:ModuloSincronizacion", "corec.modules.sincronización:ModuloSincronizacion",
    "corec.core:logging", "corec.core:asyncio", "corec.core:random", "corec.core:enviar_mensaje_redis", "corec.core:serializar_mensaje",
    "corec.core:deserializar_mensaje",
])  # fmt: skip
def test_documented_name_is_there(name):
    module, _, path = name.partition(":")
    found = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)


def test_documented_log_lines_are_printed(tmp_path):
    # Given the documented configuration with the documented plugin, which alerts above 0.9 of 1,000 random values
    command = [sys.executable, "-m", "corec", "run", "--config", ROOT / "configs", "--embedded", "--data", tmp_path / "data",
               "--plugins", ROOT / "tests" / "seed", "--for", "30"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # When it runs, Then the lines that people are told to look for are there
    wanted = ["[CoreCNucleus-corec1] Inicializado",
              "[ModuloRegistro] Bloque registrado: alerts_notificaciones, canal 5, 1000 entidades, ids 2147483648-2147484647",
              "[AlertsPlugin] Bloque alertas alerts_notificaciones registrado con 1000 entidades",
              "[AlertsPlugin] Alerta enviada"]  # fmt: skip
    seen = []
    try:
        for line in process.stderr:
            seen.append(line)
            wanted = [text for text in wanted if not line.startswith(text)]
            if not wanted:
                break
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert wanted == [], "".join(seen)


# --- section 9 ---------------------------------------------------------------------------------

def test_modules_are_a_package_with_an_empty_init():
    assert (Path(corec.modules.__file__).name, Path(corec.modules.__file__).stat().st_size) == ("__init__.py", 0)


def test_beyond_its_ram_a_node_says_how_many_entities_too_many(tmp_path):
    # Given more entities than max_ram_mb holds
    entry = {"id": "enjambre", "canal": 1, "entidades": 100_000_000}
    (tmp_path / "corec_config.json").write_text(json.dumps({"max_ram_mb": 1024, "bloques": [entry]}))
    command = [sys.executable, "-m", "corec", "run", "--config", tmp_path, "--data", tmp_path / "data", "--for", "1"]
    # When it is started
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True)
    # Then it is not, with the code for it, the sum and the way out
    assert done.returncode == 5
    assert "expected at most 1,024.0 MB of RAM" in done.stderr and "HINT: max_ram_mb 3238 would do; or reduce entidades" in done.stderr
    assert "Traceback" not in done.stderr


def test_servers_that_do_not_answer_are_named_with_what_to_do(tmp_path):
    # Given a port at which nobody listens
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        config = parse({"redis_config": {"host": "127.0.0.1", "port": port},
                        "db_config": {"dbname": "corec_db", "user": "postgres", "host": "127.0.0.1", "port": str(port)}})  # fmt: skip
        # When Redis is asked, Then the error has its address, the reason and the way out
        link = RedisLink(config.redis_config)
        with pytest.raises(ServerError, match=rf"Redis at 127.0.0.1:{port} did not say hello: .*refused.*\nHINT: see that it runs"):
            with link.errors("say hello"):
                link.client("corec:in").ping()
        # And so has that of PostgreSQL
        with pytest.raises(ServerAway, match=rf"PostgreSQL at postgres@127.0.0.1:{port}/corec_db cannot be reached: .*refused"):
            with Session(config.db_config, name="test").transaction():
                pass


def test_figure_whose_server_is_missing_is_not_run():
    # Given a measurement without its server
    def missing(quick):
        raise NotRun("no Redis here")

    # Then each of its figures says so, beside its target, and is neither met nor missed
    figure = Figure("Redis, RAM", "50-100 MB", float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FIGURES, missing, (figure, figure))
        found = list(measured(missing, True))
    assert [each.ok for each in found] == [None, None]
    assert "Redis, RAM" in shown(found[0]) and "50-100 MB" in shown(found[0]) and "not run: no Redis here" in shown(found[0])


def test_python_is_3_11_or_newer():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11"


def test_workers_are_two():
    config = parse({"redis_config": {}, "db_config": {}, "celery_config": {}})
    assert app_of(config).conf.worker_concurrency == config.celery_config.worker_concurrency == 2
