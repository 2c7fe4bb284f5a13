"""corec.blocks: BloqueSimbiotico as the contract has it, detached from any node."""
import asyncio
import functools
import json
import random
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.blocks import BloqueSimbiotico
from corec.entities import ProcesadorFiltro, crear_entidad, vectorizada
from corec.errors import CapacityError, ConfigError, UsageError
from tests.support.entity_samples import block_of, broken, documented_functions, passes, run, switch

NAN = float("nan")


def entities(count, canal=1, function=random.random):
    return [crear_entidad(f"m{i}", canal, function) for i in range(count)]


# --- construction ------------------------------------------------------------------------------

def test_block_is_made_as_documented():
    nucleus = object()
    bloque = BloqueSimbiotico("alerts_notificaciones", 5, entities(1000, 5), max_size=1024, nucleus=nucleus)
    assert (bloque.id, bloque.canal, len(bloque.entidades), bloque.max_size) == ("alerts_notificaciones", 5, 1000, 1024)
    assert bloque.nucleus is nucleus and bloque.fitness == 1.0
    # And what is not said is as documented
    plain = BloqueSimbiotico("b", 5, entities(3, 5))
    assert (plain.max_size, plain.nucleus, plain.time_limit) == (1024, None, 0.5)
    # And its entities are active before any pass
    assert [entidad.activo for entidad in plain.entidades] == [True] * 3


def test_block_works_detached_from_a_node():
    bloque = BloqueSimbiotico("solo", 1, entities(3))
    assert bloque.nucleus is None
    assert len(run(bloque)["mensajes"]) == 3


@pytest.mark.parametrize(("count", "max_size", "fits"), [(1024, 1024, True), (1025, 1024, False), (2000, 5120, True), (2, 1.5, False)])
def test_entity_counts_one_kilobyte(count, max_size, fits):
    if fits:
        assert len(BloqueSimbiotico("b", 1, entities(count), max_size=max_size).entidades) == count
        return
    with pytest.raises(CapacityError, match=rf"block 'b': expected at most {int(max_size):,} entities.*got {count:,} x 1 KB\n"
                                            rf"HINT: make several blocks, or say max_size={count}"):  # fmt: skip
        BloqueSimbiotico("b", 1, entities(count), max_size=max_size)


def test_duplicate_entity_id_is_refused():
    with pytest.raises(UsageError, match="block 'b': expected each entity id once, got 'm1' twice"):
        BloqueSimbiotico("b", 1, [*entities(3), crear_entidad("m1", 1, random.random)])


def test_entity_on_another_channel_is_refused():
    with pytest.raises(UsageError, match="expected entities on its channel 5, got 'm0' on 1"):
        BloqueSimbiotico("b", 5, entities(1))


def test_entity_of_another_block_is_refused():
    first = BloqueSimbiotico("first", 1, entities(1))
    with pytest.raises(UsageError, match="expected entities that live in no block, got 'm0' of 'first'"):
        BloqueSimbiotico("second", 1, first.entidades)


def test_what_is_no_entity_is_refused():
    with pytest.raises(UsageError, match="expected entities of crear_entidad, got "):
        BloqueSimbiotico("b", 1, [("m0", 1, random.random, True)])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"id": ""}, "expected the id of a block as text"), ({"id": None}, "expected the id of a block as text"),
        ({"canal": 128}, "block 'b': expected a channel, an integer from 0 to 127, got 128"),
        ({"entidades": []}, "expected at least one entity, got none"),
        ({"max_size": 0}, "expected max_size in KB, above 0, got 0"), ({"max_size": "1024"}, "expected max_size in KB"),
        ({"time_limit": 0}, "expected a time_limit in seconds"),
    ],
)  # fmt: skip
def test_wrong_block_is_refused(wrong, expected):
    arguments = {"id": "b", "canal": 1, "entidades": entities(1), **wrong}
    with pytest.raises(UsageError, match=expected):
        BloqueSimbiotico(**arguments)


@pytest.mark.parametrize(("section", "wrong"), [("autoreparacion", {"max_errores": 2}), ("filtro", {"umbral": -1})])
def test_wrong_settings_are_refused_as_in_the_configuration(section, wrong):
    key = next(iter(wrong))
    with pytest.raises(ConfigError, match=rf"block 'b'.*{section}.{key}"):
        BloqueSimbiotico("b", 1, entities(1), **{section: wrong})


# --- what a pass gives -------------------------------------------------------------------------

