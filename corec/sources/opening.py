"""Open the sources of a configuration."""

from pathlib import Path

from corec.config import Config
from corec.config.types import FuenteHost
from corec.sources.base import Source
from corec.sources.host import HostSource
from corec.sources.names import NameTable
from corec.sources.simulated import SimulatedSource


def open_sources(config: Config, data: Path | None) -> list[Source]:
    """One source for each of `fuentes`. Names are kept in the folder *data*; None keeps them in memory."""
    names = NameTable(data, config)
    return [
        HostSource(fuente, config, names) if isinstance(fuente, FuenteHost) else SimulatedSource(fuente, config)
        for fuente in config.fuentes
    ]
