"""The `nucleus` of an isolated plugin: the plugin API, whose calls go over a pipe to the node."""
import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from corec._core import dtypes
from corec._core.wire import channel_counts
from corec.common.times import wall_ms
from corec.engine.columns import check_moment, earliest_at, frame_bytes
from corec.errors import PluginError
from corec.modules.registro import ModuloRegistro
from corec.pipeline.recent_rows import WorkerTurn
from corec.plugin_api.embedded_redis import HINT, STREAM_COMMANDS
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.metering import Meter
from corec.plugin_api.stream_writer import as_entry, as_text, paced
from corec.plugin_api.subscriptions import StreamEntry, Subscription
from corec.plugins.isolated.pipe import Pipe
from corec.plugins.loading import check_plugin
from corec.streams.sending.producer import Producer

#: Seconds that the node may take to answer a call.
ANSWER_S = 30.0
#: Seconds between two reports to the node of what was dropped here.
REPORT_EVERY_S = 0.1


class NodeCalls:
    """Sends calls to the node and matches its answers."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._numbers = pipe, itertools.count(1)
        self._open: dict[int, Future] = {}
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send a message that has no answer."""
        self._pipe.send(*message)

    def ask(self, operation: str, *arguments: Any) -> Future:
        """Call an operation of the node; the future gets the value, or a PluginError."""
        number, answer = next(self._numbers), Future()
        self._open[number] = answer
        self.send("call", number, operation, arguments)
        return answer

    def call(self, operation: str, *arguments: Any) -> Any:
        """Call an operation and wait for its value; TimeoutError after ANSWER_S."""
        return self.ask(operation, *arguments).result(ANSWER_S)

    def answered(self, number: int, problem: str, value: Any) -> None:
        """Settle the call *number*.  problem: "" where it succeeded."""
        answer = self._open.pop(number)
        if problem:
            answer.set_exception(PluginError(problem))
        else:
            answer.set_result(value)


class Budget:
    """The plugin's bound on sent bytes.  What the node would drop is dropped here, and reported to it now and then."""

    def __init__(self, node: NodeCalls, meter: Meter) -> None:
        self._node, self._meter = node, meter
        self._reported, self._report_at = (0, 0), 0.0

    def allows(self, size: int) -> bool:
        """Count *size* bytes to be sent; False where the plugin may not send them."""
        fits = self._meter.may_send(size)
        if time.monotonic() >= self._report_at:
            self.report()
        return fits

    def report(self) -> None:
        """Report to the node what was dropped since the last report."""
        dropped, before = (self._meter.dropped, self._meter.dropped_bytes), self._reported
        if dropped != before:
            self._reported, self._report_at = dropped, time.monotonic() + REPORT_EVERY_S
            self._node.send("dropped", dropped[0] - before[0], dropped[1] - before[1])


class Missing:
    """Raises a PluginError for a name that an isolated plugin cannot have."""

    _what = "nucleus"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise PluginError(f"{self._what}.{name} is not there for a plugin that runs in a process of its own",
                          hint='without "aislado" it is; docs/plugins.md says what there is with it')  # fmt: skip


class Streams(Missing):
    """The `nucleus.redis_client` of an isolated plugin: stream commands, which the node carries out."""

    _what, takes_urgent = "redis_client", True

    def __init__(self, node: NodeCalls, budget: Budget) -> None:
        self._node, self._budget = node, budget

    async def xadd(self, name: Any, fields: dict[Any, Any], id: Any = "*", maxlen: int | None = None, approximate: bool = True,
                   **options: Any) -> bytes | None:
        """Add an entry; returns its id, or None after a pause where the plugin sends more than it may."""
        entry = as_entry(fields, id)
        if not self._budget.allows(sum(len(key) + len(value) for key, value in entry.items())):
            return await paced(None)
        return await self._asked("xadd", as_text(name), entry, bool(options.get("urgent")))

    async def xlen(self, name: Any) -> int:
        """How many entries are committed."""
        return await self._asked("xlen", as_text(name))

    async def xrange(self, name: Any, min: Any = "-", max: Any = "+", count: int | None = None) -> list[Any]:
        """Entries with ids from *min* to *max*, oldest first."""
        return [tuple(entry) for entry in await self._asked("xrange", as_text(name), as_text(min), as_text(max), count)]

    async def xread(self, streams: dict[Any, Any], count: int | None = None, block: int | None = None) -> list[Any]:
        """[[stream, entries behind the id given for it], ...]; never blocks."""
        asked = {as_text(name): as_text(after) for name, after in streams.items()}
        return [[name, [tuple(entry) for entry in entries]] for name, entries in await self._asked("xread", asked, count)]

    async def xtrim(self, name: Any, **options: Any) -> int:
        """Nothing to do: streams are bounded."""
        return 0

    async def xdel(self, name: Any, *ids: Any) -> int:
        """Entries are part of committed turns and stay."""
        return 0

    async def _asked(self, operation: str, *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._node.ask(operation, *arguments))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise PluginError(f"expected one of {STREAM_COMMANDS}, got redis_client.{name}", hint=HINT)


