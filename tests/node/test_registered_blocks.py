"""Registered blocks come, go and come again: ids by (block, entity name), state kept, memory given back."""
import asyncio

import pytest

from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad
from corec.errors import PluginError
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


def block(names, canal=4, value=1.5, id="horno"):
    return BloqueSimbiotico(id, canal, [crear_entidad(name, canal, lambda: value) for name in names])


def attach(nucleus, bloque):
    nucleus.modulos["registro"].bloques[bloque.id] = bloque
    return bloque


def step(bloque):
    asyncio.run(bloque.procesar(0.0))


def valor(nucleus, place):
    return nucleus.engine.entity(2**31 + place)["valor"]


def test_entities_are_found_again_by_name(tmp_path):
    # Given a block of named entities, and a node that stops
    with running(small(), tmp_path) as nucleus:
        step(attach(nucleus, block(["norte", "sur", "este"])))
        assert until(lambda: nucleus.engine.ledger["in"] == 3)
    # When it is registered again with some of them in another order
    with running(small(), tmp_path) as nucleus:
        step(attach(nucleus, block(["este", "norte"], value=9.0)))
        assert until(lambda: nucleus.engine.ledger["in"] == 5)
        # Then each has its own id, which tells its name
        assert [valor(nucleus, place) for place in range(3)] == [9.0, 1.5, 9.0]
        assert nucleus.entity_name(2**31 + 1) == ("sur", "")


@pytest.mark.parametrize(("again", "said"), [
    (block(["norte", "oeste"]), "none of the name 'oeste'"),
    (block(["norte"], canal=7), "registered with canal 4 before, got canal 7"),
])  # fmt: skip
def test_block_that_is_not_what_it_was_is_refused(tmp_path, again, said):
    with running(small(), tmp_path) as nucleus:
        attach(nucleus, block(["norte", "sur"]))
        del nucleus.modulos["registro"].bloques["horno"]
        with pytest.raises(PluginError, match=said):
            attach(nucleus, again)


def test_detached_block_is_gone_until_it_comes_again(tmp_path):
    with running(small(), tmp_path) as nucleus:
        bloques, horno = nucleus.modulos["registro"].bloques, block([f"m{i}" for i in range(1000)])
        step(attach(nucleus, horno))
        assert until(lambda: nucleus.engine.ledger["in"] == 1000)
        total = nucleus.status()["blocks"]["total"]
        # When it is deleted
        del bloques["horno"]
        # Then status shows it gone, its memory sleeps, and its ids are nobody's
        assert nucleus.status()["blocks"]["total"] == total - 1
        assert len(nucleus.engine.arena.frozen) == 1
        nucleus.submit(readings([2**31], canal=4), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["rejected_id"] == 1)
        step(horno)
        # And a block that comes meanwhile gets ids of its own
        attach(nucleus, block(["a"], id="otro"))
        assert nucleus.engine.config.bloques[-1].first_id == 2**31 + 1000
    with running(small(), tmp_path) as nucleus:
        assert nucleus.engine.ledger["rejected_id"] == 1
        # When it comes again after a restart, Then it has its ids and its state
        step(attach(nucleus, block([f"m{i}" for i in range(1000)], value=2.5)))
        assert until(lambda: nucleus.engine.ledger["in"] == 2001)
        found = nucleus.engine.entity(2**31 + 999)
        assert found["valor"] == 2.5 and found["mean"] != 2.5
        assert not nucleus.engine.arena.frozen


def test_deleting_what_is_not_there_is_a_key_error(tmp_path):
    with running(small(), tmp_path) as nucleus, pytest.raises(KeyError):
        del nucleus.modulos["registro"].bloques["nobody"]


def test_ram_of_a_detached_block_may_be_used_by_another(tmp_path):
    # Given a node that has room for one block of 40,000 entities
    names = [f"m{i}" for i in range(40_000)]

    def large(id):
        return BloqueSimbiotico(id, 4, [crear_entidad(name, 4, int) for name in names], max_size=1e6)

    with running(small(max_ram_mb=78), tmp_path) as nucleus:
        attach(nucleus, large("uno"))
        from corec.errors import CapacityError

        with pytest.raises(CapacityError):
            attach(nucleus, large("dos"))
        # When the first is detached, Then the second fits, and the first does not any more
        del nucleus.modulos["registro"].bloques["uno"]
        attach(nucleus, large("dos"))
        with pytest.raises(CapacityError):
            attach(nucleus, large("uno"))


def test_blocks_of_a_plugin_that_was_left_behind_are_left_alone(tmp_path, monkeypatch):
    # Given two plugins with a block each that nobody steps
    from corec.modules import registro as module
    from corec.plugin_api.metering import CURRENT, Meter

    monkeypatch.setattr(module, "LEFT_ALONE_S", 0.0)
    with running(small(modules=["registro"]), tmp_path) as nucleus:
        registro = nucleus.modulos["registro"]
        for name in ("uno", "dos", "tres"):
            token = CURRENT.set(Meter(name))
            attach(nucleus, block(["a"], id=name))
            CURRENT.reset(token)
        # When two of them are left behind, one after the other, Then the node steps the third's alone
        registro.abandon("uno")
        registro.abandon("dos")
        assert registro.left_alone() == ["tres"]
