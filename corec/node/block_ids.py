"""The wire ids of registered blocks, by (block, entity name).  An id is given once and never reused."""
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from msgspec.structs import replace

from corec.config import BlockEntry
from corec.config.registered import RunningConfig, names_of
from corec.engine.commands import Attach
from corec.errors import PluginError

#: Names that an error quotes.
QUOTED = 3


class BlockIds:
    """Gives wire ids to registered blocks.  The holder of a block is the name of its plugin's folder, empty for this process."""

    def __init__(self, running: Callable[[], RunningConfig], command: Callable[[dict[str, Any]], Any]) -> None:
        """running: returns the configuration that the engine runs under.  command: applies a command and waits for its commit."""
        self._running, self._command = running, command
        self._holders: dict[str, str] = {}
        self._one_at_a_time = threading.Lock()

    def claim(self, block: str, canal: int, names: Sequence[str], holder: str = "") -> np.ndarray:
        """uint32[len(names)]: the wire id of each entity.  A block that was registered before gets its old ids.

        PluginError where the block has a holder already, or does not fit what it was before.
        """
        with self._one_at_a_time:   # ids are given in turn
            if block in self._holders:
                raise PluginError(f"there is a block {block!r} already: the first one stays", hint="give each block an id of its own")
            entry = self._found(block)
            slots = self._known(entry, canal, names) if entry else np.arange(len(names))
            if entry is None or entry.retirado:
                entry = self._attach(entry, block, canal, names)
            self._holders[block] = holder
            return (entry.first_id + slots).astype(np.uint32)

    def names(self, block: str) -> Sequence[str]:
        """The names of a registered block's entities; empty where it was never registered."""
        found = self._found(block)
        return (names_of(found) or ()) if found else ()

    def _found(self, block: str) -> BlockEntry | None:
        return self._running().find(block)

    def release(self, block: str) -> None:
        """Detach the block: its memory is freed; its rows, ids and state are kept for its next registration."""
        with self._one_at_a_time:
            holder = self._holders.pop(block, None)
        if holder is not None:
            self._command({"op": "detach", "block": block})

    def forget(self, holder: str) -> None:
        """Let the blocks of *holder* be claimed again: its process has ended."""
        with self._one_at_a_time:
            self._holders = {block: who for block, who in self._holders.items() if who != holder}

    def _attach(self, detached: BlockEntry | None, block: str, canal: int, names: Sequence[str]) -> BlockEntry:
        """Attach a new or a detached block; returns its entry."""
        running = self._running()
        mapping = detached.to_mapping() | {"retirado": False} if detached else running.entry_for(block, canal, names)
        entry = replace(detached, retirado=False) if detached else running.resolve(mapping)
        running.admit(entry)
        self._command(Attach(mapping, entry))
        return entry

    def _known(self, found: BlockEntry, canal: int, names: Sequence[str]) -> np.ndarray:
        """int[len(names)]: the slot that each name had at the first registration; PluginError where one is new."""
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
