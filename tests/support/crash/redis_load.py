"""Senders of readings that live through the node's crashes, and what they know of what they sent."""
import random
import threading
import time
from pathlib import Path

import numpy as np

from corec.config import parse
from corec.publish import Publisher
from tests.support.crash.driver import frames_of


class Load(threading.Thread):
    """One publisher under varying load; it is closed and opened again now and then."""

    def __init__(self, config: dict, folder: Path, name: str, seed: int, pause: float = 0.05, restarts: bool = True) -> None:
        super().__init__(name=name)
        self._config, self._folder, self._seed = config, folder, seed
        self._pause, self._restarts = pause, restarts
        self._over = threading.Event()
        self.readings = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error

    def _run(self) -> None:
        rng, dice = np.random.default_rng(self._seed), random.Random(self._seed)
        entries = [entry for entry in self._config["bloques"] if "funcion" not in entry]
        while not self._over.is_set():
            with Publisher(parse(self._config), name=self.name, folder=self._folder) as publisher:
                end = time.monotonic() + dice.random() * 3
                while not self._over.is_set() and (time.monotonic() < end or not self._restarts):
                    for _ in range(dice.choice([1, 5, 40])):
                        frames = frames_of(rng, entries, dice.choice([1, 7, 50, 300]))
                        when = time.time_ns() // 1_000_000 - dice.choice([0, 0, 0, 100, 5000])
                        publisher.publish(frames, time=when, timeout=60)
                        self.readings += len(frames) // 10
                    time.sleep(dice.random() * self._pause)
                if self._over.is_set():
                    assert publisher.flush(60), publisher.sender.stats()

    def finish(self) -> None:
        """Send all that is kept, and end."""
        self._over.set()
        self.join(60)
        assert not self.is_alive()
        if self.failure:
            raise self.failure
