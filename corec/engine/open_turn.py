"""A turn while it is open: readings and time change the state, and what comes of them is gathered for the outcome."""
from collections.abc import Callable, Iterable, Sequence
from operator import add, sub
from typing import Any

import numpy as np

from corec._core import block as kernels
from corec._core import dtypes
from corec._core.wire import Envelope
from corec.common.times import iso
from corec.config import BlockEntry
from corec.engine.batches import accepted_part, is_numbered, sound_batch
from corec.engine.columns import LATEST_TIME, cut, picked, same_second, time_order
from corec.engine.ledger import CAUSES
from corec.engine.mutes import split_muted
from corec.engine.outcome import EVERY_BLOCK, Event, Outcome, PutAside, Refusal, RefusedPart, is_amending, restarts
from corec.engine.producer_marks import COUNTED
from corec.engine.repair import repair_sick
from corec.engine.state import EngineState

#: A larger step of the machine's clock (ms) is followed, and the history names it: rows of the time before may be of a wrong stretch.
STEP_MS = 2_000
_NOTHING = tuple(np.empty(0, dtype) for dtype in (dtypes.AGGREGATE, dtypes.MESSAGE, dtypes.ALERT))


class OpenTurn:
    """Changes *state* until `close` gives the outcome; one for each turn.

    Where batches are cut makes no difference: the same readings, commands and times give the same outcome.
    """

    def __init__(self, state: EngineState) -> None:
        self.state = state
        self._parts: list[tuple[np.ndarray, ...]] = []  # rows, messages and alerts, as the outlet gave them
        self._closed: list[np.ndarray] = []  # blocks whose windows closed since sick blocks were last repaired
        self._aside: list[PutAside] = []
        self._events: list[Event] = []
        self._refused: list[Refusal] = []
        self._reach: tuple[int, Sequence[Sequence[int]]] = (0, ())
        self._by_functions: tuple[int, ...] = ()  # counts of readings that functions gave while a batch was folded
        self._ledger_before = state.arena.ledger[0].copy()
        self._recovered = self._clock_jump = 0
        self._refusals: dict[tuple[str, int, int], RefusedPart] = {}

    # --- what happens in it --------------------------------------------------------------------

    def fold_batch(self, envelope: bytes, stamp: int) -> None:
        """Fold an envelope that the log stamped with *stamp* (ms), and note for its producer what became of its readings."""
        state, arena = self.state, self.state.arena
        before, self._by_functions = arena.became(), ()
        batch = sound_batch(state, envelope)
        if batch is None:
            self._note_refused(0, 0, tuple(map(sub, arena.became(), before)), envelope, stamp)
            return
        if arena.two_windows:
            self._fold_by_event_time(batch, stamp)
        else:
            self._fold_by_arrival(batch, stamp + state.clock_offset)
        became = tuple(map(sub, arena.became(), before))
        if self._by_functions:
            became = tuple(map(sub, became, self._by_functions))
        if any(became[1:-1]):
            self._note_refused(batch.producer, batch.epoch, became, envelope, stamp + state.clock_offset)
        if is_numbered(batch):
            state.marks.settle(batch.producer, batch.epoch, batch.sequence, batch.count, became)

    def _note_refused(self, producer: int, epoch: int, became: tuple[int, ...], envelope: bytes, arrival: int) -> None:
        """Note whose readings were refused.  became: counts in the order of COUNTED."""
        for cause, readings in zip(COUNTED, became, strict=True):
            if readings and cause not in ("taken", "repeated"):
                known = self._refusals.get((cause, producer, epoch)) or RefusedPart(cause, producer, epoch, 0, envelope, arrival)
                self._refusals[cause, producer, epoch] = known._replace(readings=known.readings + readings)

    def _fold_by_arrival(self, batch: Envelope, arrival: int) -> None:
        """Fold a batch in the order of its readings' times."""
        accepted = accepted_part(self.state, batch, arrival)
        if accepted is None:
            return
        self._advance_for_batch(arrival)
        self._aside += accepted.aside
        if accepted.refused:
            self.state.refused.keep(accepted.refused._replace(tick=self.state.arena.tick))
        if len(accepted.frames):
            self._fold_in_order(accepted.time, accepted.frames, accepted.offsets)

    def _fold_in_order(self, time: int, frames: bytes, offsets: np.ndarray | None) -> None:
        """Fold readings in the order of their times."""
        batch = {"frames": frames}
        if offsets is not None and (order := time_order(offsets)) is not None:
            offsets, batch = offsets[order], picked(batch, order)
        self.fold(time, offsets=offsets, **batch)

    def _fold_refused(self) -> None:
        """Fold what was refused for its time and is possible by the clock as it is now; count it as what it becomes."""
        state, clock = self.state, self.state.clock
        for batch in state.refused.take_possible(clock - state.max_skew, clock + state.max_lead, state.arena.tick):
            before = state.arena.became()
            state.take_back("skew", batch.readings)
            self._fold_in_order(batch.time, batch.frames, batch.offsets)
            self._recovered += batch.readings
            state.marks.correct(batch.producer, batch.epoch, tuple(map(sub, state.arena.became(), before)))

    def _fold_by_event_time(self, batch: Envelope, arrival: int) -> None:
        """Fold a batch of an earlier CoreC, whose clock was the largest event time, and which put whole batches aside."""
        accepted = accepted_part(self.state, batch, arrival, whole=True)
        if accepted is None:
            return
        self._aside += accepted.aside
        if not len(accepted.frames):
            return
        if accepted.offsets is None:
            self._advance_for_batch(accepted.time)
            self.fold(accepted.time, frames=accepted.frames)
            return
        times = accepted.time + accepted.offsets.astype(np.int64)
        for run in same_second(times):
            newest = int(times[run].max())
            self._advance_for_batch(newest)
            self.fold(newest, offsets=(times[run] - newest).astype(np.int32), **cut({"frames": accepted.frames}, run))

    def _advance_for_batch(self, now: int) -> None:
        """Let time go on as a batch asks; what functions give meanwhile is not its producer's."""
        if not self.state.intervals:
            self.advance(now)
            return
        before = self.state.arena.became()
        self.advance(now)
        by_functions = tuple(map(sub, self.state.arena.became(), before))
        self._by_functions = tuple(map(add, self._by_functions, by_functions)) if self._by_functions else by_functions

    def note_jump(self, at: int) -> None:
        """Have the outcome say where *at* (ms) is further than `max_skew` from the clock; call it before time goes on."""
        jump = at - self.state.clock
        if self.state.clock and abs(jump) > self.state.max_skew:
            self._clock_jump = jump

    def fold_recording(self, times: np.ndarray, **batch: Any) -> None:
        """Fold readings that arrive when they say (int64[n], ms), in the order of their times: the clock goes on with them.

        batch: ids, values, states and channel, checked already (columns.py).
        """
        if (order := time_order(times)) is not None:
            times, batch = times[order], picked(batch, order)
        for run in same_second(times):
            newest = int(times[run][-1])
            self.advance(newest)
            self.fold(newest, offsets=(times[run] - newest).astype(np.int32), **cut(batch, run))

    def fold(self, time: int, *, frames: Any = None, ids: Any = None, values: Any = None, states: Any = None, channel: int = 0,
             offsets: np.ndarray | None = None) -> None:  # fmt: skip
        """Fold readings of *time* ms, or of *offsets* (int32[n], ms) from it, that arrive at the clock's present time."""
        if frames is not None:
            self._run(kernels.fold_frames, frames, time, offsets)
        else:
            self._run(kernels.fold_values, ids, values, channel, time, states, offsets)

    def advance(self, now: int, *, step: bool = True) -> None:
        """Let time go on to *now* ms of arrival, never back.

        Silence shows, windows close, idle segments hibernate, and with *step* functions run.
        """
        state, arena = self.state, self.state.arena
        second, watermark = arena.tick, arena.watermark
        if now <= arena.clock:
            return
        arena.advance(now, state.lateness)
        if arena.tick != second:
            self._run(kernels.sweep, second)
            state.keeper.hibernate(state.config.hibernar_tras)
        passed = any(arena.watermark // length != watermark // length for length in state.window_lengths)
        if passed or arena.next_close <= now:
            self._close_windows(arena.watermark)
        if step and state.intervals:
            self.step([entry for entry, interval in state.intervals.items() if now - state.stepped_at.get(entry, 0) >= interval])

    def set_clock(self, to: int, offset: int = 0, anchor: int = 0, was: int | None = None) -> None:
        """Set the clock to *to* ms, also back; from now on it is the log's stamp, which has this *anchor*, and *offset* (ms).

        was: what it would be without the step, where it has followed that already; for the history.
        What is open closes where time goes back.  Silence, repairs and intervals know nothing of it.  What was refused for its
        time because the clock was wrong is folded.
        """
        state, arena = self.state, self.state.arena
        was = arena.clock if was is None else was
        if was and abs(to - was) > STEP_MS:
            self.note([Event(min(to, was), EVERY_BLOCK, "clock", reason=f"set from {iso(was)[:-4]} to {iso(to)[:-4]}")])
        if to < arena.clock:
            self._close_windows(LATEST_TIME)
        state.stepped_at = {entry: at + to - arena.clock for entry, at in state.stepped_at.items()}
        state.clock_offset, state.clock_anchor = offset, anchor
        arena.set_clock(to)
        self._close_windows(arena.watermark)
        self._fold_refused()

    def step(self, entries: Sequence[int]) -> None:
        """One pass over the entities of *entries* (indexes), which have native functions."""
        if not entries:
            return
        state, functions = self.state, self.state.arena.functions
        state.stepped_at.update(dict.fromkeys(entries, state.clock))
        sines = functions["kind"] == dtypes.FUNCTION_SINE
        turns = np.divide(state.clock, functions["period_ms"], where=sines, out=np.zeros(len(functions)))
        functions["phase"] = ((turns % 1.0) * 2.0**32).astype(np.uint64).astype(np.uint32)
        self._run(kernels.step_segments, state.topology.stepped_of(entries, state.shard))
        kernels.count_step(state.arena)

    def close_all(self) -> None:
        """Close every open window, whatever the time."""
        self._close_windows(LATEST_TIME)

    def attach(self, entry: BlockEntry) -> None:
        """Take in one more entry, behind all others."""
        self._drain()
        self.state.attach(entry)

    def note(self, events: Iterable[Event]) -> None:
        """Put *events* into the outcome."""
        self._events += events

    def refuse(self, refusal: Refusal) -> None:
        """Put a refused command into the outcome."""
        self._refused.append(refusal)

    def note_reach(self, clock: int, marks: Sequence[Sequence[int]]) -> None:
        """Let the turn end at *clock* (ms) and *marks* at least, as it did when it was folded first (`Engine.reached`).

        A replay that cannot read its batches again ends there too.
        """
        self._reach = clock, marks

    # --- its end -------------------------------------------------------------------------------

    @property
    def has_alerts(self) -> bool:
        """Whether an alert was raised so far."""
        return self.state.outlet.alerts > 0 or any(len(alerts) for _, _, alerts in self._parts)

    def end(self, tick: int) -> Outcome:
        """Close the turn after time has gone on to *tick* ms, or as far as `note_reach` asks."""
        clock, marks = self._reach
        self.state.marks.raise_to(marks)
        self.advance(max(clock, tick))
        return self.close()

    def close(self) -> Outcome:
        """What came of the turn; blocks in which too much fails are repaired first."""
        self._drain()
        self._repair_sick()
        state, before = self.state, self._ledger_before
        rows, messages, alerts = (_joined(arrays) for arrays in zip(*self._parts, strict=True)) if self._parts else _NOTHING
        if state.audit and len(rows):
            rows, alerts = state.audit.judge(rows, alerts)
        now = state.arena.ledger[0]
        refused = {cause: int(now[cause]) - int(before[cause]) for cause in CAUSES}
        refused["skew"] += self._recovered
        rejected = {cause: readings for cause, readings in refused.items() if readings}
        events = [*self._events, *restarts(alerts, state.clock)]
        alerts, muted = split_muted(state, alerts)
        late = int(now["late"] - before["late"])
        return Outcome(rows, messages, alerts, rejected, late, self._aside, events, self._refused, muted, self._recovered,
                       [*self._refusals.values()], self._clock_jump)  # fmt: skip

    # --- kernels -------------------------------------------------------------------------------

    def _run(self, kernel: Callable[..., tuple[int, int, int]], *arguments: Any) -> None:
        """Run a kernel to its end; where it stops, make room for its results or its segment ready to be written to."""
        start = 0
        while True:
            start, stop, segment = kernel(self.state.arena, self.state.outlet, *arguments, start=start)
            if stop == kernels.DONE:
                return
            if stop == kernels.ATTENTION:
                self.state.keeper.settle(segment)
            elif stop == kernels.EVENTS:
                self.state.arena.make_events(segment)
            else:
                self._drain()

    def _close_windows(self, until: int) -> None:
        """Close every window that ends by *until* (ms), and repair the blocks whose windows showed too many failures."""
        self._drain()
        kernels.close_windows(self.state.arena, self.state.outlet, until)
        self._drain()
        self._repair_sick()

    def _drain(self) -> None:
        if self.state.outlet.empty:
            return
        part = self.state.outlet.take()
        self._parts.append(part)
        rows = part[0]
        self._closed.append(rows["block"][~is_amending(rows)])

    def _repair_sick(self) -> None:
        closed, self._closed = self._closed, []
        self._events += repair_sick(self.state, closed)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
