"""Rings once for each door that opens: reads what the node committed, writes to a stream of its own."""
from corec.core import enviar_mensaje_redis, logging, serializar_mensaje


class DoorBell:
    def __init__(self, nucleus, config):
        self.nucleus, self.stream = nucleus, config.get("stream", "rings")
        self.logger = logging.getLogger("DoorBell")

    async def procesar(self, datos, carga):
        for alert in datos["alertas"]:
            self.logger.info("door %d is open", alert["id"])
            message = await serializar_mensaje(int(alert["id"]), int(alert["canal"]), float(alert["valor"]), True)
            await enviar_mensaje_redis(self.nucleus.redis_client, self.stream, message, prioridad="critical")


def inicializar(nucleus, config):
    nucleus.registrar_plugin("door_bell", DoorBell(nucleus, config))
