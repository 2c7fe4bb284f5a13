"""The process of an isolated plugin: `python -m corec.plugins.isolated.child FD`.  The node starts it, with a socket as FD."""
import asyncio
import ctypes
import inspect
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from corec.common.priority import give_way
from corec.common.units import MB
from corec.plugin_api.failures import WHATEVER, describe_error
from corec.plugin_api.metering import Meter
from corec.plugin_api.stream_writer import REFUSED_S
from corec.plugin_api.subscriptions import StreamEntry
from corec.plugins.isolated.nucleus_proxy import Budget, NodeCalls, NucleusProxy, datos_of
from corec.plugins.isolated.pipe import Closed, Pipe
from corec.plugins.loading import entry_point, imported

#: Where memory runs out, the kernel kills this process first.
OOM_SCORE = "1000"
#: Bytes beyond `max_ram_mb` at which an allocation fails; the node checks resident memory, but only now and then.
HEADROOM = 256 * MB
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
#: Longest log line that is passed on.
MOST_TEXT = 4_000
EVERY_S = 1.0


class ToNode(logging.Handler):
    """Sends log records to the node, within the plugin's budget."""

    def __init__(self, node: NodeCalls, budget: Budget) -> None:
        super().__init__()
        self._node, self._budget = node, budget

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)[:MOST_TEXT]
        if self._budget.allows(len(text)):
            self._node.send("log", record.name, record.levelno, text)
        else:
            time.sleep(REFUSED_S)


class Printed:
    """Standard output of the plugin: each line goes into its log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._rest = log, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text)[-MOST_TEXT:].split("\n")
        for line in lines:
            self._log.info("%s", line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: an unfinished line waits for its end."""


class Child:
    """Loads one plugin folder and runs its passes as the node sends them."""

    def __init__(self, pipe: Pipe, start: dict[str, Any]) -> None:
        self._pipe, self._start = pipe, start
        self._node = NodeCalls(pipe)
        self._budget = Budget(self._node, Meter(start["folder"], start["max_mb_s"], logs=False))
        self.nucleus = NucleusProxy(self._node, start["instance_id"], Path(start["data"]), start["block_ids"], self._budget)

    def take_over_output(self) -> None:
        """Send log records and printed text to the node."""
        root = logging.getLogger()
        root.handlers[:], root.level = [ToNode(self._node, self._budget)], logging.INFO
        sys.stdout = sys.stderr = Printed(logging.getLogger(self._start["folder"]))

    async def run(self) -> None:
        """Load the plugin, then run passes until the node sends "stop"."""
        self._passes: asyncio.Queue = asyncio.Queue()
        threading.Thread(target=self._listen, args=(asyncio.get_running_loop(),), daemon=True).start()
        await self.nucleus.modulos["registro"].inicializar(self.nucleus)
        try:
            await self._load()
        except WHATEVER as error:  # a plugin's code may raise
            self._node.send("failed", describe_error(error))
            return
        self._node.send("ready", list(self.nucleus.plugins))
        steps = asyncio.create_task(self._step_blocks())
        while (message := await self._passes.get()) is not None:
            self._node.send("passed", await self._pass(*message))
            self._budget.report()
        steps.cancel()

    async def _load(self) -> None:
        main = Path(self._start["main"])
        result = entry_point(imported(main, self._start["folder"]), main)(self.nucleus, self._start["config"])
        if inspect.isawaitable(result):
            await result
        for plugin in self.nucleus.plugins.values():
            begin = getattr(plugin, "inicializar", None)
            result = begin() if begin else None
            if inspect.isawaitable(result):
                await result

    async def _pass(self, load: float, now: int, aggregates: bytes, alerts: bytes, block_ids: list[str] | None) -> str:
        """Run one pass of each registered plugin; returns what went wrong, or ""."""
        self.nucleus.begin_pass(load, block_ids)
        datos = datos_of(now, aggregates, alerts)
        try:
            async with asyncio.timeout(self._start["limit"]):
                for plugin in self.nucleus.plugins.values():
                    result = plugin.procesar(datos, load)
                    if inspect.isawaitable(result):
                        await result
        except TimeoutError:
            return f"procesar took more than {self._start['limit']:g} s"
        except WHATEVER as error:  # a plugin's code may raise
            return f"procesar: {describe_error(error)}"
        return ""

    async def _step_blocks(self) -> None:
        """Step the blocks that the plugin does not step itself, as the node does in its own process."""
        registro = self.nucleus.modulos["registro"]
        while True:
            for key in registro.left_alone():
                try:
                    await registro.step(key, self.nucleus.load)
                except Exception as error:  # a block's code may raise; the others go on
                    logging.getLogger("ModuloRegistro").error("%s: %s", key, describe_error(error))
            await asyncio.sleep(EVERY_S)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Receive messages in a thread, also while the loop is busy.  Exit the process when the node closes the pipe."""
        try:
            while True:
                for message in self._pipe.messages():
                    self._received(loop, *message)
                self._pipe.read()
        except Closed:
            os._exit(0)

    def _received(self, loop: asyncio.AbstractEventLoop, kind: str, *rest: Any) -> None:
        if kind == "answer":
            self._node.answered(*rest)
        elif kind == "entry":
            number, id, fields = rest
            found = self.nucleus.subscriptions.get(number)
            if found:
                found.put(StreamEntry(found.stream, id, fields))
        else:
            loop.call_soon_threadsafe(self._passes.put_nowait, rest if kind == "pass" else None)


def protect(max_ram: int) -> None:
    """End with the node, run at a lower priority than it, get no other rights, and use at most *max_ram* bytes and HEADROOM."""
    system = ctypes.CDLL(None)
    system.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)   # no program that it starts gets other rights than it has
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node stops its children itself
    give_way()
    resource.setrlimit(resource.RLIMIT_DATA, (max_ram + HEADROOM, max_ram + HEADROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    except OSError:
        pass  # some containers forbid it


def main(fd: int) -> None:
    """Serve the node at the other end of *fd*."""
    pipe = Pipe(socket.socket(fileno=fd), blocking=True)
    while not (first := next(pipe.messages(), None)):
        pipe.read()
    start = first[1]
    protect(start["max_ram"])
    child = Child(pipe, start)
    child.take_over_output()
    try:
        asyncio.run(child.run())
    except Closed:
        pass
    os._exit(0)  # does not wait for threads of the plugin


if __name__ == "__main__":
    main(int(sys.argv[1]))
