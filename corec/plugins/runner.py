"""Runs modules and plugins in an asyncio loop of a thread of its own, so that they cannot delay readings.

A second thread starts the plugins one after the other and then watches the loop.  Where a plugin blocks the loop, its stack is
logged.  After HOLD_LIMIT_S the loop is abandoned with its thread, and all others go on in a new one.
"""
import asyncio
import importlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from corec.errors import ConfigError
from corec.modules.base import ModuloBase
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.subscriptions import StreamEntry, Subscription, Subscriptions
from corec.plugins.isolated.calls import BlockIdsOf, IsolatedHost
from corec.plugins.loop_thread import LoopThread, short_turns
from corec.plugins.manager import PluginManager

log = logging.getLogger("corec.plugins.runner")

EVERY_S = 1.0
#: Seconds that a start waits for plugins; slower ones go on starting behind it.
START_WAIT_S = 5.0
#: Seconds between two checks of the loop; without an answer after which it is blocked; and after which it is abandoned.
LOOK_EVERY_S = 0.5
BLOCKED_AFTER_S = 0.5
HOLD_LIMIT_S = 10.0
#: Seconds that a stop waits for plugins and modules.
STOP_WAIT_S = 0.5


class ExtensionRunner:
    """Loads modules by their names in the configuration, then plugins from their folder, and runs both."""

    def __init__(self, nucleus: Nucleus, block_ids: BlockIdsOf, subscriptions: Subscriptions, plugins: Path | None, *,
                 shed: Callable[[Mapping[int, int]], None], is_over: Callable[[], bool]) -> None:  # fmt: skip
        """shed: counts readings by channel as refused.  is_over: whether the node is to stop; polled while plugins start."""
        self._nucleus, self._subscriptions, self._is_over = nucleus, subscriptions, is_over
        self._name = f"CoreCNucleus-{nucleus.config.instance_id}"
        self.modulos: dict[str, ModuloBase] = {}
        host = IsolatedHost(nucleus, block_ids, subscriptions, shed, self.submit)
        self.manager = PluginManager(nucleus, plugins, host)
        self._loop_thread = LoopThread()
        self._abandoned: list[LoopThread] = []
        self._watch = threading.Thread(target=self._start_and_watch, name="extensions-watch", daemon=True)
        self._started, self._stopping, self._moving = threading.Event(), threading.Event(), threading.Lock()
        self._main: asyncio.Task | None = None
        self.blocked_s = 0.0  # for how long the loop has not answered; 0 while it does

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Load and start modules and plugins.  Returns once they are loaded, after START_WAIT_S, or when the node is to stop."""
        config = self._nucleus.config
        for name in dict.fromkeys(("registro", *config.modules)):
            if name != "auditoria" or config.audits:
                self._load_module(name)
        self._loop_thread.start()
        self._loop_thread.submit(self._begin_modules).result()
        self._watch.start()
        end = time.monotonic() + START_WAIT_S
        while not self._started.wait(0.05) and not self._is_over():
            if time.monotonic() > end:
                log.warning("[%s] plugins are still starting; the node goes on without them", self._name)
                return

    def stop(self) -> None:
        """Stop plugins, then modules.  A loop that is still blocked after STOP_WAIT_S is abandoned."""
        with self._moving:
            self._stopping.set()
        if not self._loop_thread.alive:
            return
        self.manager.stop_isolated()
        ended = self._loop_thread.submit(self._end)
        try:
            ended.result(timeout=STOP_WAIT_S)
        except TimeoutError:
            folder, _ = self._loop_thread.holder()
            log.error("[%s] %s holds its loop up and is left behind", self._name, f"plugin {folder}" if folder else "a module")
        except Exception:  # modules of third parties may raise anything
            log.exception("[%s] a module failed to stop", self._name)
        self._loop_thread.abandon(for_good=True)

    def subscribe(self, stream: str, handler: Callable[[StreamEntry], Any]) -> Subscription:
        """Have *handler* called in the loop with the entries of *stream*."""
        found = self._subscriptions.add(stream, handler)
        self._loop_thread.submit(found.run)
        return found

    def submit(self, make: Callable, *arguments: Any) -> Future:
        """Run `make(*arguments)` as a task in the loop, from another thread."""
        return self._loop_thread.submit(make, *arguments)

    def _load_module(self, name: str) -> None:
        found = [kind for kind in vars(_module_named(name)).values() if _is_module(kind)]
        if len(found) != 1:
            raise ConfigError(f"module {name!r}: expected one subclass of ModuloBase, got {len(found)}",
                              hint="see corec/modules/base.py for what a module is")  # fmt: skip
        self.modulos[name] = found[0]()

    # --- in the loop ---------------------------------------------------------------------------

    async def _begin_modules(self) -> None:
        for modulo in self.modulos.values():
            await modulo.inicializar(self._nucleus)

    async def _resume(self) -> None:
        """Begin the passes of modules and plugins, in the first loop and in each that replaces an abandoned one."""
        self._main = asyncio.create_task(self._run())
        self.manager.run_passes()
        for each in self._subscriptions.all():
            self._loop_thread.submit(each.run)

    async def _run(self) -> None:
        since = 0
        while True:
            datos, since = self._nucleus.news(since)
            for name, modulo in self.modulos.items():
                await self._step(name, modulo, datos)
            await asyncio.sleep(EVERY_S)

    async def _step(self, name: str, modulo: ModuloBase, datos: dict[str, Any]) -> None:
        try:
            await modulo.ejecutar(datos, self._nucleus.load)
        except Exception:  # modules of third parties may raise anything; the others go on
            log.exception("[%s] module %s failed", self._name, name)

    async def _end(self) -> None:
        await self.manager.stop_all()
        if self._main:
            self._main.cancel()
        for modulo in reversed(self.modulos.values()):
            await modulo.detener()

    # --- in the watching thread ----------------------------------------------------------------

    def _start_and_watch(self) -> None:
        for main in self.manager.found():
            folder = main.parent.name
            self._finish_step(self.manager.load, main, lambda problem, folder=folder: self.manager.not_loaded(folder, problem))
        for running in [each for each in list(self.manager.plugins.values()) if not each.isolated]:
            self._finish_step(self.manager.start, running, lambda problem, running=running: running.gave_up(problem, "left behind"))
        if not self._stopping.is_set():
            self.manager.warn_of_absent()
            self._loop_thread.submit(self._resume)
        self._started.set()
        while not self._stopping.wait(LOOK_EVERY_S):
            self._look()

    def _finish_step(self, make: Callable, what: Any, give_up: Callable[[str], None]) -> None:
        """Run one step of the start to its end, or abandon the loop where the step blocks it for too long."""
        done: Future = self._loop_thread.submit(make, what)
        while not self._stopping.is_set() and not _is_done(done, LOOK_EVERY_S):
            blocked_s = self._wait_while_blocked(HOLD_LIMIT_S)
            if blocked_s >= HOLD_LIMIT_S:
                give_up(f"inicializar blocked its thread for {blocked_s:.0f} s")
                self._move()
                return

    def _look(self) -> None:
        """Check that the loop answers.  Where it does not for HOLD_LIMIT_S, abandon it with the plugin that blocks it."""
        folder, _ = self._loop_thread.holder()
        blocked_s = self._wait_while_blocked(HOLD_LIMIT_S)
        if blocked_s < HOLD_LIMIT_S:
            return
        folder, _ = self._loop_thread.holder()
        guilty, thread = list(self.manager.of_folder(folder)), self._loop_thread
        if folder is None or not self._move():
            return  # a module blocks it, or code of no plugin: nothing to take out
        for running in guilty:
            running.left_behind(thread, f"it blocked its thread for {blocked_s:.0f} s")
        self.modulos["registro"].abandon(folder)
        self._subscriptions.cancel_of(folder)
        self._loop_thread.submit(self._resume)

    def _wait_while_blocked(self, most: float) -> float:
        """Seconds that the loop does not answer from now on, at most *most*; the plugin that blocks it is logged once."""
        began, named = time.monotonic(), False
        with short_turns() as shorten:
            while not self._loop_thread.answers(BLOCKED_AFTER_S) and not self._stopping.is_set():
                shorten()
                self.blocked_s = time.monotonic() - began
                named = named or self._name_holder()
                if self.blocked_s >= most:
                    break
        blocked_s, self.blocked_s = self.blocked_s, 0.0
        return blocked_s

    def _name_holder(self) -> bool:
        folder, stack = self._loop_thread.holder()
        for running in self.manager.of_folder(folder):
            running.blocked_s = self.blocked_s
        log.error("[%s] %s holds the loop of modules and plugins up, here:\n%s", self._name,
                  f"plugin {folder}" if folder else "something", stack)  # fmt: skip
        return True

    def _move(self) -> bool:
        """Abandon the loop and start a new one; False where the node stops."""
        with self._moving:
            if self._stopping.is_set():
                return False
            self._loop_thread.abandon()
            self._abandoned.append(self._loop_thread)
            self._loop_thread = LoopThread(len(self._abandoned))
            self._loop_thread.start()
        return True


def _is_done(done: Future, within: float) -> bool:
    try:
        done.exception(within)
    except TimeoutError:
        return False
    return True


def _module_named(name: str) -> Any:
    """The Python module of a module: in `corec.modules`, or at an entry point of the group `corec.modules`."""
    for point in entry_points(group="corec.modules"):
        if point.name == name:
            return importlib.import_module(point.module)
    try:
        return importlib.import_module(f"corec.modules.{name}")
    except ModuleNotFoundError as error:
        if not f"corec.modules.{name}".startswith(str(error.name)):
            raise
        raise ConfigError(f"there is no module {name!r}",
                          hint="put one into corec/modules, or offer it at the entry point corec.modules") from None  # fmt: skip


def _is_module(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ModuloBase) and kind is not ModuloBase
