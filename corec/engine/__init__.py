"""(state, turn) -> (state, outcome): deterministic, without I/O, without a clock of its own.

Everything but readings that changes state comes in a turn: load, commands, time.  The same turns over the
same readings give the same state and the same outcomes, bit for bit.
"""
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from corec._core import block, dtypes
from corec.config import Config
from corec.engine import columns, topology
from corec.engine.audit import audit_of
from corec.engine.batches import sift
from corec.engine.columns import LATEST_TIME, check_channel, check_frames, check_lengths, check_load, check_time, cut, same_second
from corec.engine.commands import apply_command
from corec.engine.describe import describe
from corec.engine.fusion import Fusion
from corec.engine.ledger import CAUSES, added, as_counts, count, put_back
from corec.engine.mutes import Mute, parted
from corec.engine.outcome import Event, Outcome, PutAside, Refusal, restarts
from corec.engine.producer_marks import Marks
from corec.engine.repair import repair_sick
from corec.engine.snapshot import SegmentKeeper, assemble_state, capture_state, pack_whole, unpack_whole
from corec.errors import UsageError

#: Load is kept in 255 steps, so that a turn record can give it back exactly.
LOAD_STEPS = 255


class Engine:
    """All entities of a configuration, and what folding readings into them gives.

    config: a path (file or folder), a mapping, or a Config.  Not safe for use by two threads at once; kernels
    release the GIL.

        engine = corec.Engine("configs/corec_config.json")
        outcome = engine.feed(frames, at=1_700_000_000_000)
    """

    def __init__(self, config: str | os.PathLike[str] | Mapping[str, Any] | Config, *, shard: int = 0) -> None:
        """shard: which of the configuration's `fragmentos` this is; it steps the native functions of its own blocks only."""
        self._set_config(columns.read_config(config))
        self.shard = shard
        built = topology.build(self.config)
        self.arena, self.block_ids, self._topology = built.arena, built.block_ids, built
        self.marks = Marks()
        self.fusions: list[Fusion] = []  # that stand, in the order they were made
        self.mutes: list[Mute] = []
        self.audit = audit_of(self.config, built)
        self._outlet = block.Outlet(len(self.block_ids))
        self._keeper = SegmentKeeper(self.arena)
        self.shed_by: dict[str, dict[str, int]] = {}  # cause -> channel -> readings, as far as commands said
        self.cursor: dict[str, str] = {}  # stream -> last entry read, where offsets do not say it
        self._stepped_at: dict[int, int] = {}  # entry -> ms of its last pass
        self._begin()

    def _set_config(self, config: Config) -> None:
        self.config = config
        self.lateness = round(config.retraso_max * 1000)
        self.max_skew, self.max_lead = config.max_skew * 1000, config.max_adelanto * 1000
        # 1,000: windows that an earlier configuration opened close within a second too
        self._window_lengths = sorted({1000, *(round(entry.ventana * 1000) for entry in config.bloques)})
        self._intervals = {index: round(entry.intervalo * 1000) for index, entry in enumerate(config.bloques) if entry.funcion}

    # --- feeding -------------------------------------------------------------------------------

    def feed(self, frames: Any, *, at: int, load: float = 0.0) -> Outcome:
        """Fold frames (bytes-like, n * 10) of time *at* (ms since 1970) at *load* (0..1).

        Raises FrameError when they are no whole frames or *at* is no time; single bad frames are counted in
        `outcome.rejected`.
        """
        frames, at = check_frames(frames), check_time(at)
        self._open(load)
        self._fold(at, frames=frames)
        return self._close()

    def feed_arrays(self, ids: Any, values: Any, *, at: Any, channel: int, load: float = 0.0, states: Any = None) -> Outcome:
        """Fold values (float32[n]) of ids (uint32[n]) on one *channel*.

        at: one time in ms, or int64[n], one for each reading.  states: bool[n], False where the sensor says it failed.
        Other types are taken where they hold the same numbers; FrameError, and nothing is folded, where they do not.
        """
        batch = {"ids": columns.id_column(ids), "values": columns.value_column(values), "states": columns.state_column(states)}
        channel, times = check_channel(channel), columns.time_column(at)
        check_lengths(batch | {"at": times})
        newest = check_time(at if times is None else times.max(initial=0))
        self._open(load)
        if times is None or len(times):
            self._fold(newest, channel=channel, offsets=None if times is None else times - newest, **batch)
        return self._close()

    def tick(self, at: int, *, load: float = 0.0) -> Outcome:
        """Let time go on to *at* (ms) without readings: windows close, silence shows, native functions step."""
        self._open(load)
        self._advance(check_time(at))
        return self._close()

    def step(self, at: int, *, load: float = 0.0) -> Outcome:
        """One whole pass, at *at* (ms), over all entities with native functions."""
        self._open(load)
        self._advance(check_time(at), step=False)
        self._step(list(self._intervals))
        return self._close()

    def finish(self) -> Outcome:
        """Close every open window, whatever the time: the last rows of a recording."""
        self._open(self.load)
        self.close_all()
        return self._close()

    def turn(self, batches: Iterable[tuple[bytes, int]], *, load_q: int = 0, commands: Sequence[Mapping[str, Any]] = (),
             tick: int = 0) -> Outcome:
        """One turn of a node: *commands* in order, then *batches* (envelope, arrival ms), then time goes on to *tick*.

        The same as begin_turn, fold_batches once or often, end_turn: where batches are cut makes no difference.
        """
        self.begin_turn(load_q, commands)
        self.fold_batches(batches)
        return self.end_turn(tick)

    def begin_turn(self, load_q: int = 0, commands: Sequence[Mapping[str, Any]] = ()) -> None:
        """Open a turn; *load_q* is the load in steps of 1/255."""
        self._open(load_q / LOAD_STEPS)
        for number, command in enumerate(commands):
            try:
                apply_command(self, command)
            except UsageError as error:
                self._refused.append(Refusal(number, error.text, error.hint))

    def fold_batches(self, batches: Iterable[tuple[bytes, int]]) -> None:
        """Fold batches (envelope, arrival ms) into the open turn."""
        for envelope, arrival in batches:
            if part := sift(self, envelope, arrival):
                self._fold(part.time, frames=part.frames, offsets=part.offsets)

    def end_turn(self, tick: int = 0) -> Outcome:
        """Close the open turn, after time has gone on to *tick* ms (0: it has not)."""
        clock, marks = self._reaches
        self.marks.raise_to(marks)
        self._advance(max(clock, tick))
        return self._close()

    def reached(self) -> dict[str, Any]:
        """How far the open turn has come, for its record: a replay that cannot read its batches again gets there too."""
        return {"clock": self.clock, "marks": self.marks.take_fresh()}

    def reaches(self, clock: int, marks: Sequence[Sequence[int]]) -> None:
        """What `reached` gave of the open turn when it was folded first: its end sees to what its batches have not said."""
        self._reaches = clock, marks

    @property
    def has_alerts(self) -> bool:
        """Whether the open turn raised an alert so far."""
        return self._outlet.alerts > 0 or any(len(part[2]) for part in self._parts)

    # --- the state, as others may look at it ---------------------------------------------------

    @property
    def entities(self) -> np.ndarray:
        """`dtypes.TILE[segments, 125]`: the live tiles, no copy; wakes what hibernates.

        Entity (segment, slot) is lane slot % 8 of tile [segment, slot // 8]; `locate(id)` gives both.
        """
        for segment in list(self.arena.frozen):
            self._keeper.thaw(segment)
        return self.arena.tiles

    def locate(self, id: int) -> tuple[int, int]:
        """(segment, slot) of a wire id; KeyError when there is none."""
        return self.arena.locate(columns.check_id(id))

    def entity(self, id: int) -> dict[str, Any]:
        """Everything known of one entity, by its wire id; wakes it when it hibernates."""
        segment, slot = self.locate(id)
        if segment in self.arena.frozen:
            self._keeper.thaw(segment)
        return describe(self.arena.tiles[segment, slot // 8], slot % 8)

    @property
    def blocks(self) -> np.ndarray:
        """`dtypes.BLOCK[blocks]`, read-only, no copy; `block_ids` names them."""
        view = self.arena.blocks
        view.flags.writeable = False
        return view

    @property
    def clock(self) -> int:
        """Largest accepted time, ms."""
        return self.arena.clock

    @property
    def ledger(self) -> dict[str, int]:
        """Every reading that came, by what became of it.

        in == stored + filtered + late + shed + rejected, always.
        """
        return as_counts(self.arena.ledger[0])

    # --- snapshots -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state in one checksummed piece."""
        return pack_whole(capture_state(self), {segment: self._keeper.packed(segment) for segment in self.heard_segments})

    @classmethod
    def restore(cls, blob: bytes) -> "Engine":
        """The engine of which `snapshot` was taken.  DamagedFile when a byte of it changed."""
        return cls.assemble(*unpack_whole(blob))

    def snapshot_begin(self, *, whole: bool = False, owed: Collection[int] = ()) -> bytes:
        """Begin an incremental snapshot of this moment: all but the entities, which `snapshot_segments` gives.

        owed: segments of an earlier snapshot that never became durable.
        """
        meta = capture_state(self)
        self._keeper.begin(whole=whole, owed=owed)
        return meta

    def snapshot_segments(self, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(segment, compressed tiles) of up to *limit* segments that changed before `snapshot_begin`.

        Exhausted when the snapshot is whole.  A segment about to change is set aside first, so turns may go on.
        """
        return self._keeper.hand_out(limit)

    @property
    def heard_segments(self) -> list[int]:
        """The segments that hold anything at all."""
        return np.flatnonzero(self.arena.segments["flags"] & 1).tolist()

    @property
    def snapshot_pending(self) -> int:
        """Segments that the running snapshot still has to hand out."""
        return self._keeper.pending

    @classmethod
    def assemble(cls, meta: bytes, segments: Mapping[int, bytes]) -> "Engine":
        """The engine of an incremental snapshot: its meta and the newest piece of every segment."""
        return assemble_state(cls, meta, segments)

    def restore_segments(self, segments: Mapping[int, bytes]) -> None:
        """Put tiles back as a snapshot has them."""
        self._keeper.restore(segments)

    # --- a turn from the inside ----------------------------------------------------------------

    def reload(self, config: Config) -> None:
        """Take over what may change while running: filters, limits, windows, lateness, intervals."""
        units = self.arena.policies["tick_shift"].copy()
        self._set_config(config)
        self._topology.set_policies(config)
        self.audit = audit_of(config, self._topology, self.audit)
        for segment in topology.counted_otherwise(self.arena, units):
            self._keeper.settle(segment)
            topology.restamp(self.arena, segment, units)
        self._set_load(self.load)

    def attach(self, config: Config) -> None:
        """Take over *config*, which has one more entry, at its end: a block that was registered while running."""
        self._drain()
        self._set_config(config)
        self._topology.attach(config.bloques[-1], config.fragmentos)
        self.block_ids = self._topology.block_ids
        self.audit = audit_of(config, self._topology, self.audit)
        self._outlet = block.Outlet(len(self.block_ids))
        self._keeper.refresh()
        self._set_load(self.load)

    def segments_of(self, index: int) -> tuple[int, int]:
        """(first, last + 1) segment of a block, as configured."""
        first, last = self._topology.first_segment[index : index + 2]
        return int(first), int(last)

    def home_of(self, segment: int) -> int:
        """The block that a segment belongs to as configured, whichever it counts in."""
        return int(np.searchsorted(self._topology.first_segment, segment, "right")) - 1

    def take_clocks(self, other: "Engine") -> None:
        """Go on from another engine's time, counters, ledger, marks, and mutes of blocks that are still there."""
        self.arena.advance(other.clock, self.lateness)
        self.arena.counters = other.arena.counters
        self.arena.ledger[:] = other.arena.ledger
        self.mutes = [mute for mute in other.mutes if isinstance(mute.subject, int) or mute.subject in self.block_ids]
        self.marks, self.cursor, self._stepped_at, self.shed_by = other.marks, other.cursor, other._stepped_at, other.shed_by

    def advance(self, to: int) -> None:
        """Let time go on to *to* ms within a turn."""
        self._advance(to)

    def close_all(self) -> None:
        """Close every open window, whatever the time."""
        self._close_windows(LATEST_TIME)

    def take_ledger(self, counts: Mapping[str, int]) -> None:
        """Go on counting from a ledger that was committed."""
        put_back(self.arena.ledger, counts)

    def count_shed(self, readings: int, by: Mapping[str, Mapping[str, int]]) -> None:
        """Count readings that were refused before they reached the log; by: cause -> channel -> how many."""
        self.shed_by = added(self.shed_by, by)
        count(self.arena.ledger, "shed", readings)

    def _open(self, load: float) -> None:
        load = check_load(load)
        self._begin()
        self._set_load(load)

    def _begin(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._closed: list[np.ndarray] = []
        self._aside: list[PutAside] = []
        self._events: list[Event] = []
        self._refused: list[Refusal] = []
        self._reaches: tuple[int, Sequence[Sequence[int]]] = (0, ())
        self._counts = self.arena.ledger[0].copy()
        self.load = 0.0

    def _set_load(self, load: float) -> None:
        self.load = round(load * LOAD_STEPS) / LOAD_STEPS
        constants = np.array([entry.filtro.carga for entry in self.config.bloques], np.float32)
        self.arena.policies["gain"] = (1 + constants * np.float32(self.load)) / np.float32(256)

    def _close(self) -> Outcome:
        self._drain()
        self._repair_sick()
        rows, messages, alerts = (_joined(arrays) for arrays in zip(*self._parts, strict=True)) if self._parts else _NOTHING
        if self.audit and len(rows):
            rows, alerts = self.audit.judge(rows, alerts)
        before, now = self._counts, self.arena.ledger[0]
        rejected = {cause: int(now[cause] - before[cause]) for cause in CAUSES if now[cause] != before[cause]}
        events = [*self._events, *restarts(alerts, self.clock)]
        alerts, muted = parted(self, alerts)
        return Outcome(rows, messages, alerts, rejected, int(now["late"] - before["late"]), self._aside, events, self._refused, muted)

    def _drain(self) -> None:
        """Empty the outlet."""
        if self._outlet.empty:
            return
        part = self._outlet.take()
        self._parts.append(part)
        self._closed.append(part[0]["block"])

    def _repair_sick(self) -> None:
        closed, self._closed = self._closed, []
        repair_sick(self, closed)

    def _advance(self, now: int, *, step: bool = True) -> None:
        """Move the clock: mark what fell silent, close what is over, hibernate what sleeps, step what is due."""
        second, watermark = self.arena.tick, self.arena.watermark
        if now <= self.clock:
            return
        self.arena.advance(now, self.lateness)
        if self.arena.tick != second:
            self._run(block.sweep, second)
            self._keeper.hibernate(self.config.hibernar_tras)
        if any(self.arena.watermark // length != watermark // length for length in self._window_lengths):
            self._close_windows(self.arena.watermark)
        if step and self._intervals:
            self._step([entry for entry, interval in self._intervals.items() if now - self._stepped_at.get(entry, 0) >= interval])

    def _close_windows(self, until: int) -> None:
        self._drain()
        block.close_windows(self.arena, self._outlet, until)
        self._drain()
        self._repair_sick()

    def _step(self, entries: list[int]) -> None:
        """One pass over the entities of these entries, which have native functions."""
        if not entries:
            return
        self._stepped_at.update(dict.fromkeys(entries, self.clock))
        functions = self.arena.functions
        sines = functions["kind"] == topology.KINDS["sine"]
        turns = np.divide(self.clock, functions["period_ms"], where=sines, out=np.zeros(len(functions)))
        functions["phase"] = ((turns % 1.0) * 2.0**32).astype(np.uint64).astype(np.uint32)
        self._run(block.step_segments, self._topology.stepped_of(entries, self.shard))
        block.count_step(self.arena)

    def _run(self, kernel: Any, *arguments: Any) -> None:
        """Run a kernel to its end, seeing to whatever stops it."""
        start = 0
        while True:
            start, stop, segment = kernel(self.arena, self._outlet, *arguments, start=start)
            if stop == block.DONE:
                return
            if stop == block.ATTENTION:
                self._keeper.settle(segment)
            else:
                self._drain()

    def _fold(self, time: int, *, offsets: np.ndarray | None = None, **batch: Any) -> None:
        if offsets is None:
            self._advance(time)
            self._fold_one(time, **batch)
            return
        for run in same_second(time + offsets.astype(np.int64)):
            newest = int((time + offsets[run].astype(np.int64)).max())
            self._advance(newest)
            piece = (time - newest) + offsets[run].astype(np.int64)
            self._fold_one(newest, offsets=piece.astype(np.int32), **cut(batch, run))

    def _fold_one(self, time: int, *, frames: Any = None, ids: Any = None, values: Any = None, states: Any = None,
                  channel: int = 0, offsets: Any = None) -> None:
        if frames is not None:
            self._run(block.fold_frames, frames, time, offsets)
        else:
            self._run(block.fold_values, ids, values, channel, time, states, offsets)


_NOTHING = tuple(np.empty(0, dtype) for dtype in (dtypes.AGGREGATE, dtypes.MESSAGE, dtypes.ALERT))


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
