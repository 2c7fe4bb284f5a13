"""A source in a thread of its own: read, number, hand to the journal, wait for its next turn."""
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from corec.common.times import wall_ms
from corec.errors import CoreCError
from corec.sources.base import Source
from corec.streams.sending.producer import Producer

log = logging.getLogger(__name__)

#: A source that fails is tried again after this long, then twice as long, up to a minute.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class SourceRunner:
    """Runs one source until it is stopped; one that fails is tried again."""

    def __init__(self, submit: Callable[..., Any], source: Source, instance: str) -> None:
        """submit: as `Acceptance.submit`."""
        self._submit, self.source = submit, source
        self._producer = Producer(f"{instance}/{source.name}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source-{source.name}", daemon=True)
        self._began = time.monotonic()
        self.sent = 0
        self.problem = ""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the read on its way."""
        self._stop.set()
        self._thread.join(timeout=1.0)
        self.source.close()

    def status(self) -> dict[str, Any]:
        """Name, entities, rate and the last problem."""
        span = max(time.monotonic() - self._began, 1e-9)
        detail = self.problem or self.source.detail
        return {"name": self.source.name, "entities": self.source.entities, "per_s": self.sent / span, "detail": detail}

    def _run(self) -> None:
        pause, due = FIRST_PAUSE_S, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.source.interval, time.monotonic() - self.source.interval)
            try:
                self._read()
                pause, self.problem = FIRST_PAUSE_S, ""
            except CoreCError as error:
                self._complain(error.text)
                due, pause = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE_S)
            except Exception as error:
                self._complain(f"{type(error).__name__}: {error}")
                due, pause = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE_S)

    def _read(self) -> None:
        for batch in self.source.read(wall_ms()):
            frames = batch.frames()
            self._submit(frames, time=batch.time, offsets=batch.offsets, producer=self._producer)
            self.sent += batch.readings

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.error("[Source-%s] %s", self.source.name, problem)
        self.problem = problem
