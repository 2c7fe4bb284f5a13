"""ModuloSincronizacion: proposes to fuse weak blocks into strong ones, by the fitness of their windows and the load."""
import logging
import time
from typing import Any

from corec.errors import UsageError
from corec.modules.base import ModuloBase
from corec.pipeline.fusion_rule import FusionRule, log_fusion
from corec.plugin_api.interface import Nucleus

log = logging.getLogger("ModuloSincronizacion")


class ModuloSincronizacion(ModuloBase):
    """Proposes the fusions that the rule finds due; the engine decides on each."""

    nombre = "sincronizacion"

    async def inicializar(self, nucleus: Nucleus) -> None:
        """Begin with the fusions that stand already."""
        self._nucleus = nucleus
        self._rule = FusionRule(nucleus.config.sincronizacion, lambda: nucleus.engine, fused=self._fused())

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Judge the windows that closed, and propose the fusions that are due."""
        self._rule.see_fused(self._fused())
        self._rule.judge(datos["bloques"])
        self._rule.propose(carga, time.monotonic(), self._ask)

    def _fused(self) -> list[str]:
        engine = self._nucleus.engine
        return [engine.block_ids[fusion.block] for fusion in engine.fusions]

    def _ask(self, block: str, host: str, why: str) -> bool:
        try:
            done = self._nucleus.fuse(block, host, why)
        except UsageError as error:
            log.debug("[ModuloSincronizacion] %s", error.text)
            return False
        done.add_done_callback(lambda done: log_fusion(done, block, host, why))
        return True
