"""A pass over a block of a thousand entities, by what kind of functions they have.

The yardstick is `asyncio.gather` over a thousand of the documented functions: it calls them and does nothing else, while
a pass also judges, filters and aggregates what they give.  A run is IN_A_ROW passes, or gathers.  A single pass right
after a gather, which leaves nothing of it in the caches, takes twice as long; that ratio is noted without a budget.
"""
import asyncio
import random

import numpy as np
import pytest

from benchmarks.harness import clocked
from corec.blocks import BloqueSimbiotico
from corec.entities import ProcesadorFiltro, crear_entidad, vectorizada

GROUP = "functions"
ENTITIES, IN_A_ROW = 1000, 25
#: A pass over the documented functions is to be at least this many times as fast as gathering them.
BUDGET = 20


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def documented_functions():
    """The functions of the documented plugin, section 7.2."""
    functions = []
    for _ in range(ENTITIES):
        async def funcion():
            return {"valor": random.random()}
        functions.append(funcion)
    return functions


async def suspends():
    await asyncio.sleep(0)
    return {"valor": random.random()}


def vectorised():
    dice = np.random.default_rng(1)
    return [vectorizada(lambda indices, carga: dice.random(len(indices)))] * ENTITIES


def native():
    numba = pytest.importorskip("numba")
    return [numba.cfunc("float64(float64)")(lambda t: t % 1.0)] * ENTITIES


def block_of(functions, procesador=None):
    return BloqueSimbiotico("bench", 5, [crear_entidad(f"m{i}", 5, f, procesador) for i, f in enumerate(functions)])


async def gathers(functions, times):
    for _ in range(times):
        await asyncio.gather(*[funcion() for funcion in functions])


async def passes(bloque, times):
    for _ in range(times):
        await bloque.procesar(0.5)


def race(compete, loop, bloque, functions):
    """Seconds of a pass over *bloque* and of a gather over *functions*."""
    best = compete({"ours": lambda: loop.run_until_complete(passes(bloque, IN_A_ROW)),
                    "gather": lambda: loop.run_until_complete(gathers(functions, IN_A_ROW))})  # fmt: skip
    return best["ours"] / IN_A_ROW, best["gather"] / IN_A_ROW


def micros(seconds):
    """The time of a pass, and of one of its entities."""
    return f"{seconds * 1e6:,.0f} us a pass, {seconds / ENTITIES * 1e9:,.0f} ns each"


def test_documented_functions(compete, report, loop):
    closures = documented_functions()
    bloque = block_of(closures)
    ours, gather = race(compete, loop, bloque, closures)
    report.at_least(GROUP, "1,000 of the documented async def", BUDGET, ours=(1 / ours, micros(ours)),
                    yardstick=(1 / gather, f"gather {gather * 1e6:,.0f} us"))
    cold = min(after_a_gather(loop, bloque, closures) for _ in range(100))
    report.note(GROUP, "the same, right after a gather", micros(cold), f"gather {gather * 1e6:,.0f} us", gather / cold)


def after_a_gather(loop, bloque, closures):
    loop.run_until_complete(gathers(closures, 1))
    return clocked(lambda: loop.run_until_complete(passes(bloque, 1)))


@pytest.mark.parametrize(
    ("kind", "make", "procesador", "budget"),
    [
        ("def", lambda: [random.random] * ENTITIES, None, BUDGET),
        ("def and a processor", lambda: [random.random] * ENTITIES, ProcesadorFiltro(low=-1, high=2), 4),
        ("vectorised", vectorised, None, 3 * BUDGET),
        ("C", native, None, 3 * BUDGET),
    ],
)
def test_other_functions(compete, report, loop, kind, make, procesador, budget):
    ours, gather = race(compete, loop, block_of(make(), procesador), documented_functions())
    report.at_least(GROUP, f"1,000 {kind}", budget, ours=(1 / ours, micros(ours)), yardstick=(1 / gather, f"gather {gather * 1e6:,.0f} us"))


def test_functions_that_suspend(compete, report, loop):
    ours, gather = race(compete, loop, block_of([suspends] * ENTITIES), [suspends] * ENTITIES)
    report.at_most(GROUP, "1,000 async def that suspend", 2, ours=(ours, micros(ours)),
                   yardstick=(gather, f"gather {gather * 1e6:,.0f} us"))
