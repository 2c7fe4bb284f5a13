"""A node in a simulated world: journal, engine, store and all that keeps them, without plugins and control socket."""
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corec.config import Config
from corec.node.acceptance import Acceptance
from corec.node.after_commit import AfterCommit
from corec.node.alert_log import AlertLog
from corec.node.entity_names import EntityNames
from corec.node.lifecycle import Lifecycle
from corec.plugin_api.subscriptions import Subscriptions
from corec.simulation.world import SimulatedClock

if TYPE_CHECKING:
    from corec.streams.redis.link import Connect


class SimulatedNode:
    """An embedded node on a folder.  `with` is `start` and `stop`."""

    def __init__(self, config: Config, folder: Path, clock: SimulatedClock, connect: "Connect | None" = None) -> None:
        """connect: makes the clients of its Redis, as `RedisLink` takes it."""
        self._clock = clock
        self.subscriptions = Subscriptions()
        after = AfterCommit(AlertLog(config.instance_id, EntityNames([])), self.subscriptions)
        self.life = Lifecycle(config, folder, after, adopt=False, on_folding=lambda: None, clock=clock,
                              connect=connect)  # fmt: skip
        self._acceptance = Acceptance(config, lambda: self.life.pipeline, clock)
        self._drivers_before = list(clock.world.drivers)

    def start(self) -> None:
        self.life.open()
        redis = self.life.redis
        self._acceptance.begin(self.life.opened.journal, redis and redis.publisher, reads_redis=self.life.reads_redis)
        self.life.begin()
        self.life.takes_readings = True

    def submit(self, frames: bytes, *, time: int, offsets: Any = None) -> "Future[int]":
        """Hand in frames (n * 10 bytes) of *time* ms; the future resolves once they are durable."""
        return self._acceptance.submit(frames, time, offsets)

    def stop(self) -> None:
        """Stop cleanly: what was accepted is committed."""
        if self.life.begin_stop():
            self._acceptance.stop()
            self.life.close()

    def vanish(self) -> None:
        """End as a killed process does: none of its loops runs on.  What it wrote stays in its folder, which it still holds open."""
        for driver in [each for each in self._clock.world.drivers if each not in self._drivers_before]:
            driver.end()

    def run_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Let the world go on until *holds* is true; False after *seconds*."""
        return self._clock.world.run_until(holds, seconds)

    def __enter__(self) -> "SimulatedNode":
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