def test_result_has_a_mapping_for_each_entity():
    bloque = BloqueSimbiotico("b", 3, [crear_entidad(f"m{i}", 3, lambda i=i: i / 4) for i in range(4)])
    resultado = run(bloque)
    mensajes = resultado["mensajes"]
    assert isinstance(resultado, Mapping) and isinstance(mensajes, Sequence) and len(mensajes) == 4
    assert list(mensajes) == [{"id": f"m{i}", "valor": i / 4, "activo": True, "emitido": True} for i in range(4)]
    assert [mensajes[i] for i in range(4)] == list(mensajes) == mensajes[:] and mensajes[-1]["id"] == "m3"
    assert (resultado["bloque_id"], resultado["canal"], resultado["fitness"]) == ("b", 3, 1.0)
    assert resultado["agregado"] == {"count": 4, "mean": 0.375, "min": 0.0, "max": 0.75, "errors": 0,
                                     "std": pytest.approx(np.std([0, 0.25, 0.5, 0.75]))}
    with pytest.raises(IndexError):
        mensajes[4]


def test_values_are_python_floats_of_full_precision():
    mensajes = run(block_of(lambda: 0.1, lambda: 3, lambda: np.float32(0.5), lambda: {"valor": np.float64(0.1)}))["mensajes"]
    assert [type(m["valor"]) for m in mensajes] == [float] * 4
    assert [m["valor"] for m in mensajes] == [mensajes[at]["valor"] for at in range(4)] == [0.1, 3.0, 0.5, 0.1]
    assert [type(mensajes[0][key]) for key in ("id", "valor", "activo", "emitido")] == [str, float, bool, bool]
    assert [type(m["activo"]) for m in mensajes] == [type(m["emitido"]) for m in mensajes] == [bool] * 4
    assert json.loads(json.dumps(list(mensajes))) == list(mensajes)


def test_messages_are_made_when_they_are_looked_at():
    # Given the result of a pass over a thousand entities
    mensajes = run(BloqueSimbiotico("b", 5, entities(1000, 5)))["mensajes"]
    # Then it holds no mapping, and gives a new one each time
    held = [getattr(mensajes, name) for name in type(mensajes).__slots__]
    assert not any(isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value) for value in held)
    assert mensajes[7] == mensajes[7] and mensajes[7] is not mensajes[7]


def test_messages_of_a_pass_stay_as_they_were():
    async def story():
        bloque = block_of(switch(1.0, 2.0), switch(1.0, NAN))
        first = (await bloque.procesar(0))["mensajes"]
        before = list(first)
        await bloque.procesar(0)
        return before, list(first)

    before, after = asyncio.run(story())
    assert before == after


def test_emitido_is_whether_it_passed_the_filter_and_activo_is_health():
    # Given a filter that lets moves of 5 and more through
    bloque = block_of(switch(0.0, 1.0, 9.0), switch(0.0, 9.0, NAN), filtro={"umbral": 5.0, "desviacion": 0.0})
    seen = [[(m["activo"], m["emitido"]) for m in run(bloque)["mensajes"]] for _ in range(3)]
    # Then what it holds back is healthy all the same, and what failed has not passed
    assert seen == [[(True, True), (True, True)], [(True, False), (True, True)], [(True, True), (False, False)]]


def test_load_raises_the_threshold():
    def emitted(carga):
        bloque = block_of(switch(0.0, 1.5), filtro={"umbral": 1.0, "desviacion": 0.0, "carga": 1.0})
        return run(bloque, 2, carga)["mensajes"][0]["emitido"]

    assert (emitted(0.0), emitted(1.0)) == (True, False)


@pytest.mark.parametrize("carga", [-0.01, 1.01, NAN, "0.5", None])
def test_load_outside_0_to_1_is_refused(carga):
    with pytest.raises(UsageError, match="expected a load from 0 to 1, got"):
        run(block_of(random.random), carga=carga)


@pytest.mark.parametrize("carga", [0, 1, 0.0, 1.0, np.float32(0.5)])
def test_load_from_0_to_1_is_taken(carga):
    assert len(run(block_of(random.random), carga=carga)["mensajes"]) == 1


def test_failed_reading_keeps_the_last_good_value():
    bloque = block_of(switch(4.5, NAN), broken)
    mensajes = run(bloque, 2)["mensajes"]
    assert [(m["valor"], m["activo"]) for m in mensajes] == [(4.5, False), (0.0, False)]


# --- failures ----------------------------------------------------------------------------------

