"""ModuloEjecucion: which blocks are stepped, and where."""
import threading
from typing import TYPE_CHECKING, Any

from corec.modules.base import ModuloBase
from corec.plugin_api.interface import Nucleus

if TYPE_CHECKING:
    from corec.config import Config


class ModuloEjecucion(ModuloBase):
    """Steps, once a second, the registered blocks that neither a plugin nor a program steps.

    With `celery_config` Celery workers fold the shards of plain sensors, and this module assigns the shards to them.
    """

    nombre = "ejecucion"

    async def inicializar(self, nucleus: Nucleus) -> None:
        """Begin to coordinate workers where the configuration has `celery_config`."""
        self._nucleus = nucleus
        self._coordination: Any = None
        if nucleus.config.celery_config:
            from corec.workers.coordination import Coordination  # Celery only where it is used

            self._coordination = Coordination(nucleus.config, nucleus.take_worker_turn)
            self._coordination.start()

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Step the blocks that nothing else has stepped for LEFT_ALONE_S."""
        registro = self._nucleus.modulos["registro"]
        for key in registro.left_alone():
            await registro.step(key, carga)

    async def detener(self) -> None:
        if self._coordination:
            threading.Thread(target=self._coordination.stop, name="coordination-stop").start()

    def order(self, shard: int, command: dict[str, Any]) -> dict[str, Any]:
        """Have the worker that has *shard* carry out a command; returns {"turn": number}."""
        return self._coordination.order(shard, command)

    def take_config(self, config: "Config") -> None:
        """Send *config* to the workers, if there are any."""
        if self._coordination:
            self._coordination.take_config(config)

    def estado(self) -> dict[str, Any] | None:
        """The workers and their shards, for the node's status; None without Celery."""
        return self._coordination.status() if self._coordination else None
