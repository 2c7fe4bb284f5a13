"""ModuloBase: what an organ of the nucleus may do, as empty hooks."""
from typing import Any

from corec.plugin_api.interface import Nucleus


class ModuloBase:
    """A module; override what you need.  Hooks are awaited in the nucleus's own loop, never two at once.

    A file in `corec/modules` with one subclass, named in `modules` of the configuration, is loaded by its name.
    """

    #: The name in the configuration, without accents.
    nombre = ""

    async def inicializar(self, nucleus: Nucleus) -> None:
        """The node runs; plugins are not loaded yet."""

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Once a second: what was committed since the last time, and the load in [0, 1]."""

    async def detener(self) -> None:
        """The node is about to stop."""
