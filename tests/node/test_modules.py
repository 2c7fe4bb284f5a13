"""The node's own modules: what they decide, from what, and that they only ever command."""
import importlib
import logging
import threading
import time

import numpy as np
import pytest

from corec._core import dtypes
from corec.blocks import BloqueSimbiotico
from corec.config import load, parse
from corec.engine import Engine
from corec.entities import crear_entidad
from corec.errors import ConfigError, UsageError
from corec.pipeline.fusion_rule import FusionRule
from corec.storage.sqlite.read import SqliteReader
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow

BLOCKS = [{"id": "a", "canal": 1, "entidades": 60, "entidades_por_bloque": 20}, {"id": "z", "canal": 2, "entidades": 20}]


class FusionHarness:
    """An engine and the rule that looks at it; what the rule asks for is carried out at once, as a node would."""

    def __init__(self, **settings):
        config = parse({"bloques": BLOCKS, "sincronizacion": settings})
        self.engine, self.commands, self.now = Engine(config), [], 1000.0
        self.rule = FusionRule(config.sincronizacion, lambda: self.engine)

    def window(self, *fitness, load=0.0):
        """One window of each block, in order, and what is fused by then: (block, host) of all so far."""
        rows = np.zeros(len(fitness), dtypes.AGGREGATE)
        rows["block"], rows["fitness"], rows["canal"] = np.arange(len(fitness)), fitness, [1, 1, 1, 2][: len(fitness)]
        self.engine.arena.blocks["fitness"][: len(fitness)] = fitness
        self.rule.see_fused([self.engine.block_ids[fusion.block] for fusion in self.engine.fusions])
        self.rule.judge(rows)
        self.rule.propose(load, self.now, self.ask)
        return [(command["block"], command["host"]) for command in self.commands]

    def ask(self, block, host, why):
        command = {"op": "fuse", "block": block, "host": host, "why": why}
        try:
            self.engine.check_command(command)
        except UsageError:
            return False
        self.engine.turn([], commands=[command])
        self.commands.append(command)
        return True


# --- the rule of sincronizacion --------------------------------------------------------------------


def test_block_weak_for_windows_on_end_joins_the_strongest():
    # Given a block that is weak, and two that are not
    fleet = FusionHarness(ventanas=3)
    for _ in range(2):
        assert fleet.window(0.1, 0.8, 0.9, 1.0) == []
    # When the third window closes, then it joins the strongest of its channel, with the reason
    assert fleet.window(0.1, 0.8, 0.9, 1.0) == [("a/0", "a/2")]
    assert fleet.commands[0]["why"] == "fitness 0.10, weak in 3 windows on end, min_fitness 0.2"
    # And only once
    assert fleet.window(0.1, 0.8, 0.9, 1.0) == [("a/0", "a/2")]


def test_min_fitness_of_its_own_makes_a_block_weak(monkeypatch):
    # Given entries that call a block weak below 0.5
    monkeypatch.setitem(BLOCKS[0], "autoreparacion", {"min_fitness": 0.5})
    fleet = FusionHarness(ventanas=1)
    # Then one at 0.4 joins another, and one at 0.5 does not
    assert fleet.window(0.5, 0.8) == []
    assert fleet.window(0.4, 0.8) == [("a/0", "a/1")]


def test_one_good_window_begins_the_count_anew():
    fleet = FusionHarness(ventanas=2)
    for fitness in (0.1, 0.3, 0.1, 0.3, 0.1):
        assert fleet.window(fitness, 0.8) == []


def test_load_lengthens_the_wait():
    # Given a node at full load, whose windows count half
    fleet = FusionHarness(ventanas=2, carga=1.0)
    for _ in range(3):
        assert fleet.window(0.1, 0.8, load=1.0) == []
    assert fleet.window(0.1, 0.8, load=1.0) == [("a/0", "a/1")]


def test_no_more_than_so_many_fusions_a_minute():
    # Given two weak blocks, room for both, and one fusion a minute
    fleet = FusionHarness(ventanas=1, fusiones_por_minuto=1)
    for _ in range(3):
        fused = fleet.window(0.1, 0.05, 0.9)
    # Then the weakest went first, and the other has to wait
    assert fused == [("a/1", "a/2")]
    fleet.now += 61
    assert len(fleet.window(0.1, 0.05, 0.9)) == 1  # a/2 is full: no host is left
    assert FusionHarness(fusiones_por_minuto=0, ventanas=1).window(0.1, 0.9) == []