@pytest.mark.parametrize(
    ("function", "said"),
    [
        (broken, "ZeroDivisionError: no sensor (entity_samples.py:"), (lambda: "21.5", "expected a number, got the text '21.5'"),
        (lambda: None, "expected a number, got None"), (lambda: {"valor": None}, "expected a number, got None"),
        (lambda: {"value": 1}, "expected a mapping with \"valor\", got one with 'value'"),
        (lambda: NAN, "expected a finite number of at most 1e+18, got nan"), (lambda: {"valor": -float("inf")}, "expected a finite"),
        (lambda: 2e18, "expected a finite number of at most 1e+18, got 2e+18"),
        (lambda: [1, 2], "expected a number, got list: [1, 2]"), (switch(SystemExit(1)), "SystemExit: 1"),
        (switch(StopIteration()), "StopIteration:"), (switch(asyncio.CancelledError()), "CancelledError:"),
        (switch(MemoryError("much")), "MemoryError: much"),
    ],
)  # fmt: skip
def test_whatever_a_function_gives_procesar_does_not_raise(function, said, caplog):
    # Given a function that gives nothing of use, beside one that does
    bloque = block_of(lambda: 1.0, function, autoreparacion={"max_errores": 1})
    resultado = run(bloque)
    # Then its reading has failed, is counted and named in the log
    assert [m["activo"] for m in resultado["mensajes"]] == [True, False]
    assert (resultado["agregado"]["count"], resultado["agregado"]["errors"]) == (1, 1)
    assert resultado["fitness"] == 0.5
    assert f"[BloqueSimbiotico-bloque] e1 failed: {said}" in caplog.text


def test_keyboard_interrupt_is_the_operators():
    with pytest.raises(KeyboardInterrupt):
        block_of(switch(KeyboardInterrupt())).procesar(0).send(None)


def test_each_kind_of_failure_is_logged_once_for_an_entity(caplog):
    # Given two entities that fail again and again, one of them in two ways
    bloque = block_of(switch(ValueError("one"), ValueError("two"), "text", "text"), broken, autoreparacion={"max_errores": 1})
    run(bloque, 4)
    # Then the log has the first of each kind, by name
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "[BloqueSimbiotico-bloque] e0 failed: ValueError: one",
        "[BloqueSimbiotico-bloque] e1 failed: ZeroDivisionError: no sensor",
        "[BloqueSimbiotico-bloque] e0 failed: expected a number, got the text 'text'",
    ]


def test_block_that_fails_as_a_whole_writes_a_line_not_a_thousand(caplog):
    run(BloqueSimbiotico("b", 1, entities(1000, function=broken)), 3)
    assert "[BloqueSimbiotico-b] m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 990 more failed: ZeroDivisionError" in caplog.text
    assert len([record for record in caplog.records if "failed" in record.message]) == 1


def test_fitness_is_in_0_to_1_and_falls_as_errors_rise():
    # Given blocks of ten with 0, 1, ... 10 failing entities
    fitness = []
    for failing in range(11):
        functions = [broken] * failing + [random.random] * (10 - failing)
        fitness.append(run(block_of(*functions, autoreparacion={"max_errores": 1}), 2)["fitness"])
    assert fitness[0] == 1.0 and fitness[-1] == 0.0
    assert all(before > after for before, after in zip(fitness, fitness[1:], strict=False))


def test_two_failures_in_a_row_restart_a_celu():
    # Given an entity whose processor remembers, and fails twice
    estados = []

    def remember(valor, estado):
        estado.setdefault("seen", []).append(valor)
        estados.append(list(estado["seen"]))
        return valor

    bloque = BloqueSimbiotico("b", 1, [crear_entidad("t", 1, switch(1.0, NAN, 2.0, NAN, NAN, 3.0), remember)],
                              autoreparacion={"max_errores": 1})
    run(bloque, 6)
    # Then one failure is forgiven, after two it begins again
    assert estados == [[1.0], [1.0, 2.0], [3.0]]


# --- processors and received values ------------------------------------------------------------

def test_none_filters_a_value_out_of_the_pass():
    # Given a processor that lets every other value through
    bloque = BloqueSimbiotico("b", 1, [crear_entidad("t", 1, switch(1.0, 50.0, 2.0), ProcesadorFiltro(high=10))])
    seen = []
    for _ in range(3):
        resultado = run(bloque)
        seen.append((resultado["mensajes"][0], resultado["agregado"]["count"], bloque.last_pass.slots.tolist()))
    # Then what it filters out is no reading: the entity stays healthy, nothing is emitted, the last value stands
    assert seen[1] == ({"id": "t", "valor": 1.0, "activo": True, "emitido": False}, 0, [])
    assert [valor["valor"] for valor, _, _ in seen] == [1.0, 1.0, 2.0] and [count for _, count, _ in seen] == [1, 0, 1]


