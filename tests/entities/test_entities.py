"""corec.entities: what crear_entidad gives, what it costs, and what it refuses."""
import asyncio
import gc
import random
import tracemalloc

import numpy as np
import pytest

from corec.blocks import BloqueSimbiotico
from corec.entities import (
    CeluEntidadCoreC,
    MicroCeluEntidadCoreC,
    ProcesadorFiltro,
    ProcesadorSensor,
    crear_entidad,
)
from corec.errors import UsageError
from tests.support.entity_samples import block_of, broken, run, switch


def keep(valor, estado):
    return valor


def test_function_makes_a_micro_that_unpacks_as_the_documented_tuple():
    entidad = crear_entidad("m0", 5, random.random)
    id, canal, funcion, activo = entidad
    assert type(entidad) is MicroCeluEntidadCoreC
    assert (id, canal, funcion, activo) == ("m0", 5, random.random, True)


def test_processor_makes_a_celu_that_unpacks_as_the_documented_tuple():
    entidad = crear_entidad("t0", 1, procesador=keep)
    assert type(entidad) is CeluEntidadCoreC
    assert tuple(entidad) == ("t0", 1, keep, True)
    assert crear_entidad("t1", 1, random.random, keep)[2] is keep


@pytest.mark.parametrize("entidad", [crear_entidad("e", 1, random.random), crear_entidad("e", 1, procesador=keep)])
def test_entity_indexes_as_the_documented_tuple(entidad):
    assert (len(entidad), entidad[0], entidad[1], entidad[-1]) == (4, "e", 1, True)
    assert entidad[1:] == (1, entidad[2], True)
    assert "e" in entidad and list(reversed(entidad)) == [True, entidad[2], 1, "e"]
    with pytest.raises(IndexError):
        entidad[4]
    match entidad:
        case [id, *_]:
            assert id == "e"


def test_activo_is_the_live_state_in_the_block():
    # Given an entity whose second reading fails
    bloque = block_of(switch(1.0, float("nan"), 2.0))
    entidad, seen = bloque.entidades[0], [bloque.entidades[0].activo]
    # When passes go by
    for _ in range(3):
        run(bloque)
        seen.append(entidad[3])
    # Then the tuple says how it is now
    assert seen == [True, True, False, True]


def test_activo_outlives_the_block():
    bloque = block_of(broken)
    entidad = bloque.entidades[0]
    run(bloque)
    assert entidad.activo is False
    del bloque
    gc.collect()
    assert entidad.activo is True and entidad.bloque is None


def test_each_celu_has_a_state_of_its_own():
    seen = []

    def remember(valor, estado):
        estado["n"] = estado.get("n", 0) + 1
        seen.append((valor, estado["n"]))
        return valor

    entidades = [crear_entidad(f"t{i}", 1, lambda i=i: float(i), remember) for i in range(2)]
    bloque = BloqueSimbiotico("b", 1, entidades)
    run(bloque, 2)
    assert seen == [(0.0, 1), (1.0, 1), (0.0, 2), (1.0, 2)]
    assert [entidad.estado for entidad in entidades] == [{"n": 2}, {"n": 2}]


@pytest.mark.parametrize("id", ["", None, 7, b"m0", " m0", "m\n0"])
def test_wrong_id_is_refused(id):
    with pytest.raises(UsageError, match=r"expected the id of an entity as text that is not empty, got "):
        crear_entidad(id, 1, random.random)


@pytest.mark.parametrize("canal", [-1, 128, 255, "1", 1.0, None, True])
def test_wrong_channel_is_refused_by_name(canal):
    with pytest.raises(UsageError, match=rf"'m0'.*from 0 to 127, got {canal!r}"):
        crear_entidad("m0", canal, random.random)


@pytest.mark.parametrize("canal", [0, 127, np.int8(5)])
def test_every_channel_is_taken(canal):
    assert crear_entidad("m0", canal, random.random).canal == canal


@pytest.mark.parametrize("funcion", [3, "f", [1.0], object()])
def test_what_cannot_be_called_is_refused(funcion):
    with pytest.raises(UsageError, match="entity 'm0': expected a function, got"):
        crear_entidad("m0", 1, funcion)
    with pytest.raises(UsageError, match="entity 'm0': expected a processor, got"):
        crear_entidad("m0", 1, procesador=funcion)


def test_neither_function_nor_processor_is_refused_with_a_hint():
    with pytest.raises(UsageError, match="got neither\nHINT: crear_entidad"):
        crear_entidad("m0", 1)


def documented_entities(count):
    """As the documented plugin makes them: every closure is a function object of its own."""
    entidades = []
    for i in range(count):
        async def funcion():
            return {"valor": random.random()}
        entidades.append(crear_entidad(f"m{i}", 5, funcion))
    return entidades


def celu_entities(count):
    filtro = ProcesadorFiltro(low=-1, high=2, window=7, sigmas=3, process_noise=0.01, measurement_noise=1, max_rate=5, dead_band=1e-6)
    sensor = ProcesadorSensor(gain=2, offset=1, smoothing=0.5)

    def both(valor, estado):
        passed = filtro(valor, estado)
        return None if passed is None else sensor(passed, estado)

    entidades = []
    for i in range(count):
        async def funcion():
            return {"valor": random.random()}
        entidades.append(crear_entidad(f"t{i}", 5, funcion, both))
    return entidades


@pytest.mark.parametrize(("make", "most"), [(documented_entities, 1024), (celu_entities, 1536)])
def test_entity_costs_no_more_than_documented(make, most):
    # Given a block of a thousand entities with functions of their own, and passes that fill their states
    asyncio.run(_fill(BloqueSimbiotico("warm", 5, make(1000))))
    gc.collect()
    tracemalloc.start()
    bloque = BloqueSimbiotico("alerts", 5, make(1000))
    asyncio.run(_fill(bloque))
    gc.collect()
    # Then everything that was made for it, over its entities, stays below; its arena of 32 bytes each included
    cost = tracemalloc.get_traced_memory()[0] / 1000 + 32
    tracemalloc.stop()
    assert len(bloque.entidades) == 1000
    assert cost <= most, f"{cost:.0f} bytes an entity"


async def _fill(bloque):
    for _ in range(10):
        await bloque.procesar(0.5)
