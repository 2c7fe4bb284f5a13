"""Send readings from a device or a script to CoreC. They are numbered, and kept on disk until they are safe.

    with corec.publish.Publisher("configs", name="gate-7") as publisher:
        publisher.publish(frames, time=1_700_000_000_000)      # returns when the readings are durable

    corec.publish([(12, 1, 20.5, True)])                       # one batch, with the configuration in ./configs

With `redis_config` batches go to the streams of Redis; without it, to the node on the same data folder.
"""

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, overload

from corec.common.clock import MACHINE, Clock
from corec.common.units import MB
from corec.config import Config, load
from corec.engine.columns import check_moment, earliest_at, frame_bytes, reading_frames
from corec.engine.producer_marks import Account
from corec.errors import BackPressure, DiskFull, InputError, ServerError, UsageError
from corec.streams.reach import cut_to_reach
from corec.streams.sending.receipt import ProducerPart, Receipt, receipt_of
from corec.streams.sending.routing import Routing, StreamPart
from corec.streams.sending.unsent import Unsent, future_of

if TYPE_CHECKING:
    from datetime import datetime

    from corec.streams.redis.link import Connect  # redis is loaded only where it is configured

TAILS = "tails"
#: Seconds that `publish` waits for room before it raises BackPressure.
TIMEOUT_S = 10.0
#: Disk bound for unsent batches.
TAIL_MB = 256
ROOM_S = 0.05
#: Seconds between two looks at the accounts that nodes keep.
COUNTED_S = 0.05

Reading = tuple[int, int, float, bool]  # id, canal, valor, estado


