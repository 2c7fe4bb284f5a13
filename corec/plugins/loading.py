"""Loads the code of a plugin's folder and finds its entry point."""
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from corec.errors import PluginError
from corec.plugin_api.failures import PREFIX


def imported(main: Path, name: str) -> ModuleType:
    """Import *main* as module PREFIX + *name*, so that two plugins with a main.py do not collide."""
    unique = PREFIX + name
    spec = importlib.util.spec_from_file_location(unique, main)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def entry_point(module: ModuleType, main: Path) -> Callable[[Any, dict[str, Any]], Any]:
    """The function `inicializar(nucleus, config)` of *module*; PluginError where it is missing or takes other arguments."""
    begin = getattr(module, "inicializar", None)
    if not callable(begin):
        raise PluginError(f"{main}: expected a function inicializar(nucleus, config), found none",
                          hint="define it at module level, not only in the class")  # fmt: skip
    try:
        inspect.signature(begin).bind(None, {})
    except TypeError:
        raise PluginError(f"{main}: expected inicializar(nucleus, config), got inicializar{inspect.signature(begin)}",
                          hint="it is called with both, the node and the mapping of its configuration") from None  # fmt: skip
    return begin


def check_plugin(name: Any, plugin: Any) -> None:
    """PluginError unless *plugin* can be registered as *name*."""
    if not isinstance(name, str) or not name:
        raise PluginError(f"expected a plugin's name as text, got {name!r}", hint='nucleus.registrar_plugin("alerts", plugin)')
    if not callable(getattr(plugin, "procesar", None)):
        raise PluginError(f"plugin {name!r}: expected a method procesar(datos, carga), got {type(plugin).__name__} without one",
                          hint="async def procesar(self, datos, carga): ..., in the object that is registered")  # fmt: skip
