"""Where registered blocks live: wire ids by (block, entity name), given once and kept for ever."""
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from corec.config import BlockEntry, Config
from corec.config.ram_price import admit
from corec.config.registered import entry_for, names_of, with_entries
from corec.errors import PluginError

#: Names that an error quotes.
QUOTED = 3


class BlockIds:
    """The wire ids of a node's registered blocks; who holds a block is known by the name of its plugin's folder."""

    def __init__(self, config: Callable[[], Config], command: Callable[[dict[str, Any]], Any]) -> None:
        """config: gives the configuration that the engine runs under.  command: has a command applied and committed."""
        self._config, self._command = config, command
        self._holders: dict[str, str] = {}

    def claim(self, block: str, canal: int, names: Sequence[str], holder: str = "") -> np.ndarray:
        """uint32: the wire id of each entity of *names*, old ones where the block was registered before."""
        if block in self._holders:
            raise PluginError(f"there is a block {block!r} already: the first one stays", hint="give each block an id of its own")
        running = self._config()
        found = self._found(block)
        if found:
            slots = self._known(found, canal, names)
            if found.retirado:
                self._attach(found.to_mapping() | {"retirado": False})
        else:
            slots = np.arange(len(names))
            self._attach(entry_for(running, block, canal, names))
        self._holders[block] = holder
        first = next(entry.first_id for entry in self._config().bloques if entry.id == block)
        return (first + slots).astype(np.uint32)

    def names(self, block: str) -> Sequence[str]:
        """The names of a registered block's entities; none when it never was registered."""
        found = self._found(block)
        return (names_of(found) or ()) if found else ()

    def _found(self, block: str) -> BlockEntry | None:
        return next((entry for entry in self._config().bloques if entry.registrado and entry.id == block), None)

    def release(self, block: str) -> None:
        """Detach: its memory is given back, its rows, ids and state are kept for when it comes again."""
        if self._holders.pop(block, None) is not None:
            self._command({"op": "detach", "block": block})

    def forget(self, holder: str) -> None:
        """A process of its own is gone with its blocks: they may be claimed again."""
        self._holders = {block: who for block, who in self._holders.items() if who != holder}

    def _attach(self, entry: dict[str, Any]) -> None:
        running = self._config()
        others = [other for other in running.to_mapping()["bloques"] if other["id"] != entry["id"]]
        admit(with_entries(running, [entry], among=others))
        self._command({"op": "attach", "entry": entry})

    def _known(self, found: BlockEntry, canal: int, names: Sequence[str]) -> np.ndarray:
        """The slots that these names had when the block was registered first."""
        if found.canal != canal:
            raise PluginError(f"block {found.id!r} was registered with canal {found.canal} before, got canal {canal}",
                              hint="give the changed block another id: ids are never reused")  # fmt: skip
        before = names_of(found)
        if before is None or list(before) == list(names):
            return np.arange(_as_many(found, names))
        slots = dict(zip(before, count()))
        new = [name for name in names if name not in slots]
        if new:
            raise PluginError(
                f"block {found.id!r} was registered with {found.entidades} entidades before, and none of the name {_quoted(new)}",
                hint="give the new entities a block of their own: ids are never reused")  # fmt: skip
        return np.array([slots[name] for name in names])


def _as_many(found: BlockEntry, names: Sequence[str]) -> int:
    if names_of(found) is None and len(names) != found.entidades:
        raise PluginError(f"block {found.id!r} was registered with {found.entidades} entidades before, got {len(names)}",
                          hint="give the changed block another id: ids are never reused")  # fmt: skip
    return len(names)


def _quoted(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:QUOTED])
    return f"{shown} and {len(names) - QUOTED} more" if len(names) > QUOTED else shown
