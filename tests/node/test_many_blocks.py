"""Blocks that a program registers one by one: the last costs what the first did, and a start with all of them likewise."""
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from corec import config as config_module
from corec.blocks import BloqueSimbiotico
from corec.config import parse
from corec.config.registered import RunningConfig
from corec.engine import topology
from corec.entities import crear_entidad
from corec.errors import CapacityError, ConfigError
from corec.pipeline import recovery
from tests.support.nodes import running, small

pytestmark = pytest.mark.slow

MANY, SAMPLE = 600, 100


def blocks(many=MANY, first=0):
    return [BloqueSimbiotico(f"b{number}", 4, [crear_entidad(f"m{slot}", 4, lambda: 1.5) for slot in range(10)])
            for number in range(first, first + many)]  # fmt: skip


@pytest.fixture
def parses(monkeypatch):
    """What every configuration that is parsed as a whole adds to."""
    counted, resolve = [], config_module.resolve_entries
    monkeypatch.setattr(config_module, "resolve_entries", lambda *arguments: (counted.append(1), resolve(*arguments))[1])
    return counted


def register(nucleus, made):
    """CPU seconds of this process for each of the blocks."""
    bloques, took = nucleus.modulos["registro"].bloques, []
    for bloque in made:
        began = time.process_time()
        bloques[bloque.id] = bloque
        took.append(time.process_time() - began)
    return took


def ids_of(nucleus):
    return {entry.id: entry.first_id for entry in nucleus.engine.config.bloques if entry.registrado}


def test_last_block_costs_what_the_first_did(tmp_path, parses):
    made, config = blocks(), small(modules=["registro", "auditoria"])
    with running(config, tmp_path) as nucleus:
        # When many blocks are registered, one after the other
        parses.clear()
        took = register(nucleus, made)
        # Then the quickest of the last takes no longer than the quickest of the first, and no configuration was parsed again
        assert min(took[-SAMPLE:]) < 2 * min(took[:SAMPLE])
        assert not parses
        engine, ids = nucleus.engine, ids_of(nucleus)
        assert len(set(ids.values())) == MANY
        # and the digest is that of the whole configuration, read at once
        assert engine.config.digest == parse(engine.config.to_mapping()).digest
    # When it starts again and the blocks are bound to what was recovered
    made = blocks()
    parses.clear()
    with running(config, tmp_path) as nucleus:
        at_start = len(parses)
        assert nucleus.engine.config.digest == engine.config.digest
        register(nucleus, made)
        # Then a few parses do, however many blocks there are, and all have the ids that they had
        assert at_start <= 3 and len(parses) == at_start
        assert ids_of(nucleus) == ids


def test_digest_keeps_up_with_blocks_that_come_and_go(tmp_path):
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        bloques, made = nucleus.modulos["registro"].bloques, blocks(5)
        register(nucleus, made)
        for number in (1, 3):
            del bloques[f"b{number}"]
        register(nucleus, [made[3]])
        config = nucleus.engine.config
        assert [entry.retirado for entry in config.bloques[-5:]] == [False, True, False, False, False]
        assert config.digest == parse(config.to_mapping()).digest


def test_attach_is_recorded_as_it_always_was(tmp_path):
    with running(small(), tmp_path) as nucleus:
        register(nucleus, blocks(1))
        with sqlite3.connect(nucleus.folder.store) as db:
            recorded = [json.loads(commands) for (commands,) in db.execute("SELECT commands FROM turns")]
            named = db.execute("SELECT block, canal, entities FROM blocks WHERE id = 'b0'").fetchall()
    assert [{"op": "attach", "entry": {
        "id": "b0", "canal": 4, "entidades": 10, "entidades_por_bloque": 10, "ids": 2**31, "max_size_mb": 1.0,
        "registrado": True, "nombres": "m"}}] in recorded  # fmt: skip
    assert named == [(5, 4, 10)]


def test_arena_without_room_refuses_and_the_node_goes_on(tmp_path, monkeypatch):
    # Given a node whose arena has room for two more blocks
    monkeypatch.setattr(topology, "build", lambda config, spare=2, build=topology.build: build(config, spare=spare))
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        register(nucleus, blocks(2))
        # When a third one comes, Then it is refused with a way out, and the node works on
        with pytest.raises(CapacityError, match="b2"):
            register(nucleus, blocks(1, first=2))
        del nucleus.modulos["registro"].bloques["b0"]
        register(nucleus, blocks(1))
    # and a restart has room again
    monkeypatch.setattr(recovery, "SPARE", 2)
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        register(nucleus, blocks(4))
        assert len(ids_of(nucleus)) == 4


def test_block_of_an_id_that_the_configuration_has_is_refused():
    # Given a configuration of blocks sensores/0 to sensores/2, when one more of that id is to come, then it is refused
    running_config = RunningConfig(small())
    with pytest.raises(ConfigError, match="there is a block 'sensores/2' already"):
        running_config.entry_for("sensores/2", 4, ["a"])


def test_blocks_that_several_threads_register_get_ids_of_their_own(tmp_path):
    # Given a node, and threads that register blocks at the same time
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: register(nucleus, blocks(1, first=number)), range(40)))
        # Then each has its ids, and the node works on
        entries = [entry for entry in nucleus.engine.config.bloques if entry.registrado]
        assert sorted(entry.first_id for entry in entries) == [2**31 + 10 * number for number in range(40)]
        assert nucleus.status()["state"] == "running" and not nucleus.is_over


PROGRAM = """
    import sys
    from corec.blocks import BloqueSimbiotico
    from corec.entities import crear_entidad
    from corec.nucleus import CoreCNucleus
    from tests.support.nodes import small

    with CoreCNucleus(small(modules=["registro"]), data=sys.argv[1], with_sources=False) as nucleus:
        bloques = nucleus.modulos["registro"].bloques
        for number in range(10_000):
            bloque = BloqueSimbiotico(f"b{number}", 4, [crear_entidad("m", 4, lambda: 1.5)])
            bloques[bloque.id] = bloque
            print(bloque.id, nucleus.engine.config.bloques[-1].first_id, flush=True)
"""


def test_registered_ids_survive_a_kill(tmp_path):
    # Given a program that is killed while it registers blocks
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    lines = [program.stdout.readline() for _ in range(50)]
    program.send_signal(signal.SIGKILL)
    lines += program.stdout.readlines()
    program.wait()
    printed = {block: int(first) for block, first in (line.split() for line in lines if line.endswith("\n"))}
    # When the node starts again, Then every block that was registered has its id, and another one gets none of them
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        known = ids_of(nucleus)
        assert len(printed) >= 50 and printed.items() <= known.items()
        register(nucleus, [BloqueSimbiotico("new", 4, [crear_entidad("m", 4, lambda: 1.5)])])
        assert ids_of(nucleus)["new"] not in known.values()
