"""ModuloAuditoria: logs the anomalies of blocks; the engine computes their scores."""
import logging
from typing import Any

from corec._core.dtypes import ALERT_ANOMALY
from corec.modules.base import ModuloBase
from corec.plugin_api.interface import Nucleus

log = logging.getLogger("ModuloAuditoria")


class ModuloAuditoria(ModuloBase):
    """Naming it in `modules` has the engine score every window.  The module itself logs each anomaly."""

    nombre = "auditoria"

    async def inicializar(self, nucleus: Nucleus) -> None:
        self._nucleus = nucleus

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Log a line for each anomaly since the last call."""
        names = self._nucleus.engine.block_ids
        for alert in datos["alertas"]:
            if alert["kind"] == ALERT_ANOMALY:
                log.info("[ModuloAuditoria] anomaly in %s: score %.1f, above %.1f", names[alert["block"]], alert["valor"], alert["limit"])
