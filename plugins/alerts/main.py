"""Sends the alerts of the node, anomalies of blocks included, to the stream `alertas`.

With `puntaje_alto` in the configuration it also sends blocks whose score rises above that, for nodes without the module
`auditoria`.  It sends a block once a burst: the next one begins only after the score fell below `puntaje_bajo` (half of
`puntaje_alto` by default).  At most `por_minuto` messages are sent in a minute; the others are counted and logged.
"""
from collections import deque

from corec.core import enviar_mensaje_redis, logging, serializar_mensaje

STREAM = "alertas"
#: Kind of alerts about a block; their `valor` is its anomaly score.
ANOMALY = 5


class AlertsPlugin:
    """Sends alerts; see the module for when."""

    def __init__(self, nucleus, config):
        self.nucleus, self.canal = nucleus, config.get("canal", 5)
        self.high = config.get("puntaje_alto")
        self.low = config.get("puntaje_bajo", self.high and self.high / 2)
        self.per_minute = config.get("por_minuto", 60)
        self.logger = logging.getLogger("AlertsPlugin")
        self.loud: set[int] = set()  # blocks in a burst
        self.sent_at: deque[int] = deque()  # ms
        self.held_back = 0

    async def procesar(self, datos, carga):
        """Send new alerts of entities, then blocks whose score rose."""
        now, before = datos["ahora"], self.held_back
        for alert in datos["alertas"]:
            await self._send(now, int(alert["id"]), float(alert["valor"]), self._text(alert))
        if self.high is not None:
            for row in self._risen(datos["bloques"]):
                await self._send(now, int(row["block"]), float(row["score"]), self._loud(row["block"], row["score"]))
        if self.held_back > before:
            self.logger.warning(f"{self.held_back - before} alertas retenidas: más de {self.per_minute} por minuto")
        return {"enviadas": len(self.sent_at), "retenidas": self.held_back}

    def _text(self, alert):
        if alert["kind"] == ANOMALY:
            return self._loud(alert["block"], alert["valor"])
        name, unit = self.nucleus.entity_name(int(alert["id"]))
        return f"{name}: valor {alert['valor']:g} {unit}".rstrip()

    def _loud(self, block, score):
        return f"bloque {self.nucleus.engine.block_ids[int(block)]}: puntaje {score:.1f}"

    def _risen(self, rows):
        """Rows of blocks whose score rose above the upper bound; a block is quiet again below the lower one."""
        for row in rows:
            block = int(row["block"])
            if row["score"] < self.low:
                self.loud.discard(block)
            elif row["score"] > self.high and block not in self.loud:
                self.loud.add(block)
                yield row

    async def _send(self, now, id, valor, text):
        while self.sent_at and self.sent_at[0] <= now - 60_000:
            self.sent_at.popleft()
        if len(self.sent_at) >= self.per_minute:
            self.held_back += 1
            return
        self.sent_at.append(now)
        message = await serializar_mensaje(id, self.canal, valor, True)
        await enviar_mensaje_redis(self.nucleus.redis_client, STREAM, message, prioridad="critical")
        self.logger.info(f"Alerta enviada: {text}")


def inicializar(nucleus, config):
    nucleus.registrar_plugin("alerts", AlertsPlugin(nucleus, config))
