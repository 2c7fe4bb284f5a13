"""ModuloEjecucion: which blocks are stepped, and where."""
import threading
from typing import TYPE_CHECKING, Any

from corec.modules.base import ModuloBase
from corec.plugin_api.interface import Nucleus

if TYPE_CHECKING:
    from corec.config import Config


class ModuloEjecucion(ModuloBase):
    """Has the blocks stepped that nobody else stepped: in this node, once a second.

    With `celery_config` the shards of plain sensors are folded by Celery workers, and this module shares them out.
    """

    nombre = "ejecucion"

    async def inicializar(self, nucleus: Nucleus) -> None:
        """Remember the node; coordinate workers where the configuration has any."""
        self._nucleus = nucleus
        self._coordination: Any = None
        if nucleus.config.celery_config:
            from corec.workers.coordination import Coordination  # Celery only where it is used

            self._coordination = Coordination(nucleus.config, nucleus.take_worker_turn)
            self._coordination.start()

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Step what was left alone since the last time."""
        registro = self._nucleus.modulos["registro"]
        for key in registro.left_alone():
            await registro.step(key, carga)

    async def detener(self) -> None:
        """Let another node coordinate."""
        if self._coordination:
            threading.Thread(target=self._coordination.stop, name="coordination-stop").start()

    def order(self, shard: int, command: dict[str, Any]) -> dict[str, Any]:
        """Have a command carried out by the worker that has *shard*; returns its turn."""
        return self._coordination.order(shard, command)

    def take_config(self, config: "Config") -> None:
        """Have the workers take over *config*, if there are any."""
        if self._coordination:
            self._coordination.take_config(config)

    def estado(self) -> dict[str, Any] | None:
        """The workers and what they have, as plain numbers; None without Celery."""
        return self._coordination.status() if self._coordination else None