class Settings(Missing):
    """The `nucleus.config` of an isolated plugin: `instance_id` only, since the rest may hold secrets."""

    _what = "nucleus.config"

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id


class BlockNames(Missing):
    """The `nucleus.engine` of an isolated plugin: `block_ids` only."""

    _what = "nucleus.engine"

    def __init__(self, block_ids: Sequence[str]) -> None:
        self.block_ids = tuple(block_ids)


class NucleusProxy(Missing, Nucleus):
    """The plugin API in an isolated plugin's process.  A name that it cannot have raises a PluginError."""

    def __init__(self, node: NodeCalls, instance_id: str, data: Path, block_ids: Sequence[str], budget: Budget) -> None:
        self._node, self.data = node, data
        self.config, self._engine = Settings(instance_id), BlockNames(block_ids)
        self.redis_client, self._load = Streams(node, budget), 0.0
        self._producer = Producer(f"{instance_id}/submit/{os.getpid()}")
        self.plugins: dict[str, Any] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self._modulos = {"registro": ModuloRegistro()}

    @property
    def engine(self) -> BlockNames:
        return self._engine

    @property
    def modulos(self) -> dict[str, Any]:
        return self._modulos

    @property
    def load(self) -> float:
        return self._load

    def begin_pass(self, load: float, block_ids: Sequence[str] | None) -> None:
        """Take over what came with a pass.  block_ids: None where they have not changed."""
        self._load = load
        if block_ids is not None:
            self._engine.block_ids = tuple(block_ids)

    def registrar_plugin(self, name: str, plugin: Any) -> None:
        check_plugin(name, plugin)
        if name in self.plugins:
            raise PluginError(f"there is a plugin {name!r} already: the first one stays", hint="register each plugin under its own name")
        self.plugins[name] = plugin

    def suscribir(self, stream: str, handler: Callable[[StreamEntry], Any]) -> Subscription:
        if not callable(handler):
            raise PluginError(f"expected a handler that can be called with an entry, got {handler!r:.60}")
        number = self._node.call("subscribe", stream)
        found = self.subscriptions[number] = Remote(stream, handler, lambda: self._node.send("unsubscribe", number))
        found.task = asyncio.get_running_loop().create_task(found.run())
        return found

    def entity_name(self, id: int) -> tuple[str, str]:
        return tuple(self._node.call("entity_name", id))

    def claim_block(self, block: str, canal: int, names: Sequence[str]) -> np.ndarray:
        return np.frombuffer(self._node.call("claim", block, canal, list(names)), np.uint32)

    def block_names(self, block: str) -> Sequence[str]:
        return self._node.call("names", block)

    def release_block(self, block: str) -> None:
        self._node.call("release", block)

    def submit(self, frames: bytes, *, time: int, producer: Producer | None = None) -> None:
        """Send frames to the node without waiting; those it has no room for count as shed there."""
        self._node.send("frames", (producer or self._producer).id, frame_bytes(frames), check_moment(time, earliest_at(wall_ms())))

    def shed(self, frames: bytes) -> None:
        self._node.send("shed", channel_counts(frames))

    def note_repair(self, block: str, *, entities: int, inherited: int, why: str) -> None:
        self._node.send("repaired", block, entities, inherited, why)

    def fuse(self, block: str, host: str, why: str) -> Future:
        return self._node.ask("fuse", block, host, why)

    def news(self, since: int) -> tuple[dict[str, Any], int]:
        """Asks the node and waits; the *datos* that `procesar` gets are the same."""
        number, now, aggregates, alerts = self._node.call("news", since)
        return datos_of(now, aggregates, alerts), number

    def take_worker_turn(self, turn: WorkerTurn) -> None:
        raise PluginError("expected the node's own module to coordinate workers, got a plugin in a process of its own",
                          hint='without "aislado" it may')  # fmt: skip


def datos_of(now: int, aggregates: bytes, alerts: bytes) -> dict[str, Any]:
    """The *datos* of `procesar`, from the bytes of packed rows (dtypes.AGGREGATE, dtypes.ALERT) and a time in ms."""
    return {"bloques": np.frombuffer(aggregates, dtypes.AGGREGATE).copy(), "alertas": np.frombuffer(alerts, dtypes.ALERT).copy(),
            "ahora": now}  # fmt: skip


class Remote(Subscription):
    """A subscription whose entries come over the pipe."""

    def __init__(self, stream: str, handler: Callable[[StreamEntry], Any], on_cancel: Callable[[], None]) -> None:
        super().__init__(stream, handler, None)
        self._on_cancel = on_cancel
        self.task: asyncio.Task | None = None

    def cancel(self) -> None:
        super().cancel()
        self._on_cancel()
