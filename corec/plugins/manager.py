"""PluginManager: finds plugins, loads and runs them, and keeps the failures of one from the others.

    plugins/alerts/main.py        def inicializar(nucleus, config): nucleus.registrar_plugin("alerts", Plugin(nucleus, config))
    plugins/alerts/config.json    optional; plugins_config.json wins over it, key by key
"""
import asyncio
import inspect
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, NamedTuple

from corec.common.units import MB
from corec.config import load_plugin_config, merge_plugin_config
from corec.config.plugins import settings_of
from corec.errors import PluginError
from corec.plugin_api.failures import PREFIX, WHATEVER, describe_error
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.metering import CURRENT, Meter, Timed
from corec.plugins.footprint import walk
from corec.plugins.isolated.calls import IsolatedHost
from corec.plugins.isolated.parent import Isolated
from corec.plugins.loading import check_plugin, entry_point, imported
from corec.plugins.running import START_LIMIT_S, Running
from corec.storage.private import require_private

log = logging.getLogger("PluginManager")

#: Seconds between two estimates of a plugin's RAM.
WEIGH_EVERY_S = 30.0


class Loading(NamedTuple):
    """The plugin folder that is being loaded, or the program that registers a plugin itself."""

    folder: str
    config: dict[str, Any]
    meter: Meter


#: The folder that a registration belongs to, also where it comes late, from an abandoned thread.
LOADING: ContextVar[Loading | None] = ContextVar("corec_loading", default=None)
#: For plugins that a program registers itself.
PROGRAM = Loading("", {}, Meter("program"))


