"""PluginManager: finds plugins, loads them under names of their own, runs them, and keeps the bad ones from the rest.

    plugins/alerts/main.py        def inicializar(nucleus, config): nucleus.registrar_plugin("alerts", Plugin(nucleus, config))
    plugins/alerts/config.json    optional; plugins_config.json wins over it, key by key
"""
import asyncio
import importlib.util
import inspect
import logging
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from corec.config import load_plugin_config, merge_plugin_config
from corec.errors import CoreCError, PluginError

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

log = logging.getLogger("PluginManager")

#: Seconds that `inicializar` and one pass may take.
START_LIMIT_S = 30.0
PASS_LIMIT_S = 10.0
#: Failures in a row that suspend a plugin, the first pause, and the longest.
MOST_FAILURES = 3
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0


class Running:
    """A plugin that was registered, and what it costs."""

    def __init__(self, name: str, plugin: Any, config: dict[str, Any]) -> None:
        self.name, self.plugin, self.config = name, plugin, config
        self.interval = float(config.get("intervalo", 1.0))
        self.started = time.monotonic()
        self.ready = False
        self.passes = self.failures = self.in_a_row = 0
        self.pause = FIRST_PAUSE_S
        self.cpu_s = 0.0
        self.problem = ""

    def failed(self, problem: str) -> float:
        """Count a failure; how long to wait before the next pass."""
        self.failures, self.in_a_row, self.problem = self.failures + 1, self.in_a_row + 1, problem
        log.error("[PluginManager] plugin %s failed: %s", self.name, problem)
        if self.in_a_row < MOST_FAILURES:
            return self.interval
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE_S)
        log.error("[PluginManager] plugin %s suspended for %.0f s after %d failures in a row", self.name, pause, self.in_a_row)
        return pause

    def passed(self) -> float:
        """Count a pass that went well."""
        self.passes, self.in_a_row, self.pause, self.problem = self.passes + 1, 0, FIRST_PAUSE_S, ""
        return self.interval

    def status(self) -> dict[str, Any]:
        """What it did and cost so far."""
        lived = max(time.monotonic() - self.started, 1e-9)
        return {"name": self.name, "passes": self.passes, "failures": self.failures, "cpu_share": self.cpu_s / lived,
                "detail": self.problem or ("running" if self.ready else "starting")}  # fmt: skip


class PluginManager:
    """All plugins of a node; used in the nucleus's loop only."""

    def __init__(self, nucleus: "CoreCNucleus", folder: Path | None) -> None:
        self._nucleus, self._folder = nucleus, folder
        self.plugins: dict[str, Running] = {}
        self._loading: dict[str, Any] = {}
        self._tasks: list[asyncio.Task] = []

    # --- loading -------------------------------------------------------------------------------

    async def load_all(self) -> None:
        """Load every `*/main.py` of the folder, sorted; a bad one is named and left out."""
        if self._folder is None or not self._folder.is_dir():
            return
        for main in sorted(self._folder.glob("*/main.py")):
            try:
                await self._load(main)
            except (Exception, SystemExit) as error:  # whatever a plugin's code may raise: the others go on
                log.error("[PluginManager] plugin %s not loaded: %s", main.parent.name, _told(error))

    async def _load(self, main: Path) -> None:
        name = main.parent.name
        self._loading = merge_plugin_config(self._nucleus.config.plugins.get(name, {}), load_plugin_config(main.with_name("config.json")))
        if self._loading.get("enabled") is False:
            log.info("[PluginManager] plugin %s is disabled", name)
            return
        begin = _entry_point(_imported(main, name), main)
        result = begin(self._nucleus, self._loading)
        if inspect.isawaitable(result):
            await asyncio.wait_for(result, START_LIMIT_S)

    def register(self, name: str, plugin: Any) -> None:
        """Record a plugin; two of one name: the first stays."""
        if name in self.plugins:
            raise PluginError(f"there is a plugin {name!r} already: the first one stays", hint="register each plugin under its own name")
        if not callable(getattr(plugin, "procesar", None)):
            raise PluginError(f"plugin {name!r}: expected a method procesar(datos, carga), got {type(plugin).__name__} without one")
        self.plugins[name] = Running(name, plugin, self._loading)

    # --- running -------------------------------------------------------------------------------

    async def start_all(self) -> None:
        """Await each plugin's `inicializar`, then run its passes; one that fails is never passed to."""
        for running in self.plugins.values():
            await self._start(running)
        self._tasks = [asyncio.create_task(self._run(each), name=f"plugin-{each.name}") for each in self.plugins.values() if each.ready]

    async def _start(self, running: Running) -> None:
        begin = getattr(running.plugin, "inicializar", None)
        try:
            result = begin() if begin else None
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, START_LIMIT_S)
            running.ready = True
        except (Exception, SystemExit) as error:  # whatever a plugin's code may raise
            running.failed(f"inicializar: {_told(error)}")

    async def _run(self, running: Running) -> None:
        since = 0
        while True:
            datos, since = self._nucleus.news(since)
            began, cpu = time.monotonic(), time.thread_time()
            pause = await self._pass(running, datos)
            running.cpu_s += time.thread_time() - cpu
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))

    async def _pass(self, running: Running, datos: dict[str, Any]) -> float:
        try:
            result = running.plugin.procesar(datos, self._nucleus.load)
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, PASS_LIMIT_S)
            return running.passed()
        except TimeoutError:
            return running.failed(f"procesar took more than {PASS_LIMIT_S:g} s")
        except (Exception, SystemExit) as error:  # whatever a plugin's code may raise
            return running.failed(f"procesar: {_told(error)}")

    async def stop_all(self) -> None:
        """End all passes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _imported(main: Path, name: str) -> ModuleType:
    """The plugin's module, under a name of its own."""
    unique = f"corec_plugins.{name}"
    spec = importlib.util.spec_from_file_location(unique, main)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def _entry_point(module: ModuleType, main: Path) -> Any:
    begin = getattr(module, "inicializar", None)
    if not callable(begin):
        raise PluginError(f"{main}: expected a function inicializar(nucleus, config), found none",
                          hint="define it at module level, not only in the class")  # fmt: skip
    try:
        inspect.signature(begin).bind(None, {})
    except TypeError:
        raise PluginError(f"{main}: expected inicializar(nucleus, config), got inicializar{inspect.signature(begin)}") from None
    return begin


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, CoreCError) else f"{type(error).__name__}: {error}"
