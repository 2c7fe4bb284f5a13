"""ModuloEjecucion: which blocks are stepped, and where."""
from typing import TYPE_CHECKING, Any

from corec.modules.base import ModuloBase

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus


class ModuloEjecucion(ModuloBase):
    """Has the blocks stepped that nobody else stepped: in this node, once a second (`modo` is "local")."""

    nombre = "ejecucion"

    async def inicializar(self, nucleus: "CoreCNucleus") -> None:
        """Remember the node."""
        self._nucleus = nucleus

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Step what was left alone since the last time."""
        registro = self._nucleus.modulos["registro"]
        for key in registro.left_alone():
            await registro.step(key, carga)