def test_a_minute_later_the_next_fusion_may_come():
    # Given two weak blocks, hosts for both, and one fusion a minute
    fleet = FusionHarness(ventanas=1, fusiones_por_minuto=1)
    assert len(fleet.window(0.1, 0.9)) == 1
    assert len(fleet.window(0.1, 0.9, 0.05)) == 1
    fleet.rule.fused_before([fleet.now + 30])   # by somebody else
    fleet.now += 61
    assert len(fleet.window(0.1, 0.9, 0.05)) == 1


def test_without_a_strong_host_nothing_is_proposed():
    assert FusionHarness(ventanas=1).window(0.1, 0.5, 0.4, 1.0) == []


def test_block_that_was_given_back_is_left_alone_until_it_was_strong():
    # Given a fusion that an operator undid
    fleet = FusionHarness(ventanas=1)
    fleet.window(0.1, 0.9)
    fleet.window()
    fleet.engine.turn([], commands=[{"op": "undo", "block": "a/0"}])
    # When the block is still weak, then it is left alone
    for _ in range(3):
        assert len(fleet.window(0.1, 0.9)) == 1
    # When it was strong and is weak again, then it is not
    fleet.window(0.6, 0.9)
    assert len(fleet.window(0.1, 0.9)) == 2


# --- sincronizacion --------------------------------------------------------------------------------


def test_weak_block_of_a_node_is_fused_by_itself(tmp_path):
    # Given a node whose second block fails altogether
    with running(small(sincronizacion={"ventanas": 2}), tmp_path / "data") as nucleus:
        def work():
            nucleus.submit(readings(range(900, 1000)), time=now_ms()).result()
            nucleus.submit(readings(range(1000, 1100), states=False), time=now_ms()).result()
            time.sleep(0.05)
            return nucleus.engine.fusions
        # Then it is soon fused
        assert until(work, seconds=60)
        assert nucleus.status()["blocks"]["fused"] == {"sensores/1": "sensores/0"}
    # And the history says why
    reader = SqliteReader(tmp_path / "data" / "store.db")
    fused = next(each for each in reader.happenings() if each.what == "fuse")
    reader.close()
    assert "windows on end" in fused.reason and fused.fitness < 0.2


def test_both_spellings_are_one_module():
    one, other = (importlib.import_module(f"corec.modules.{name}") for name in ("sincronizacion", "sincronización"))
    assert one is other


# --- ejecucion -------------------------------------------------------------------------------------


def test_ejecucion_steps_blocks_that_nobody_steps(tmp_path):
    # Given a registered block that its program leaves alone
    with running(small(), tmp_path / "data") as nucleus:
        bloque = BloqueSimbiotico("propio", 9, [crear_entidad("m0", 9, lambda: 1.0)])
        nucleus.modulos["registro"].bloques["propio"] = bloque
        # Then the node steps it
        assert until(lambda: bloque.passes) > 0


def test_functions_that_were_inherited_are_in_the_history(tmp_path):
    # Given a registered block, one of whose functions fails
    def broken():
        raise ValueError("no")

    with running(small(), tmp_path / "data") as nucleus:
        entities = [crear_entidad("bad", 9, broken), *(crear_entidad(f"m{k}", 9, lambda: 1.0) for k in range(3))]
        bloque = BloqueSimbiotico("propio", 9, entities)
        nucleus.modulos["registro"].bloques["propio"] = bloque
        # When its passes regenerate it, then the history says from whom it inherited

        def inherited():
            with nucleus.store.reader() as reader:
                return [each for each in reader.happenings("propio") if each.what == "inherit"]

        found = until(inherited)
    assert [(each.entities, each.inherited, each.reason) for each in found] == [(1, 1, "functions: bad from m0")]


def test_without_ejecucion_nobody_steps_them(tmp_path):
    with running(small(modules=["registro"]), tmp_path / "data") as nucleus:
        assert list(nucleus.modulos) == ["registro"]


def test_celery_without_its_section_is_refused(tmp_path):
    (tmp_path / "corec_config.json").write_text('{"ejecucion": {"modo": "celery"}}')
    with pytest.raises(ConfigError, match='expected a celery_config beside "celery", got none - at .*ejecucion.modo') as caught:
        load(tmp_path)
    assert caught.value.hint


def test_unknown_keys_of_modules_are_refused_with_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        parse({"sincronizacion": {"ventana": 3}})
    assert "ventanas" in (caught.value.hint or "")


def test_module_that_raises_does_not_stop_the_others(tmp_path, caplog):
    # Given a module whose pass fails
    with running(small(), tmp_path / "data") as nucleus, caplog.at_level(logging.ERROR):
        async def broken(datos, carga):
            raise ValueError("no")
        nucleus.modulos["sincronizacion"].ejecutar = broken
        # Then that is said, and the node goes on
        assert until(lambda: "module sincronizacion failed" in caplog.text)
        assert nucleus.status()["state"] == "running"
    assert threading.active_count() < 30
