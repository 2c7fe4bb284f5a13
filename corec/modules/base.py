"""ModuloBase: the hooks of a module, all empty."""
from typing import Any

from corec.plugin_api.interface import Nucleus


class ModuloBase:
    """A module; override what you need.  Hooks are awaited in the loop of modules and plugins, never two at once.

    A file in `corec/modules` with one subclass, named in `modules` of the configuration, is loaded by its name.
    """

    #: The name in the configuration, without accents.
    nombre = ""

    async def inicializar(self, nucleus: Nucleus) -> None:
        """Called once when the node runs and before plugins are loaded."""

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Called once a second with what was committed since the last call (see `Nucleus.news`) and the load in [0, 1]."""

    async def detener(self) -> None:
        """Called once before the node stops."""
