"""Modules and plugins of a node, in an asyncio loop of their own thread: what they do holds no reading up."""
import asyncio
import importlib
import logging
import threading
import time
from concurrent.futures import TimeoutError as StopTimeout
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corec.errors import ConfigError
from corec.modules.base import ModuloBase
from corec.plugin_manager import PluginManager

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

log = logging.getLogger(__name__)

#: Modules of the design that this version does not have.
NOT_YET = frozenset(("ejecucion", "sincronizacion", "auditoria"))
EVERY_S = 1.0
#: A loop that does not answer for this long is held up by a plugin.
HELD_UP_S = 2.0


class Organism:
    """Loads modules by their names in the configuration, then plugins from their folder, and runs both."""

    def __init__(self, nucleus: "CoreCNucleus", plugins: Path | None) -> None:
        self._nucleus = nucleus
        self.modulos: dict[str, ModuloBase] = {}
        self.manager = PluginManager(nucleus, plugins)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="organism", daemon=True)
        self._main: asyncio.Task | None = None
        self._beat = time.monotonic()

    def start(self) -> None:
        """Load and begin everything; returns when the plugins are loaded."""
        for name in dict.fromkeys(("registro", *self._nucleus.config.modules)):
            self._load_module(name)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()

    def stop(self) -> None:
        """Stop plugins, then modules; a plugin that holds the loop up is left behind after a moment."""
        if not self._thread.is_alive():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=0.5)
        except StopTimeout:
            log.error("[CoreCNucleus-%s] a plugin holds its loop up and is left behind", self._nucleus.config.instance_id)
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def held_up_s(self) -> float:
        """For how long the loop has not answered, in seconds; 0 while it does."""
        late = time.monotonic() - self._beat - EVERY_S
        return late if late > HELD_UP_S else 0.0

    def _load_module(self, name: str) -> None:
        if name in NOT_YET:
            log.debug("[CoreCNucleus-%s] module %s is not part of this version", self._nucleus.config.instance_id, name)
            return
        found = [kind for kind in vars(_module_named(name)).values() if _is_module(kind)]
        if len(found) != 1:
            raise ConfigError(f"module {name!r}: expected one subclass of ModuloBase, got {len(found)}",
                              hint="see corec/modules/base.py for what a module is")  # fmt: skip
        self.modulos[name] = found[0]()

    async def _begin(self) -> None:
        for modulo in self.modulos.values():
            await modulo.inicializar(self._nucleus)
        await self.manager.load_all()
        await self.manager.start_all()
        self._main = asyncio.create_task(self._run())

    async def _run(self) -> None:
        since = 0
        while True:
            self._beat = time.monotonic()
            datos, since = self._nucleus.news(since)
            for name, modulo in self.modulos.items():
                await self._step(name, modulo, datos)
            await asyncio.sleep(EVERY_S)

    async def _step(self, name: str, modulo: ModuloBase, datos: dict[str, Any]) -> None:
        try:
            await modulo.ejecutar(datos, self._nucleus.load)
        except Exception:  # a module of somebody's own may raise anything; the others go on
            log.exception("[CoreCNucleus-%s] module %s failed", self._nucleus.config.instance_id, name)

    async def _end(self) -> None:
        await self.manager.stop_all()
        if self._main:
            self._main.cancel()
        for modulo in reversed(self.modulos.values()):
            await modulo.detener()


def _module_named(name: str) -> Any:
    """The Python module of a module: in `corec.modules`, or at an entry point of the group `corec.modules`."""
    for point in entry_points(group="corec.modules"):
        if point.name == name:
            return importlib.import_module(point.module)
    try:
        return importlib.import_module(f"corec.modules.{name}")
    except ModuleNotFoundError as error:
        if not f"corec.modules.{name}".startswith(str(error.name)):
            raise
        raise ConfigError(f"there is no module {name!r}",
                          hint="put one into corec/modules, or offer it at the entry point corec.modules") from None  # fmt: skip


def _is_module(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ModuloBase) and kind is not ModuloBase
