"""Estimates the RAM of a plugin in the node's process, without tracing: the objects that it owns and refers to.

The walk begins at the plugin and its module and follows references.  It does not enter other modules, their functions
and classes, or objects of CoreC (the node, blocks, entities), asyncio, threading and logging.  An object that two plugins
share counts for both.  Memory of C libraries that `sys.getsizeof` does not know is missing.
"""
import gc
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

#: Objects looked at before the walk gives up, and those between two pauses (0.2 ms of work).
MOST_OBJECTS, AT_ONCE = 300_000, 300
FOREIGN = frozenset(("corec", "asyncio", "_asyncio", "threading", "_thread", "logging", "concurrent"))
NAMED = (FunctionType, BuiltinFunctionType, type)
NEVER = (ModuleType, FrameType)


def walk(plugin: Any, module: ModuleType | None) -> Iterator[int]:
    """Yields the bytes found so far, after every AT_ONCE objects and at the end."""
    own = module.__name__ if module else type(plugin).__module__
    seen: set[int] = set()
    queue = [plugin, *(vars(module).values() if module else ())]
    size = looked = 0
    while queue and looked < MOST_OBJECTS:
        thing = queue.pop()
        if id(thing) in seen or not _is_own(thing, own):
            continue
        seen.add(id(thing))
        size += sys.getsizeof(thing, 0)
        looked += 1
        queue.extend(gc.get_referents(thing))
        if looked % AT_ONCE == 0:
            yield size
    yield size


def _is_own(thing: Any, own: str) -> bool:
    if thing is None or isinstance(thing, NEVER) or thing is sys.modules:
        return False
    if isinstance(thing, NAMED):
        return getattr(thing, "__module__", None) == own
    if isinstance(thing, dict) and "__builtins__" in thing:
        return thing.get("__name__") == own
    if isinstance(thing, CodeType):
        return True
    return type(thing).__module__.partition(".")[0] not in FOREIGN
