"""Reads a source in a thread of its own, once per interval, and submits its readings."""
import logging
from collections.abc import Callable
from typing import Any

from corec.common.clock import Clock
from corec.common.retrying_thread import RetryingThread
from corec.errors import CoreCError, InputError
from corec.sources.base import Source
from corec.streams.sending.producer import Producer

log = logging.getLogger(__name__)


class SourceRunner(RetryingThread):
    """Runs one source until it is stopped."""

    join_s = 1.0
    #: Seconds before a source that fails is read again; each further pause is twice as long, up to the longest.
    first_pause_s, longest_pause_s = 1.0, 60.0

    def __init__(self, submit: Callable[..., Any], source: Source, instance: str, clock: Clock) -> None:
        super().__init__(f"source-{source.name}", f"Source-{source.name}", log, clock=clock)
        self._submit, self.source = submit, source
        self._producer = Producer(f"{instance}/{source.name}", clock)
        self._began = self._due = self._clock.steady_s()
        self.sent = 0

    def stop(self) -> None:
        """Stop after the read that is under way, and close the source."""
        super().stop()
        self.source.close()

    def status(self) -> dict[str, Any]:
        span = max(self._clock.steady_s() - self._began, 1e-9)
        detail = self.problem or self.source.detail
        return {"name": self.source.name, "entities": self.source.entities, "per_s": self.sent / span, "detail": detail}

    def _pass(self) -> None:
        if self._clock.wait(self._stop, max(0.0, self._due - self._clock.steady_s())):
            return
        self._due = max(self._due + self.source.interval, self._clock.steady_s() - self.source.interval)
        try:
            self._read()
        except CoreCError:
            raise
        except Exception as error:    # sources of others raise what they like
            raise InputError(f"{type(error).__name__}: {error}") from error
        self.problem = ""

    def _read(self) -> None:
        for batch in self.source.read(self._clock.wall_ms()):
            frames = batch.frames()
            self._submit(frames, time=batch.time, offsets=batch.offsets, producer=self._producer)
            self.sent += batch.readings

    def _failed(self, error: CoreCError) -> None:
        self.again_s = min(2 * self.again_s, self.longest_pause_s) if self.problem else self.first_pause_s
        self._due = self._clock.steady_s() + self.again_s
        if error.text != self.problem:
            self._log.error("[%s] %s", self._who, error.text)
        self.problem = error.text
