"""A pass over a block of a thousand entities, by what kind of functions they have.

The yardstick is `asyncio.gather` over a thousand of the seed's functions, which calls them and does nothing else;
a pass also judges, filters and aggregates what they give.  Both are timed in turns in the same run, some calls of
one and then some of the other, and the best of each counts.  In the table, "cold" is a single pass right after a gather,
as in a node that steps its blocks once a second: there caches, not instructions, set the time.
"""
import asyncio
import random
import time

import numpy as np
import pytest

from corec.blocks import BloqueSimbiotico
from corec.entities import ProcesadorFiltro, crear_entidad, vectorizada

ENTITIES, ROUNDS, IN_A_ROW = 1000, 60, 5
#: A pass over the seed's functions is to be at least this many times as fast as gathering them.
GATE = 20.0


def seed_functions():
    """The functions of the seed's plugin, section 7.2."""
    functions = []
    for _ in range(ENTITIES):
        async def funcion():
            return {"valor": random.random()}
        functions.append(funcion)
    return functions


def suspending_functions():
    """Functions that do give way to others."""
    async def funcion():
        await asyncio.sleep(0)
        return {"valor": random.random()}

    return [funcion] * ENTITIES


def vectorised_functions():
    dice = np.random.default_rng(1)
    return [vectorizada(lambda indices, carga: dice.random(len(indices)))] * ENTITIES


def native_functions():
    numba = pytest.importorskip("numba")
    return [numba.cfunc("float64(float64)")(lambda t: t % 1.0)] * ENTITIES


KINDS = {
    "the seed's async def": (seed_functions, None, GATE),
    "def": (lambda: [random.random] * ENTITIES, None, GATE),
    "def and a processor": (lambda: [random.random] * ENTITIES, ProcesadorFiltro(low=-1, high=2), 4.0),
    "vectorised": (vectorised_functions, None, 3 * GATE),
    "C": (native_functions, None, 3 * GATE),
    "async def that suspends": (suspending_functions, None, 0.4),
}


async def gather(functions):
    return await asyncio.gather(*[funcion() for funcion in functions])


async def best_of(calls):
    """Seconds of the best call of each; all take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for _ in range(IN_A_ROW):
                best[name] = min(best[name], await seconds(call))
    return best


async def best_after(call, before):
    """Seconds of the best single call, each right after one of *before*."""
    best = float("inf")
    for _ in range(ROUNDS):
        await before()
        best = min(best, await seconds(call))
    return best


async def seconds(call):
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


@pytest.mark.parametrize("kind", KINDS)
def test_pass_over_a_thousand_functions(kind, capsys):
    make, procesador, gate = KINDS[kind]
    bloque = BloqueSimbiotico("bench", 5, [crear_entidad(f"m{i}", 5, f, procesador) for i, f in enumerate(make())])
    closures = seed_functions()

    async def story():
        best = await best_of({"gather": lambda: gather(closures), "pass": lambda: bloque.procesar(0.5)})
        return best, await best_after(lambda: bloque.procesar(0.5), lambda: gather(closures))

    best, cold = asyncio.run(story())
    ratio = best["gather"] / best["pass"]
    with capsys.disabled():
        print(f"\n{kind:<24} pass {best['pass'] * 1e6:7.0f} us   gather {best['gather'] * 1e6:7.0f} us   "
              f"{ratio:6.1f} x, at least {gate:g}   cold {best['gather'] / cold:5.1f} x", end="")
    assert ratio >= gate
