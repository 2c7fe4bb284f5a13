"""A vectorised function: one call gives the values of all entities that share it, here a bus of 1,000 thermometers.

It may be `async` as well: a whole bus is then read in one await.
"""
import asyncio

import numpy as np

from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad, vectorizada

registers = np.random.default_rng(1).integers(180, 260, 1000).astype(np.int16)  # tenths of a degree


@vectorizada
async def bus(indices, carga):
    """indices: int64[n], the places of its entities in the block; gives float[n], NaN for a sensor that failed."""
    await asyncio.sleep(0)  # the bus answers
    celsius = registers[indices] / 10
    return np.where(registers[indices] == -32768, np.nan, celsius)


async def main():
    bloque = BloqueSimbiotico("bus", 1, [crear_entidad(f"t{i}", 1, bus) for i in range(1000)])
    for cut_off in (0, 20, 120):  # some answer with the smallest number: they are not there
        registers[:cut_off] = -32768
        result = await bloque.procesar(carga=0.2)
        row = result["agregado"]
        print(f"{row['count']} read, {row['errors']} failed, mean {row['mean']:.2f} C, fitness {result['fitness']:.2f}")
    print(result["mensajes"][500])


asyncio.run(main())

# It prints:
#
#     1000 read, 0 failed, mean 21.97 C, fitness 1.00
#     980 read, 20 failed, mean 21.97 C, fitness 0.98
#     880 read, 120 failed, mean 21.96 C, fitness 0.86
#     {'id': 't500', 'valor': 18.5, 'activo': True, 'emitido': False}
