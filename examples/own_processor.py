"""A processor of one's own: a water meter sends its counter, the entity's value is the flow.

A processor is procesador(valor, estado): estado is a dict of the entity's own, None filters the value out.
"""
import asyncio

from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad

LITRES_A_PULSE, SECONDS, WRAPS_AT = 0.5, 10, 65_536


def flow(valor, estado):
    """Litres a minute from a 16-bit counter of pulses; nothing to tell at the first reading."""
    before, estado["count"] = estado.get("count"), valor
    if before is None:
        return None
    pulses = (valor - before) % WRAPS_AT  # a counter that wrapped is smaller than before
    return pulses * LITRES_A_PULSE * 60 / SECONDS


async def main():
    meters = BloqueSimbiotico("meters", 1, [crear_entidad(name, 1, procesador=flow) for name in ("kitchen", "garden")])
    for kitchen, garden in [(65_500, 10), (65_520, 10), (4, 10), (24, 130)]:
        meters.receive({"kitchen": kitchen, "garden": garden})
        result = await meters.procesar(0.0)
        print(result["agregado"]["count"], "values:", {m["id"]: m["valor"] for m in result["mensajes"]})


asyncio.run(main())

# It prints:
#
#     0 values: {'kitchen': 0.0, 'garden': 0.0}
#     2 values: {'kitchen': 60.0, 'garden': 0.0}
#     2 values: {'kitchen': 60.0, 'garden': 0.0}
#     2 values: {'kitchen': 60.0, 'garden': 360.0}
