"""Buys and sells when the mean of a block crosses its own average, and keeps what it did in a database of its own.

The same code keeps its table in PostgreSQL, where config.json has a `db_config`, or in a file of the data folder.
"""
from corec.core import abrir_base, logging

TABLE = """CREATE TABLE IF NOT EXISTS operaciones (
  tiempo BIGINT NOT NULL, bloque BIGINT NOT NULL, tipo TEXT NOT NULL, precio DOUBLE PRECISION NOT NULL, PRIMARY KEY (tiempo, bloque))"""
ADD = "INSERT INTO operaciones (tiempo, bloque, tipo, precio) VALUES (?, ?, ?, ?) ON CONFLICT (tiempo, bloque) DO NOTHING"


class Trading:
    def __init__(self, nucleus, config):
        self.base = abrir_base(nucleus, config)
        self.memoria, self.margen = config.get("memoria", 0.05), config.get("margen", 0.01)
        self.medias, self.tiene = {}, {}
        self.pendientes = []  # what a database that is away has not taken yet
        self.logger = logging.getLogger("Trading")

    async def inicializar(self):
        await self.base.ejecutar(TABLE)
        last = await self.base.ejecutar("SELECT bloque, tipo FROM operaciones ORDER BY tiempo")
        self.tiene = {bloque: tipo == "compra" for bloque, tipo in last}
        self.logger.info("%d operations in %s", len(last), self.base.tipo)

    async def procesar(self, datos, carga):
        self.pendientes += [operation for row in datos["bloques"] if (operation := self.decide(row))]
        await self.base.ejecutar_varios(ADD, self.pendientes)
        done, self.pendientes = self.pendientes, []
        return {"operaciones": len(done)}

    def decide(self, row):
        """Below the average by the margin: buy; above it, what was bought is sold.  The window's time makes a repeat harmless."""
        bloque, precio, tiempo = int(row["block"]), float(row["mean"]), int(row["window"])
        if not row["count"]:
            return None
        media = self.medias.setdefault(bloque, precio)
        self.medias[bloque] = media + self.memoria * (precio - media)
        compra = precio < media * (1 - self.margen)
        if compra == self.tiene.get(bloque, False) or not (compra or precio > media * (1 + self.margen)):
            return None
        self.tiene[bloque] = compra
        return tiempo, bloque, "compra" if compra else "venta", precio


def inicializar(nucleus, config):
    nucleus.registrar_plugin("trading", Trading(nucleus, config))
