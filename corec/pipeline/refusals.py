"""Whose readings were refused, and why: one line of the log a minute and cause."""
import logging
from typing import NamedTuple

import numpy as np

from corec._core.wire import FRAME, Envelope, unpack_envelope
from corec.common.clock import MACHINE, Clock
from corec.common.text import counted
from corec.engine import Engine
from corec.engine.outcome import Outcome, RefusedPart
from corec.errors import DamagedBatch
from corec.streams.sending.receipt import MEANINGS

log = logging.getLogger("corec.node.refused")

#: Seconds between two lines about one cause, at least.
EVERY_S = 60.0
#: Devices of a batch that are looked at for the one to name.
MOST_LOOKED_AT = 1000


class Unlogged(NamedTuple):
    """Refused readings since the last line about their cause."""

    readings: int
    first: RefusedPart
    senders: set[tuple[int, int]]


class RefusalLog:
    """Gathers what turns refuse.  Used by the thread that drives the pipeline."""

    def __init__(self, instance: str, clock: Clock = MACHINE, *, every_s: float = EVERY_S) -> None:
        self._instance, self._clock, self._every = instance, clock, every_s
        self._due: dict[str, float] = {}
        self._unlogged: dict[str, Unlogged] = {}

    def note(self, engine: Engine, outcome: Outcome) -> None:
        """Take in what a turn refused, and write the lines that are due; also one about what was refused before and counts now."""
        if outcome.recovered:
            log.warning("[Refused-%s] %s that were put aside for their time count now that the clock is right", self._instance,
                        counted(outcome.recovered, "reading"))  # fmt: skip
        for part in outcome.refusals:
            known = self._unlogged.get(part.cause) or Unlogged(0, part, set())
            known.senders.add((part.producer, part.epoch))
            self._unlogged[part.cause] = known._replace(readings=known.readings + part.readings)
        now = self._clock.steady_s()
        for cause in [cause for cause in self._unlogged if now >= self._due.get(cause, 0.0)]:
            self._due[cause] = now + self._every
            self._write(engine, self._unlogged.pop(cause))

    def _write(self, engine: Engine, what: Unlogged) -> None:
        cause, others = what.first.cause, len(what.senders) - 1
        more = f", and others of {counted(others, 'more sender')}" if others else ""
        log.warning("[Refused-%s] %s refused as %r, %s: %s%s", self._instance, counted(what.readings, "reading"), cause, MEANINGS[cause],
                    who(engine, what.first), more)  # fmt: skip


def who(engine: Engine, part: RefusedPart) -> str:
    """The first refused reading of a batch as text: its device and its time, and the batch's producer where it has one."""
    producer = f" of producer {part.producer}" if part.producer else ""
    try:
        batch = unpack_envelope(part.envelope)
    except DamagedBatch as error:
        return f"a batch of {len(part.envelope):,} bytes: {error.text}"
    row = _first_refused(engine, batch, part)
    if row is None:
        return f"a batch{producer}"
    off = (batch.time + (0 if batch.offsets is None else int(batch.offsets[row])) - part.arrival) / 1000
    when = f", whose time is {abs(off):,.0f} s {'ahead' if off > 0 else 'ago'}" if part.cause in ("skew", "late") else ""
    return f"device {_ids(batch)[row]}{producer}{when}"


def _first_refused(engine: Engine, batch: Envelope, part: RefusedPart) -> int | None:
    """Index of the first reading in a batch that is refused for the cause of *part*, as far as they are looked at."""
    frames, state = np.frombuffer(batch.frames, FRAME), engine.state
    ago = part.arrival - batch.time - (np.zeros(len(frames), np.int64) if batch.offsets is None else batch.offsets.astype(np.int64))
    if part.cause == "skew":
        found = (ago > state.max_skew + batch.age) | (-ago > state.max_lead)
    elif part.cause == "late":
        found = ago > state.keep_ms
    elif part.cause == "malformed":
        found = frames["estado"].view(np.uint8) > 1
    else:
        channels = [_channel_of(engine, id) for id in frames["id"][:MOST_LOOKED_AT].tolist()]
        found = np.array([channel is None if part.cause == "id" else channel not in (None, given)
                          for channel, given in zip(channels, frames["canal"].tolist(), strict=False)], bool)  # fmt: skip
    rows = np.flatnonzero(found)
    return int(rows[0]) if len(rows) else None


def _channel_of(engine: Engine, id: int) -> int | None:
    """The channel that readings of an id come on; None where no block has it."""
    try:
        segment, _ = engine.locate(id)
    except KeyError:
        return None
    return int(engine.blocks["canal"][engine.configured_block_of(segment)])


def _ids(batch: Envelope) -> np.ndarray:
    return np.frombuffer(batch.frames, FRAME)["id"]