@pytest.mark.parametrize("given", ["text", NAN, broken, [1]])
def test_processor_that_gives_nothing_of_use_is_a_failed_reading(given):
    def procesador(valor, estado):
        return given() if callable(given) else given

    bloque = BloqueSimbiotico("b", 1, [crear_entidad("t", 1, lambda: 1.0, procesador), crear_entidad("m", 1, lambda: 1.0)],
                              autoreparacion={"max_errores": 1})
    assert [m["activo"] for m in run(bloque)["mensajes"]] == [False, True]


def test_processor_does_not_see_a_failed_reading():
    seen = []
    bloque = BloqueSimbiotico("b", 1, [crear_entidad("t", 1, switch(NAN, 2.0), lambda valor, estado: seen.append(valor) or valor)])
    run(bloque, 2)
    assert seen == [2.0]


def test_processor_works_on_every_kind_of_function():
    async def later():
        await asyncio.sleep(0)
        return 2.0

    def double(valor, estado):
        return 2 * valor

    functions = (lambda: 1.0, later, vectorizada(lambda indices, carga: indices + 1.0))
    bloque = BloqueSimbiotico("b", 1, [crear_entidad(f"t{i}", 1, f, double) for i, f in enumerate(functions)])
    assert [m["valor"] for m in run(bloque)["mensajes"]] == [2.0, 4.0, 6.0]


def test_received_values_are_read_once():
    # Given sensors without a function
    bloque = BloqueSimbiotico("b", 1, [crear_entidad(f"t{i}", 1, procesador=lambda valor, estado: valor * 2) for i in range(3)])
    bloque.receive({"t0": 1.0, "t1": NAN})
    bloque.receive({"t0": 5})
    first, second = run(bloque), run(bloque)
    # Then each reads its latest value in the next pass; who got none is not heard
    assert [(m["valor"], m["activo"]) for m in first["mensajes"]] == [(10.0, True), (0.0, False), (0.0, True)]
    assert (first["agregado"]["count"], first["agregado"]["errors"], second["agregado"]["count"]) == (1, 1, 0)


@pytest.mark.parametrize(("values", "expected"), [({"x": 1.0}, "has no entity 'x'"), ({"m": 1.0}, "expected an entity without a function"),
                                                  ({"t": "1"}, "expected a number for 't', got '1'"), ({"t": None}, "expected a number")])
def test_values_for_nobody_are_refused_whole(values, expected):
    bloque = BloqueSimbiotico("b", 1, [crear_entidad("m", 1, random.random), crear_entidad("t", 1, procesador=lambda v, e: v)])
    with pytest.raises(UsageError, match=expected):
        bloque.receive({"t": 1.0, **values})
    run(bloque)
    assert bloque.last_pass.slots.tolist() == [0]


# --- repair ------------------------------------------------------------------------------------

def sick_block(healthy=18, failing=2, max_errores=0.05):
    """Entities e0, e1, ... with functions of their own that give their number; the last ones fail."""
    functions = [lambda i=i: float(i) for i in range(healthy)] + [broken] * failing
    return block_of(*functions, autoreparacion={"max_errores": max_errores})


def test_more_failing_than_max_errores_are_regenerated(caplog):
    caplog.set_level("INFO")
    # Given two failing entities of twenty, where one may fail
    bloque = sick_block()
    first, second, third = (run(bloque) for _ in range(3))
    # Then after their second failure they take over the function of their nearest healthy neighbour
    assert first["reparadas"] == {} and second["reparadas"] == {"e18": "e17", "e19": "e17"}
    assert [m["activo"] for m in second["mensajes"]][18:] == [False, False]
    assert [(m["valor"], m["activo"]) for m in third["mensajes"]][17:] == [(17.0, True)] * 3
    assert bloque.entidades[19].funcion is bloque.entidades[17].funcion
    assert third["fitness"] == 1.0
    assert "[BloqueSimbiotico-bloque] 2 of 20 entities regenerated" in caplog.text


