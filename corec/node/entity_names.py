"""Names of entities: of the configuration's tables, of sources, and of registered blocks."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from corec.config import Config
from corec.config.registered import name_at
from corec.engine import Engine
from corec.node.source_runner import SourceRunner
from corec.pipeline.provisional import place_name
from corec.sources.names import NameTable


class EntityNames:
    """Names by wire id; `read` fills the tables once the data folder is open."""

    def __init__(self, runners: Sequence[SourceRunner]) -> None:
        """runners: may be filled later; each source names its own entities."""
        self._table: Mapping[int, tuple[str, str]] = {}
        self._runners = runners

    def read(self, data: Path, config: Config) -> None:
        """Read the names that the data folder and the device tables of the configuration hold."""
        self._table = NameTable(data, config).names()

    def of(self, engine: Engine, id: int) -> tuple[str, str]:
        """(name, unit) of an entity; its block and place where it has no name.  KeyError where there is none."""
        for names in (self._table, *(runner.source.names for runner in self._runners)):
            if id in names:
                return names[id]
        segment, _ = engine.locate(id)
        entry = engine.config.bloques[int(engine.arena.segments["policy"][segment])]
        own = name_at(entry, id - entry.first_id) if entry.registrado else ""
        return own or place_name(engine, id), ""