class PluginManager:
    """All plugins of a node.  Used in the loop of modules and plugins only, unless a method says otherwise."""

    def __init__(self, nucleus: Nucleus, folder: Path | None, host: IsolatedHost) -> None:
        """folder: holds one folder for each plugin.  host: for isolated plugins."""
        self._nucleus, self._folder, self._host = nucleus, folder, host
        self.plugins: dict[str, Running] = {}
        self.problems: dict[str, str] = {}  # folder -> why it is not loaded
        self.isolated: dict[str, Isolated] = {}  # folder -> its process
        self._tasks: list[asyncio.Task] = []

    # --- loading -------------------------------------------------------------------------------

    def found(self) -> list[Path]:
        """Every `*/main.py` of the folder, sorted; from any thread."""
        return sorted(self._folder.glob("*/main.py")) if self._folder is not None and self._folder.is_dir() else []

    async def load(self, main: Path) -> None:
        """Load one plugin; where that fails, `problems` and the log say why."""
        try:
            await self._load(main)
        except TimeoutError:
            self.not_loaded(main.parent.name, f"inicializar(nucleus, config) took more than {START_LIMIT_S:g} s")
        except WHATEVER as error:  # a plugin's code may raise; the others go on
            self.not_loaded(main.parent.name, describe_error(error))

    def not_loaded(self, folder: str, problem: str) -> None:
        """Record why the node goes on without a plugin; the first reason stays."""
        if folder in self.problems:
            return
        self.problems[folder] = problem
        log.error("[PluginManager] plugin %s not loaded: %s", folder, problem)

    async def _load(self, main: Path) -> None:
        name = main.parent.name
        for place in (main.parent.parent, main.parent, *sorted(main.parent.glob("*.py")), *main.parent.glob("config.json")):
            require_private(place)
        config = merge_plugin_config(self._nucleus.config.plugins.get(name, {}), load_plugin_config(main.with_name("config.json")))
        if config.get("enabled") is False:
            log.info("[PluginManager] plugin %s is disabled", name)
            return
        meter = Meter(name, settings_of(config).max_mb_s)
        if config.get("aislado"):
            self.isolated[name] = Isolated(self._host, self, main, config, meter)
            self.isolated[name].start()
            return
        LOADING.set(Loading(name, config, meter))
        CURRENT.set(meter)
        begin = entry_point(imported(main, name), main)
        result = begin(self._nucleus, config)
        if inspect.isawaitable(result):
            await asyncio.wait_for(result, START_LIMIT_S)

    def register(self, name: str, plugin: Any) -> None:
        """Record a plugin; PluginError where the name is taken, or the plugin is none or comes too late."""
        if name in self.plugins:
            raise PluginError(f"there is a plugin {name!r} already: the first one stays", hint="register each plugin under its own name")
        check_plugin(name, plugin)
        folder, config, meter = LOADING.get() or PROGRAM
        if folder in self.problems:
            raise PluginError(f"plugin {name!r} comes too late: {self.problems[folder]}", hint="make `inicializar` return sooner")
        self.plugins[name] = Running(name, plugin, config, meter, folder)

    def adopt(self, name: str, running: Running) -> bool:
        """Record an isolated plugin by the name that it registered; False where another has it.  From any thread."""
        running.name = name
        return self.plugins.setdefault(name, running) is running

    # --- running -------------------------------------------------------------------------------

    async def start(self, running: Running) -> None:
        """Await the plugin's `inicializar`; where it fails, the plugin gets no pass."""
        CURRENT.set(running.meter)
        begin = getattr(running.plugin, "inicializar", None)
        try:
            result = begin() if begin else None
            if inspect.isawaitable(result):
                await asyncio.wait_for(Timed(lambda: result, running.meter), START_LIMIT_S)
            if running.state == "starting":
                running.started()
        except TimeoutError:
            running.gave_up(f"inicializar took more than {START_LIMIT_S:g} s")
        except WHATEVER as error:  # a plugin's code may raise
            running.gave_up(f"inicializar: {describe_error(error)}")

    def warn_of_absent(self) -> None:
        """Log a warning for each entry of `bloques` whose plugin does not run; its blocks work as plain ones."""
        there = {*self.plugins, *(running.folder for running in self.plugins.values())}
        for entry in self._nucleus.config.bloques:
            if entry.plugin and entry.plugin not in there:
                log.warning("[PluginManager] entry %s names plugin %s, which does not run: plain blocks", entry.id, entry.plugin)

    def run_passes(self) -> None:
        """Begin the passes of all plugins that started, each in a context of its own."""
        self._tasks = [self._task_of(each) for each in self.plugins.values() if each.ready and not each.isolated]

    def _task_of(self, running: Running) -> asyncio.Task:
        context = copy_context()
        context.run(CURRENT.set, running.meter)
        return asyncio.get_running_loop().create_task(self._run(running), name=f"plugin-{running.name}", context=context)

    async def _run(self, running: Running) -> None:
        loop = running.loop = asyncio.get_running_loop()
        weigh_at = 0.0
        await asyncio.sleep(running.wait_s)
        while running.ready:
            began = time.monotonic()
            if running.is_stuck:
                pause = running.still_stuck()
            else:
                problem, heavy = await self._pass(running), ""
                if running.loop is not loop:
                    return
                if time.monotonic() >= weigh_at:
                    weigh_at = time.monotonic() + WEIGH_EVERY_S
                    heavy = await self._weigh(running)
                pause = running.failed(heavy or problem, at_once=bool(heavy)) if heavy or problem else running.passed()
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))

    async def _pass(self, running: Running) -> str:
        """Run one pass of the plugin; returns what went wrong, or ""."""
        datos, running.since = self._nucleus.news(running.since)
        running.meter.took(datos["bloques"].nbytes + datos["alertas"].nbytes)
        running.blocked_s = 0.0
        try:
            await asyncio.wait_for(Timed(lambda: self._called(running, datos), running.meter), running.limit)
        except TimeoutError:
            return f"procesar took more than {running.limit:g} s"
        except WHATEVER as error:  # a plugin's code may raise
            return f"procesar: {describe_error(error)}"
        return f"procesar blocked the loop for {running.blocked_s:.1f} s" if running.blocked_s else ""

    async def _called(self, running: Running, datos: dict[str, Any]) -> None:
        result = running.plugin.procesar(datos, self._nucleus.load)
        if inspect.isawaitable(result):
            await result

    async def _weigh(self, running: Running) -> str:
        """Estimate the plugin's RAM, a little at a time; returns what is wrong where it is above its bound, or ""."""
        for found in walk(running.plugin, sys.modules.get(PREFIX + running.folder)):
            running.meter.ram_bytes = found
            await asyncio.sleep(0)
        if running.meter.ram_bytes <= running.max_ram:
            return ""
        return f"it holds about {running.meter.ram_bytes / MB:.0f} MB, above its max_ram_mb of {running.max_ram // MB}"

    def of_folder(self, folder: str | None) -> Iterator[Running]:
        """The plugins that a folder registered; from any thread."""
        return (running for running in list(self.plugins.values()) if running.folder == folder)

    def status(self) -> list[dict[str, Any]]:
        """Figures of all plugins, those that are not loaded last; from any thread."""
        missing = [{"name": folder, "state": "not loaded", "detail": problem} for folder, problem in self.problems.items()]
        starting = [each.running for each in self.isolated.values() if each.running.state == "starting"]
        return [*(running.status() for running in (*list(self.plugins.values()), *starting)), *missing]

    def stop_isolated(self) -> None:
        """Stop the processes of all isolated plugins and wait for them; from any thread."""
        for each in self.isolated.values():
            each.ask_to_stop()
        for each in self.isolated.values():
            each.join()

    async def stop_all(self) -> None:
        """Cancel the passes of all plugins and wait for their tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
