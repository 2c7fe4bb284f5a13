from corec.core import logging, asyncio, enviar_mensaje_redis, serializar_mensaje, deserializar_mensaje, random
from corec.blocks import BloqueSimbiotico
from corec.entities import crear_entidad
from typing import Dict, Any

class AlertsPlugin:
    def __init__(self, nucleus, config):
        self.nucleus = nucleus
        self.logger = logging.getLogger("AlertsPlugin")
        self.bloque_id = config.get("bloque", "alerts_notificaciones")
        self.canal = config.get("canal", 5)  # Canal 5 para alertas
        self.umbral_alerta = config.get("umbral_alerta", 0.9)

    async def inicializar(self):
        """Inicializa el plugin y registra su bloque."""
        entidades = []
        for i in range(1000):  # Bloque estándar de 1 MB
            async def funcion():
                return {"valor": random.random()}
            entidades.append(crear_entidad(f"m{i}", self.canal, funcion))
        bloque = BloqueSimbiotico(self.bloque_id, self.canal, entidades, max_size=1024, nucleus=self.nucleus)
        modulo_registro = self.nucleus.modulos.get("registro")
        if modulo_registro:
            modulo_registro.bloques[self.bloque_id] = bloque
            self.logger.info(f"Bloque alertas {self.bloque_id} registrado con 1000 entidades")

    async def procesar(self, datos: Dict[str, Any], carga: float):
        """Procesa valores y envía alertas si superan el umbral."""
        bloque = self.nucleus.modulos.get("registro").bloques.get(self.bloque_id)
        resultados = await bloque.procesar(carga)
        valores = [r["valor"] for r in resultados["mensajes"] if r.get("activo")]
        max_valor = max(valores) if valores else 0.0
        if max_valor > self.umbral_alerta:
            mensaje = await serializar_mensaje(0, self.canal, max_valor, True)
            await enviar_mensaje_redis(self.nucleus.redis_client, "alertas", mensaje, prioridad="critical")
            self.logger.info(f"Alerta enviada: valor {max_valor} supera umbral {self.umbral_alerta}")
        return {"alertas": valores}

def inicializar(nucleus, config):
    """Punto de entrada del plugin."""
    plugin = AlertsPlugin(nucleus, config)
    nucleus.registrar_plugin("alerts", plugin)