class Publisher:
    """One sender. Several threads may use it.

    name: the same at every start; it finds the batches that the last run could not send.
    """

    def __init__(self, config: Config | str | Path = "configs", *, name: str, data: Path | str = "data", folder: Path | None = None,
                 max_disk_mb: int = TAIL_MB, epoch: int | None = None, clock: Clock = MACHINE, connect: "Connect | None" = None) -> None:
        """data: the data folder of the node. Unsent batches are kept there, or in *folder*.
        max_disk_mb: bound of the unsent batches.  epoch: see `Unsent`.  connect: see `RedisLink`.
        """
        self.config = config if isinstance(config, Config) else load(config)
        self.name = name
        self._clock, self._connect = clock, connect
        self._routing = Routing(self.config.fragmentos, self.config)
        folder = folder or tail_of(Path(data), name)
        self._unsent = Unsent(folder, name, max_bytes=max_disk_mb * MB, on_commit=lambda _: self.sender.more(), epoch=epoch,
                          instance=self.config.instance_id, clock=clock)  # fmt: skip
        self.sender = self._make_sender(Path(data))
        self.sender.start()
        # An epoch that was given may be that of an earlier run, which sent the same readings
        self._before = {} if epoch is None else self._ask_accounts([self._unsent.part_of(stream) for stream in self._routing.streams])

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def unsent(self) -> Unsent:
        """The batches that are not sent, or sent and not committed."""
        return self._unsent

    def publish(self, readings: bytes | Iterable[Reading], *, time: "int | datetime | None" = None, offsets: Any = None,
                timeout: float = TIMEOUT_S) -> None:
        """Send frames (n * 10 bytes), or tuples (id, canal, valor, estado), of *time* (ms, or a datetime).

        Returns once they are durable on this disk.

        offsets: integers[n], ms to *time*.  BackPressure when there was no room for *timeout* seconds: then none or some of the
        readings are kept, never one of them twice.
        """
        now = self._clock.wall_ms()
        moment = now if time is None else check_moment(time, earliest_at(now))
        frames, end = as_frames(readings), self._clock.steady_s() + timeout
        parts = self._parts(frames, moment, offsets)
        while parts := self._refused(parts, timeout):
            if self._clock.steady_s() >= end:
                raise self._no_room(timeout)
            self.sender.wait_moved(ROOM_S)

    def submit(self, frames: bytes, time: int, offsets: Any = None, *, refused: Callable[[bytes], None] = lambda frames: None,
               ) -> "Future[int]":  # fmt: skip
        """Like `publish`, but without waiting: the future resolves once all is durable here, or fails with DiskFull.

        refused: called with the frames for which there was no room.
        """
        tickets = []
        for part, moment in self._parts(frames, time, offsets):
            tickets.append(self._unsent.put(part, moment))
            tickets[-1].add_done_callback(lambda done, part=part: refused(part.frames) if isinstance(done.exception(), DiskFull) else None)
        return future_of(tickets)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the server, or the node, has everything; False after *timeout* seconds."""
        return self.sender.wait_sent(self._unsent.last, timeout)

    @overload
    def wait(self, timeout: float | None = None, *, result: Literal[False] = False) -> bool: ...

    @overload
    def wait(self, timeout: float | None = None, *, result: Literal[True]) -> Receipt: ...

    def wait(self, timeout: float | None = None, *, result: bool = False) -> bool | Receipt:
        """Wait until a node has counted every reading that was sent since this was opened; False after *timeout* seconds.

        With *result*, returns what became of these readings; `waiting` of them are not counted yet.
        """
        end = None if timeout is None else self._clock.steady_s() + timeout
        self.flush(timeout)
        receipt = self._receipt()
        while receipt.waiting and (end is None or self._clock.steady_s() < end):
            self._clock.sleep(COUNTED_S)
            receipt = self._receipt()
        return receipt if result else not receipt.waiting

    def close(self, timeout: float = 1.0) -> None:
        """Wait up to *timeout* seconds until everything is sent. The next start under this name sends the rest."""
        self.flush(timeout)
        self.sender.stop()
        self._unsent.close()

    def _receipt(self) -> Receipt:
        parts = self._unsent.parts()
        accounts = self._ask_accounts(parts)
        return receipt_of((part, accounts.get(part.stream), self._before.get(part.stream)) for part in parts)

    def _ask_accounts(self, parts: list[ProducerPart]) -> dict[str, Account | None]:
        """Stream -> account; empty while whoever has them is away, or starting."""
        try:
            return dict(zip((part.stream for part in parts), self.sender.accounts(parts), strict=True))
        except (ServerError, UsageError):
            return {}

    def _parts(self, frames: bytes, time: int, offsets: Any) -> list[tuple[StreamPart, int]]:
        """Readings as parts that fit into envelopes, each with its time in ms."""
        return [(part, piece.time) for piece in cut_to_reach(frames, time, offsets)
                for part in self._routing.split(piece.frames, piece.offsets)]  # fmt: skip

    def _refused(self, parts: list[tuple[StreamPart, int]], timeout: float) -> list[tuple[StreamPart, int]]:
        """Write the parts; return those for which there was no room."""
        tickets = [(part, self._unsent.put(*part)) for part in parts]
        return [part for part, ticket in tickets if isinstance(_problem(self._clock.settled(ticket, timeout + TIMEOUT_S)), DiskFull)]

    def _no_room(self, timeout: float) -> BackPressure:
        waiting = self.sender.stats()
        return BackPressure(f"the tail of {self.name!r} took nothing for {timeout:g} s: {waiting.waiting:,} batches wait to be sent",
                            detail=waiting.problem or None, hint="send less, or raise max_disk_mb of the publisher")  # fmt: skip

    def _make_sender(self, data: Path) -> Any:
        if self.config.redis_config is None:
            from corec.control.node_sender import NodeSender

            return NodeSender(data, self._unsent, instance=self.config.instance_id, clock=self._clock)
        from corec.streams.sending.redis_sender import RedisSender  # redis is loaded only where it is configured

        return RedisSender(self.config.redis_config, self._unsent, instance=self.config.instance_id, clock=self._clock,
                           connect=self._connect)  # fmt: skip


def publish(readings: bytes | Iterable[Reading], *, time: "int | datetime | None" = None, config: Config | str | Path = "configs",
            data: Path | str = "data", name: str = "script", timeout: float = TIMEOUT_S) -> None:
    """Send one batch, and wait until the server or the node has it; BackPressure after *timeout* seconds."""
    with Publisher(config, name=name, data=data) as publisher:
        publisher.publish(readings, time=time, timeout=timeout)
        if not publisher.flush(timeout):
            stats = publisher.sender.stats()
            raise BackPressure(f"the readings are kept, but were not taken within {timeout:g} s", detail=stats.problem or None,
                               hint=f"the next use of the name {name!r} sends them")  # fmt: skip


def tail_of(data: Path, name: str) -> Path:
    """The folder of the unsent batches of a sender in a data folder."""
    return data / TAILS / name.replace("/", "_")


def as_frames(readings: bytes | Iterable[Reading]) -> bytes:
    """Readings as n * 10 bytes; FrameError when they are not readings.  The same is taken as by `Engine.feed_arrays`."""
    if isinstance(readings, bytes | bytearray | memoryview):
        return frame_bytes(readings)
    return reading_frames(readings)


def _problem(ticket: "Future[int]") -> BaseException | None:
    problem = ticket.exception(0)
    if problem and not isinstance(problem, InputError):
        raise problem
    return problem


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> None:
        publish(*arguments, **options)


sys.modules[__name__].__class__ = _Callable  # `corec.publish(...)` as well as `corec.publish.Publisher`
