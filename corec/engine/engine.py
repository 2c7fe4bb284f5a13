"""The engine as programs and a node use it."""
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from corec._core.arena import Arena
from corec.config import Config
from corec.config.registered import RunningConfig
from corec.engine import columns
from corec.engine.audit import Audit
from corec.engine.closed_windows import keep_closed, may_open_from
from corec.engine.columns import FIRST_TIME, check_channel, check_frames, check_lengths, check_load, check_moment, check_time
from corec.engine.commands import apply_command, apply_commands, check_command
from corec.engine.ledger import as_counts, put_back
from corec.engine.open_turn import OpenTurn
from corec.engine.outcome import Outcome, describe_entity
from corec.engine.producer_marks import Marks
from corec.engine.snapshot import capture_state, pack_whole, read_meta, restore_state, unpack_whole
from corec.engine.state import LOAD_STEPS, VERSION, EngineState, Fusion, Mute


class Engine:
    """All entities of a configuration, and what folding readings into them gives.

    config: a path (file or folder), a mapping, or a Config.  Not safe for use by two threads at once; kernels
    release the GIL.

        engine = corec.Engine("configs/corec_config.json")
        outcome = engine.feed(frames, at=1_700_000_000_000)
    """

    def __init__(self, config: str | os.PathLike[str] | Mapping[str, Any] | Config, *, shard: int = 0) -> None:
        """shard: which of the configuration's `fragmentos` this is; it steps the native functions of its own blocks only."""
        self.state = EngineState(columns.read_config(config), shard)
        self._turn = OpenTurn(self.state)

    # --- feeding -------------------------------------------------------------------------------

    def feed(self, frames: Any, *, at: int, load: float = 0.0) -> Outcome:
        """Fold frames (bytes-like, n * 10) of time *at* (ms since 1970, or a datetime) at *load* (0..1).

        Raises FrameError when they are no whole frames or *at* is no time; single bad frames are counted in
        `outcome.rejected`.  *at* is both clocks: a later one closes what is over, an earlier one is a late arrival;
        `outcome.clock_jump` says when it is further than `max_skew` from the clock.
        """
        frames, at = check_frames(frames), check_time(at)
        turn = self._open(load)
        turn.note_jump(at)
        turn.advance(at)
        turn.fold(at, frames=frames)
        return turn.close()

    def feed_arrays(self, ids: Any, values: Any, *, at: Any, channel: int, load: float = 0.0, states: Any = None,
                    earliest: int = FIRST_TIME) -> Outcome:  # fmt: skip
        """Fold values (float32[n]) of ids (uint32[n]) on one *channel*.

        at: one time (ms or a datetime), or one for each reading.  states: bool[n], False where the sensor says it failed.
        earliest: ms; an earlier time is refused, as one in seconds.
        Other types are taken where they hold the same numbers; FrameError, and nothing is folded, where they do not.
        """
        batch = {"ids": columns.id_column(ids), "values": columns.value_column(values), "states": columns.state_column(states)}
        channel, times = check_channel(channel), columns.time_column(at, earliest)
        check_lengths(batch | {"at": times})
        newest = check_moment(at, earliest) if times is None else int(times.max(initial=0))
        turn = self._open(load)
        turn.note_jump(newest if times is None or len(times) else self.clock)
        if times is None:
            turn.advance(newest)
            turn.fold(newest, channel=channel, **batch)
        elif len(times):
            turn.fold_recording(times, channel=channel, **batch)
        return turn.close()

    def tick(self, at: int, *, load: float = 0.0) -> Outcome:
        """Let time go on to *at* (ms) without readings: windows close, silence shows, native functions step."""
        turn = self._open(load)
        turn.advance(check_time(at))
        return turn.close()

    def set_clock(self, at: int) -> Outcome:
        """Set the clock to *at* (ms), also back: what is open closes where it goes back, and silence knows nothing of it."""
        turn = self._open(self.load)
        turn.set_clock(check_time(at))
        return turn.close()

    def step(self, at: int, *, load: float = 0.0) -> Outcome:
        """One whole pass, at *at* (ms), over all entities with native functions."""
        turn = self._open(load)
        turn.advance(check_time(at), step=False)
        turn.step(list(self.state.intervals))
        return turn.close()

    def finish(self) -> Outcome:
        """Close every open window, whatever the time: the last rows of a recording."""
        turn = self._open(self.load)
        turn.close_all()
        return turn.close()

    def turn(self, batches: Iterable[tuple[bytes, int]], *, load_q: int = 0, commands: Sequence[Mapping[str, Any]] = (),
             tick: int = 0) -> Outcome:  # fmt: skip
        """One turn of a node: *commands* in order, then *batches* (envelope, arrival ms), then time goes on to *tick*.

        The same as begin_turn, fold_batches once or often, end_turn: where batches are cut makes no difference.
        """
        self.begin_turn(load_q, commands)
        self.fold_batches(batches)
        return self.end_turn(tick)

    def begin_turn(self, load_q: int = 0, commands: Sequence[Mapping[str, Any]] = ()) -> None:
        """Open a turn with *commands*; *load_q* is the load in steps of 1/255."""
        apply_commands(self._open(load_q / LOAD_STEPS), commands)

    def fold_batches(self, batches: Iterable[tuple[bytes, int]]) -> None:
        """Fold batches (envelope, arrival ms) into the open turn."""
        for envelope, arrival in batches:
            self._turn.fold_batch(envelope, arrival)

    def apply_command(self, command: Mapping[str, Any]) -> None:
        """Carry out one command in the open turn; UsageError when it is no longer possible."""
        apply_command(self._turn, command)

    def end_turn(self, tick: int = 0) -> Outcome:
        """Close the open turn, after time has gone on to *tick* ms (0: it has not)."""
        return self._turn.end(tick)

    def _open(self, load: float) -> OpenTurn:
        self.state.set_load(check_load(load))
        self._turn = OpenTurn(self.state)
        return self._turn

    # --- the open turn -------------------------------------------------------------------------

    @property
    def has_alerts(self) -> bool:
        """Whether the open turn raised an alert so far."""
        return self._turn.has_alerts

    def reached(self) -> dict[str, Any]:
        """Clock (ms) and newly moved marks of the open turn, for its record: a replay that lacks its batches gets there too."""
        return {"clock": self.clock, "marks": self.marks.take_fresh()}

    def check_command(self, command: Mapping[str, Any]) -> None:
        """UsageError when *command* could not be carried out as things stand."""
        check_command(self.state, command)

    # --- what it is made of --------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """As it runs, with blocks that were registered since it was read."""
        return self.state.config

    @property
    def running(self) -> RunningConfig:
        """The same, with quick answers to what registered blocks there are and whether one more fits."""
        return self.state.running

    @property
    def arena(self) -> Arena:
        """The memory of all entities; their tiles read as zero where `entities` has not woken them."""
        return self.state.arena

    @property
    def audit(self) -> Audit | None:
        """The anomaly scores; None where the configuration asks for none."""
        return self.state.audit

    @property
    def marks(self) -> Marks:
        """Which sequence number is expected next of each producer."""
        return self.state.marks

    @property
    def shard(self) -> int:
        """Which of the configuration's `fragmentos` this is."""
        return self.state.shard

    @property
    def load(self) -> float:
        """Of the newest turn, 0..1, in steps of 1/255."""
        return self.state.load

    @property
    def clock(self) -> int:
        """Arrival of the newest readings, ms."""
        return self.state.clock

    @property
    def clock_offset(self) -> int:
        """ms: the clock is the log's own stamp and this."""
        return self.state.clock_offset

    @property
    def arrived(self) -> int:
        """Readings that came so far: `ledger["in"]`."""
        return int(self.state.arena.ledger["arrived"][0])

    @property
    def clock_anchor(self) -> int:
        """The anchor of the log's stamps at the last `clock` command, 0 where none gave one."""
        return self.state.clock_anchor

    @property
    def has_refused_times(self) -> bool:
        """Whether readings are kept that were refused for their time."""
        return bool(self.state.refused)

    @property
    def cursor(self) -> dict[str, str]:
        """Stream -> last entry read, of logs whose own numbers are no counts."""
        return self.state.cursor

    @property
    def ledger(self) -> dict[str, int]:
        """Every reading that came, by what became of it.

        in == stored + filtered + late + shed + rejected, always.
        """
        return as_counts(self.arena.ledger[0])

    @property
    def shed_by(self) -> dict[str, dict[str, int]]:
        """Cause -> channel -> readings that were refused before they reached the log."""
        return self.state.shed_by

    # --- blocks and entities -------------------------------------------------------------------

    @property
    def blocks(self) -> np.ndarray:
        """`dtypes.BLOCK[blocks]`, read-only, no copy; `block_ids` names them."""
        view = self.arena.blocks
        view.flags.writeable = False
        return view

    @property
    def block_ids(self) -> tuple[str, ...]:
        """Names of the blocks, by index."""
        return self.state.block_ids

    @property
    def fusions(self) -> list[Fusion]:
        """Those that stand, in the order they were made."""
        return self.state.fusions

    @property
    def fused_into(self) -> dict[int, int]:
        """Index of each fused block -> its host's."""
        return self.state.fused_into()

    @property
    def mutes(self) -> list[Mute]:
        """Those that were not over at the last alert."""
        return self.state.mutes

    @property
    def entities(self) -> np.ndarray:
        """`dtypes.TILE[segments, 125]`: the live tiles, no copy; wakes what hibernates.

        Entity (segment, slot) is lane slot % 8 of tile [segment, slot // 8]; `locate(id)` gives both.
        """
        for segment in list(self.arena.frozen):
            self.state.keeper.wake(segment)
        return self.arena.tiles

    def entity(self, id: int) -> dict[str, Any]:
        """One entity in words and units, by its wire id; wakes it when it hibernates."""
        segment, slot = self.locate(id)
        self.state.keeper.wake(segment)
        return describe_entity(self.arena.tiles[segment, slot // 8], slot % 8)

    def locate(self, id: int) -> tuple[int, int]:
        """(segment, slot) of a wire id; KeyError when there is none."""
        return self.state.locate(id)

    def segments_of(self, block: int) -> tuple[int, int]:
        """(first, last + 1) segment of a block, as configured."""
        return self.state.segments_of(block)

    def configured_block_of(self, segment: int) -> int:
        """Index of the block that a segment belongs to as configured, whichever it counts in."""
        return self.state.configured_block_of(segment)

    # --- snapshots -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state in one checksummed piece."""
        return pack_whole(self.state)

    @classmethod
    def restore(cls, blob: bytes) -> "Engine":
        """The engine of which `snapshot` was taken.  DamagedFile when a byte of it changed."""
        return cls.assemble(*unpack_whole(blob))

    def snapshot_begin(self, *, whole: bool = False, owed: Collection[int] = ()) -> bytes:
        """Begin an incremental snapshot of this moment: all but the entities, which `snapshot_segments` gives.

        owed: segments of an earlier snapshot that never became durable.
        """
        meta = capture_state(self.state)
        self.state.keeper.begin(whole=whole, owed=owed)
        return meta

    def snapshot_segments(self, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(segment, compressed tiles) of up to *limit* segments that changed before `snapshot_begin`.

        Exhausted when the snapshot is whole.  A segment about to change is set aside first, so turns may go on.
        """
        return self.state.keeper.hand_out(limit)

    @property
    def snapshot_pending(self) -> int:
        """Segments that the running snapshot still has to hand out."""
        return self.state.keeper.pending

    @property
    def heard_segments(self) -> list[int]:
        """The segments of which an entity was heard."""
        return self.state.heard_segments()

    @classmethod
    def assemble(cls, meta: bytes, segments: Mapping[int, bytes]) -> "Engine":
        """The engine of an incremental snapshot: its meta and the newest piece of every segment."""
        saved = read_meta(meta)
        engine = cls(saved.running_config(), shard=saved.shard)
        restore_state(engine.state, saved, segments)
        return engine

    # --- recovery ------------------------------------------------------------------------------

    def take_clocks(self, other: "Engine") -> None:
        """Go on from another engine's time, counters, ledger, marks, and mutes of blocks that are still there."""
        self.state.take_clocks(other.state)

    def take_ledger(self, counts: Mapping[str, int]) -> None:
        """Go on counting from a ledger that was committed."""
        put_back(self.arena.ledger, counts)

    def take_over(self) -> bool:
        """The turns of an earlier CoreC are folded again: from now on the rules of this one hold.  False where there were none such."""
        earlier = self.state.rules < VERSION
        if earlier:
            self.state.fold_as(VERSION)
        return earlier

    @property
    def may_open_from(self) -> int:
        """ms: a window that starts earlier cannot open again, as its time is over."""
        return may_open_from(self.state)

    def keep_closed(self, blocks: np.ndarray, starts: np.ndarray) -> None:
        """Close the windows that began at *starts* (int64[n], ms) in *blocks* (indexes): readings before their end amend them."""
        keep_closed(self.state, blocks, starts)
