"""Host: this machine's own sensors, each a named entity of a block that the plugin steps itself.

It reads what the source "host" reads, for nodes whose configuration names no source; a node needs one of the two.  A
block's entities are for ever, so sensors that appear later get a block of their own: host, host.2, host.3 ...
"""
import asyncio
from itertools import count

from corec.blocks import BloqueSimbiotico
from corec.core import logging
from corec.entities import ProcesadorSensor, crear_entidad
from corec.sources.host import HostSensors

#: Seconds between the first two readings: traffic is known from the second on.
FIRST_S = 0.1


class HostPlugin:
    """Reads the sensors once a pass and steps its blocks with what they say."""

    def __init__(self, nucleus, config):
        self.nucleus = nucleus
        self.bloque, self.canal = config.get("bloque", "host"), config.get("canal", 1)
        self.logger = logging.getLogger("HostPlugin")
        self.sensors = HostSensors("HostPlugin")
        self.blocks = {}  # name of a sensor -> its block

    async def inicializar(self):
        """Find the sensors and register them."""
        self.sensors.read()
        await asyncio.sleep(FIRST_S)
        self.place(value.name for value in self.sensors.read())

    async def procesar(self, datos, carga):
        """One reading of every sensor."""
        values = self.sensors.read()
        self.place(value.name for value in values)
        for bloque in set(self.blocks.values()):
            bloque.receive({value.name: value.valor for value in values if self.blocks[value.name] is bloque})
            await bloque.procesar(carga)
        return {"sensores": len(values)}

    def place(self, names):
        """Register the sensors that are in no block yet; each keeps the id that it had before a restart."""
        new = [name for name in names if name not in self.blocks]
        bloques = self.nucleus.modulos["registro"].bloques
        for number in count(1):
            id = self.bloque if number == 1 else f"{self.bloque}.{number}"
            if new and id not in bloques:
                known = self.nucleus.modulos["registro"].nombres(id) or new
                self.register(id, known)
                new = [name for name in new if name not in known]
            if not new:
                return

    def register(self, id, names):
        """One block of these sensors."""
        entidades = [crear_entidad(name, self.canal, procesador=ProcesadorSensor()) for name in names]
        bloque = BloqueSimbiotico(id, self.canal, entidades, nucleus=self.nucleus)
        self.nucleus.modulos["registro"].bloques[id] = bloque
        self.blocks |= dict.fromkeys(names, bloque)
        self.logger.info(f"{len(names)} sensores en {id}")


def inicializar(nucleus, config):
    nucleus.registrar_plugin("host", HostPlugin(nucleus, config))