def test_regenerated_celu_inherits_function_and_processor_but_no_state():
    # Given a healthy Celu and one whose function is broken
    def add(valor, estado):
        estado["n"] = estado.get("n", 0) + 1
        return valor + 10

    sound = crear_entidad("sound", 1, lambda: 1.0, procesador=add)
    sick = crear_entidad("sick", 1, broken, procesador=lambda valor, estado: valor)
    sick.estado["old"] = True
    bloque = BloqueSimbiotico("b", 1, [sound, sick])
    # When it is regenerated, Then it has both of the other's, and a state of its own that is empty
    run(bloque)
    assert run(bloque)["reparadas"] == {"sick": "sound"}
    assert (sick.funcion, sick.procesador, sick.estado) == (sound.funcion, add, {})
    assert [m["valor"] for m in run(bloque)["mensajes"]] == [11.0, 11.0] and (sound.estado, sick.estado) == ({"n": 3}, {"n": 1})


def test_as_many_failing_as_max_errores_are_not():
    bloque = sick_block(healthy=19, failing=1)
    assert [run(bloque)["reparadas"] for _ in range(5)] == [{}] * 5
    assert bloque.entidades[19].funcion is broken


def test_reparar_regenerates_however_few():
    bloque = sick_block(healthy=19, failing=1)
    run(bloque, 2)
    assert not bloque.entidades[19].activo
    assert bloque.reparar() == {"e19": "e18"}
    assert not bloque.entidades[19].activo and bloque.reparar() == {}
    # And it is active with its first good reading
    assert run(bloque)["mensajes"][19] == {"id": "e19", "valor": 18.0, "activo": True, "emitido": True}
    assert bloque.entidades[19].activo


def test_donor_is_the_fittest_then_the_nearest():
    # Given a failing entity between a neighbour that failed of late and sound ones further away
    bloque = block_of(lambda: 0.0, lambda: 1.0, switch(2.0, NAN, 2.0), broken, lambda: 4.0, autoreparacion={"max_errores": 1})
    run(bloque, 3)
    assert bloque.reparar() == {"e3": "e4"}
    # And of two as near, the one before
    assert bloque.entidades[2].funcion is not bloque.entidades[3].funcion
    bloque = block_of(lambda: 0.0, broken, lambda: 2.0, autoreparacion={"max_errores": 1})
    run(bloque, 2)
    assert bloque.reparar() == {"e1": "e0"}


def test_entity_that_just_failed_is_no_donor():
    bloque = block_of(switch(1.0, 1.0, NAN), broken, autoreparacion={"max_errores": 1})
    run(bloque, 3)
    assert bloque.reparar() == {"e1": None}


def test_regenerated_celu_starts_afresh_though_it_never_failed_twice_in_a_row():
    # Given an entity whose every other reading fails, and whose processor remembers
    flickers = switch(*[NAN, 1.0] * 3)
    bloque = BloqueSimbiotico("b", 1, [crear_entidad("c", 1, flickers, lambda valor, estado: estado.setdefault("first", valor))],
                              autoreparacion={"max_errores": 1})
    run(bloque, 6)
    assert bloque.entidades[0].estado == {"first": 1.0}
    # When it is regenerated, Then it remembers nothing
    assert bloque.reparar() == {"c": None} and bloque.entidades[0].estado == {}


def test_celu_inherits_function_and_processor_from_a_celu_and_starts_afresh():
    def good(valor, estado):
        estado["n"] = estado.get("n", 0) + 1
        return valor

    def bad(valor, estado):
        estado["n"] = -1
        raise ValueError

    bloque = BloqueSimbiotico("b", 1, [
        crear_entidad("c0", 1, lambda: 1.0, good), crear_entidad("m1", 1, lambda: 2.0), crear_entidad("c2", 1, lambda: 3.0, bad),
        crear_entidad("m3", 1, broken),
    ])  # fmt: skip
    assert run(bloque, 2)["reparadas"] == {"c2": "c0", "m3": "m1"}
    celu = bloque.entidades[2]
    assert (celu.procesador, celu.estado, celu.funcion) == (good, {}, bloque.entidades[0].funcion)
    run(bloque)
    assert celu.estado == {"n": 1}


def test_block_without_a_healthy_entity_starts_afresh_with_its_own_functions():
    bloque = block_of(broken, broken)
    assert run(bloque, 2)["reparadas"] == {"e0": None, "e1": None}
    assert [entidad.activo for entidad in bloque.entidades] == [False, False]
    assert [entidad.funcion for entidad in bloque.entidades] == [broken, broken]


