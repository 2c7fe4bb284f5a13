"""Blocks for tests, and the plugin of the original documentation as it is printed there."""
import asyncio

from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad
from tests.support.paths import DOCUMENTED


def block_of(*functions, canal=1, **options):
    """A block with an entity e0, e1, ... for each function."""
    return BloqueSimbiotico("bloque", canal, [crear_entidad(f"e{i}", canal, f) for i, f in enumerate(functions)], **options)


def run(bloque, times=1, carga=0.0):
    """Passes over a block; the result of the last."""
    return asyncio.run(passes(bloque, times, carga))


async def passes(bloque, times=1, carga=0.0):
    for _ in range(times):
        resultado = await bloque.procesar(carga)
    return resultado


def documented_functions(count):
    """The functions of the documented plugin."""
    import random

    functions = []
    for _ in range(count):
        async def funcion():
            return {"valor": random.random()}
        functions.append(funcion)
    return functions


def broken():
    raise ZeroDivisionError("no sensor")


def switch(*values):
    """A function that gives one value after the other, then the last for ever; raises where the value is an error."""
    left = list(values)

    def give():
        value = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(value, BaseException):
            raise value
        return value

    return give


def documented_plugin():
    """The text of the documented plugins/alerts/main.py."""
    return (DOCUMENTED / "alerts" / "main.py").read_text()
