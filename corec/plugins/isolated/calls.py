"""Carries out what the process of an isolated plugin asks of its node: calls, readings, log lines, subscriptions."""
import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from corec.common.units import MB
from corec.errors import CoreCError
from corec.plugin_api.embedded_redis import EmbeddedRedis
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.metering import CURRENT, Meter
from corec.plugin_api.subscriptions import StreamEntry, Subscription, Subscriptions
from corec.plugins.isolated.pipe import Pipe
from corec.plugins.running import Running
from corec.streams.sending.producer import Producer

#: Entries of all subscriptions that may wait for the pipe; beyond that the oldest are dropped.
MOST_WAITING = 1_000
#: Seconds for a command to a real server.
SERVER_S = 5.0
#: Seconds for a command that a turn carries out.
COMMIT_S = 30.0
#: Bytes of rows in one message to a child.
MOST_PASS_BYTES = MB


def newest_rows(rows: np.ndarray) -> bytes:
    """The newest rows that fit into one message, as bytes."""
    return rows[-(MOST_PASS_BYTES // rows.itemsize) :].tobytes()


class BlockIdsOf(Protocol):
    """Gives registered blocks their wire ids.  One plugin folder at a time holds a block."""

    def claim(self, block: str, canal: int, names: Sequence[str], holder: str = "") -> np.ndarray: ...

    def forget(self, holder: str) -> None: ...


class IsolatedHost(NamedTuple):
    """The parts of a node that its side of an isolated plugin uses."""

    nucleus: Nucleus
    block_ids: BlockIdsOf
    subscriptions: Subscriptions
    shed: Callable[[Mapping[int, int]], None]  # counts readings by channel as refused
    in_loop: Callable[..., Future]  # runs a coroutine in the loop of modules and plugins, to which the Redis client is bound


class Forwarded(Subscription):
    """A subscription whose handler runs in the plugin's process."""

    number = 0
    waiting: "deque[tuple[int, StreamEntry]]"
    wake: Callable[[], None]

    def put(self, entry: StreamEntry) -> None:
        """Queue an entry for the pipe; from any thread."""
        if not self.active:
            return
        if len(self.waiting) >= MOST_WAITING:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append((self.number, entry))
        self.delivered += 1
        self.wake()


class Answers:
    """Answers one child process; used by the thread that supervises it."""

    def __init__(self, host: IsolatedHost, running: Running, pipe: Pipe, wake: Callable[[], None]) -> None:
        self._host, self._nucleus, self._running, self._pipe, self._wake = host, host.nucleus, running, pipe, wake
        self._producers: dict[int, Producer] = {}
        self._subscriptions: dict[int, Forwarded] = {}
        self._waiting: deque[tuple[int, StreamEntry]] = deque()
        CURRENT.set(running.meter)  # this thread works for this plugin only
        self._kinds = {
            "call": self._call, "frames": self._frames, "log": self._log, "unsubscribe": self._unsubscribe, "shed": host.shed,
            "repaired": self._repaired, "dropped": running.meter.was_refused,
        }  # fmt: skip
        self._operations = {
            "xadd": self._xadd, "xlen": self._stream, "xrange": self._stream, "xread": self._stream, "claim": self._claim,
            "release": host.nucleus.release_block, "subscribe": self._subscribe, "entity_name": host.nucleus.entity_name,
            "names": lambda block: list(host.nucleus.block_names(block)), "news": self._news, "fuse": self._fuse,
        }  # fmt: skip

    def take(self, kind: str, *rest: Any) -> None:
        """Carry out a message of the child; errors of a call are sent back as its answer."""
        self._kinds[kind](*rest)

    def forward(self) -> bool:
        """Send one waiting entry of a subscription; False where there is none."""
        if not self._waiting:
            return False
        number, entry = self._waiting.popleft()
        self._running.meter.took(self._pipe.send("entry", number, entry.id, entry.fields))
        return True

    def close(self) -> None:
        """Cancel the child's subscriptions and release its hold on its blocks."""
        for each in self._subscriptions.values():
            each.cancel()
        self._host.block_ids.forget(self._running.folder)

    def _call(self, number: int, operation: str, arguments: list[Any]) -> None:
        try:
            carry_out = self._operations[operation]
            value = carry_out(operation, *arguments) if carry_out == self._stream else carry_out(*arguments)
            self._pipe.send("answer", number, "", value)
        except (CoreCError, KeyError, TypeError, ValueError, TimeoutError) as error:
            self._pipe.send("answer", number, str(error) or type(error).__name__, None)

    def _xadd(self, stream: str, entry: dict[bytes, bytes], urgent: bool) -> bytes | None:
        return self._nucleus.redis_client.corec_put_out(stream, entry, urgent)

    def _stream(self, operation: str, *arguments: Any) -> Any:
        client = self._nucleus.redis_client
        if operation == "xrange":
            name, low, high, count = arguments
            asked = {"name": name, "min": low, "max": high, "count": count}
        else:
            asked = dict(zip({"xlen": ("name",), "xread": ("streams", "count")}[operation], arguments, strict=True))
        if isinstance(client, EmbeddedRedis):
            return asyncio.run(getattr(client, operation)(**asked))
        return self._host.in_loop(lambda: getattr(client, operation)(**asked)).result(SERVER_S)

    def _claim(self, block: str, canal: int, names: list[str]) -> bytes:
        return self._host.block_ids.claim(block, canal, names, self._running.folder).tobytes()

    def _subscribe(self, stream: str) -> int:
        found = self._host.subscriptions.add(stream, print, Forwarded)
        found.number, found.waiting, found.wake = len(self._subscriptions) + 1, self._waiting, self._wake
        self._subscriptions[found.number] = found
        return found.number

    def _unsubscribe(self, number: int) -> None:
        self._subscriptions[number].cancel()

    def _frames(self, producer: int, frames: bytes, time: int) -> None:
        """Submit readings of one of the plugin's blocks, or count them as shed where it sends too much."""
        if not self._meter.may_send(len(frames)):
            self._nucleus.shed(frames)
            return
        if producer not in self._producers:
            self._producers[producer] = Producer(f"{self._nucleus.config.instance_id}/block/{producer}")
        self._nucleus.submit(frames, time=time, producer=self._producers[producer])

    def _repaired(self, block: str, entities: int, inherited: int, why: str) -> None:
        self._nucleus.note_repair(block, entities=entities, inherited=inherited, why=why)

    def _fuse(self, block: str, host: str, why: str) -> int:
        return self._nucleus.fuse(block, host, why).result(COMMIT_S)

    def _news(self, since: int) -> tuple[int, int, bytes, bytes]:
        datos, number = self._nucleus.news(since)
        return number, datos["ahora"], *(newest_rows(datos[name]) for name in ("bloques", "alertas"))

    def _log(self, name: str, level: int, text: str) -> None:
        if self._meter.may_send(len(text)):
            logging.getLogger(name).log(level, "%s", text)

    @property
    def _meter(self) -> Meter:
        return self._running.meter