def test_regeneration_that_did_not_help_waits_unless_it_is_ordered():
    # Given a block of one entity whose function never works: nobody to inherit from
    bloque = block_of(broken)
    # When it is passed many times within some seconds, Then it is regenerated once, and never shown as active
    passes = [run(bloque) for _ in range(30)]
    assert [number for number, each in enumerate(passes) if each["reparadas"]] == [1]
    assert not any(each["mensajes"][0]["activo"] for each in passes)
    # And an order does not wait
    assert bloque.reparar() == {"e0": None}


def test_sensor_without_a_function_inherits_from_its_like_only():
    keep = lambda valor, estado: valor  # noqa: E731
    bloque = BloqueSimbiotico("b", 1, [crear_entidad("f", 1, lambda: 1.0, keep), crear_entidad("s0", 1, procesador=keep),
                                       crear_entidad("s1", 1, procesador=keep)])
    for _ in range(2):
        bloque.receive({"s0": 1.0, "s1": NAN})
        resultado = run(bloque)
    assert resultado["reparadas"] == {"s1": "s0"} and bloque.entidades[2].funcion is None


def test_regenerated_entity_of_a_vectorised_function_joins_its_group():
    shared = vectorizada(lambda indices, carga: indices * 1.0)
    bloque = block_of(shared, broken, shared)
    run(bloque, 2)
    assert [m["valor"] for m in run(bloque)["mensajes"]] == [0.0, 1.0, 2.0]


# --- the seam for a node -----------------------------------------------------------------------

def test_last_pass_and_on_pass_carry_the_readings():
    handed, bloque = [], block_of(lambda: 1.5, broken, autoreparacion={"max_errores": 1})
    assert bloque.last_pass is None and bloque.passes == 0
    bloque.on_pass = handed.append
    before = time.time_ns() // 1_000_000
    run(bloque, carga=0.25)
    last = bloque.last_pass
    assert handed == [last] and bloque.passes == 1
    assert last.slots.dtype == np.uint32 and last.slots.tolist() == [0, 1]
    assert last.values.dtype == np.float32 and last.values[0] == 1.5
    assert last.states.dtype == bool and last.states.tolist() == [True, False]
    assert last.carga == 0.25 and last.repaired == {} and before <= last.time <= time.time_ns() // 1_000_000 + 1


def test_time_of_passes_does_not_jump_with_the_wall_clock(monkeypatch):
    bloque = block_of(random.random)
    run(bloque)
    first = bloque.last_pass.time
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    run(bloque)
    assert 0 <= bloque.last_pass.time - first < 5000


async def suspended(value):
    await asyncio.sleep(0)
    return value


async def awaited(value):
    return await plainly(value)


async def plainly(value):
    return value


def wrapped(kind, value):
    """A function of a kind that gives *value*."""
    async def later():
        return await kind(value)

    return later


KINDS = {
    "plain": lambda value: lambda: value, "mapping": lambda value: lambda: {"valor": value},
    "async": lambda value: functools.partial(plainly, value), "awaits": lambda value: wrapped(awaited, value),
    "suspends": lambda value: wrapped(suspended, value), "odd": lambda value: lambda: suspended(value),
    "vectorised": lambda value: EACH_ITS_OWN, "raises": lambda value: broken, "text": lambda value: lambda: str(value),
}  # fmt: skip
EACH_ITS_OWN = vectorizada(lambda indices, carga: indices + 0.5)


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_the_mix_each_entity_has_its_own_value(kinds):
    # Given a block of functions of any kinds in any order
    bloque = block_of(*(KINDS[kind](i + 0.5) for i, kind in enumerate(kinds)), autoreparacion={"max_errores": 1})
    # Then in every pass each entity has the value of its own function, or has failed
    for _ in range(2):
        mensajes = run(bloque)["mensajes"]
        assert [m["activo"] for m in mensajes] == [kind not in ("raises", "text") for kind in kinds]
        assert [m["valor"] for m in mensajes if m["activo"]] == [i + 0.5 for i, m in enumerate(mensajes) if m["activo"]]
        assert bloque.last_pass.states.tolist() == [m["activo"] for m in mensajes]


def test_a_thousand_of_the_documented_functions():
    bloque = BloqueSimbiotico("b", 5, [crear_entidad(f"m{i}", 5, f) for i, f in enumerate(documented_functions(1000))])
    resultado = asyncio.run(passes(bloque, 20, 0.5))
    valores = [r["valor"] for r in resultado["mensajes"] if r.get("activo")]
    assert len(valores) == 1000 and 0.9 < max(valores) < 1.0
    assert resultado["agregado"]["mean"] == pytest.approx(np.mean(valores), rel=1e-6)
