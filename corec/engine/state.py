"""The state of an engine between two turns, and what several of the files that change it need together."""
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from corec._core.block import Outlet
from corec._core.dtypes import ROLE_SCALE_ONE, SEGMENT_HEARD
from corec.config import BlockEntry, Config
from corec.config.registered import RunningConfig
from corec.engine import topology
from corec.engine.audit import audit_of
from corec.engine.columns import check_id
from corec.engine.ledger import added, count, take_back
from corec.engine.producer_marks import Marks
from corec.engine.refused_times import RefusedTimes
from corec.engine.segment_keeper import SegmentKeeper
from corec.errors import UsageError

#: Of snapshots, and of the rules by which readings are folded.
#: 2: open windows beside the two of a block, event columns behind tiles, and a clock that can be set.
#: 3: scores of blocks by two fast means; the step of the slow clock falls faster than 1/n.
VERSION = 3
#: Load is kept in 255 steps, so that a turn record can give it back exactly.
LOAD_STEPS = 255
#: Windows are looked at this often at least, ms: also those close in time that an earlier configuration opened.
LEAST_WINDOW_CHECK_MS = 1000


class Fusion(NamedTuple):
    """A block that joined another, and what it takes to undo that."""

    time: int  # ms
    block: int  # index
    host: int  # index
    segments: tuple[int, ...]  # that moved


class Mute(NamedTuple):
    """Until when no alert of a block (its id) or of an entity (its wire id) is reported, and why."""

    subject: str | int
    until: int  # ms
    why: str


class EngineState:
    """Arena, topology and all else that a snapshot holds, with the numbers that follow from the configuration.

    fusions: those that stand, in the order they were made.  stepped_at: index of an entry -> ms of its last pass.
    shed_by: cause -> channel -> readings refused before they reached the log.  cursor: stream -> last entry read, of logs whose
    own numbers are no counts.
    outlet: what kernels give; it is empty between two turns.
    rules: the version by which it folds.
    """

    def __init__(self, config: Config, shard: int) -> None:
        self.shard = shard
        self.set_config(config)
        self.topology = topology.build(config)
        self.arena = self.topology.arena
        self.keeper = SegmentKeeper(self.arena)
        self.outlet = Outlet(len(self.block_ids))
        self.audit = audit_of(config, self.topology)
        self.marks = Marks()
        self.refused = RefusedTimes()
        self.fusions: list[Fusion] = []
        self.mutes: list[Mute] = []
        self.stepped_at: dict[int, int] = {}
        self.shed_by: dict[str, dict[str, int]] = {}
        self.cursor: dict[str, str] = {}
        self.clock_offset = 0  # ms: the clock is the log's own stamp and this; a `clock` command changes it
        self.clock_anchor = 0  # of the log's stamps, ms, at the last `clock` command
        self.load, self.rules = 0.0, VERSION
        self.arena.keep(self.keep_ms)

    # --- the configuration ---------------------------------------------------------------------

    def set_config(self, config: Config) -> None:
        """Take over the numbers of *config*: times in ms, intervals by the index of their entry."""
        self.running = RunningConfig(config)
        self.lateness = round(config.retraso_max * 1000)
        self.max_skew, self.max_lead = config.max_skew * 1000, config.max_adelanto * 1000
        self.keep_ms = config.retencion_dias * 86_400_000
        self.window_lengths = sorted({LEAST_WINDOW_CHECK_MS, *(round(entry.ventana * 1000) for entry in config.bloques)})
        self.intervals = {index: round(entry.intervalo * 1000) for index, entry in enumerate(config.bloques) if entry.funcion}
        self._load_weights = np.array([entry.filtro.carga for entry in config.bloques], np.float32)

    @property
    def config(self) -> Config:
        """The configuration it runs under, with blocks that were registered since it was read."""
        return self.running.config

    def reload(self, config: Config) -> None:
        """Take over what may change while running: filters, limits, windows, lateness, intervals."""
        units = self.arena.policies["tick_shift"].copy()
        self.set_config(config)
        self.arena.keep(self.keep_ms)
        self.topology.set_policies(config)
        self.audit = audit_of(config, self.topology, self.audit)
        for segment in topology.counted_otherwise(self.arena, units):
            self.keeper.settle(segment)
            topology.restamp(self.arena, segment, units)
        self._raise_thresholds()

    def fold_as(self, version: int) -> None:
        """Fold by the rules of *version* from now on: turns of an earlier CoreC are folded again as they were."""
        self.rules, self.arena.two_windows = version, version < 2
        self.topology.steep = topology.STEEP if version >= 3 else topology.NEVER_STEEP
        self.topology.set_policies(self.config)
        self._raise_thresholds()

    def attach(self, entry: BlockEntry) -> None:
        """Take in one more entry, behind all others: a block that was registered while running.

        The outlet must be empty: a larger one replaces it.
        """
        self.running.join(entry)
        self.window_lengths = sorted({*self.window_lengths, round(entry.ventana * 1000)})
        if entry.funcion:
            self.intervals[len(self._load_weights)] = round(entry.intervalo * 1000)
        self._load_weights = np.append(self._load_weights, np.float32(entry.filtro.carga))
        self.topology.attach(entry, self.config.fragmentos)
        if self.audit:
            self.audit.join(self.topology.entries[-1].first_ids)
        self.outlet = Outlet(len(self.block_ids))
        self.keeper.refresh()
        self._raise_thresholds(slice(-1, None))

    def set_detached(self, block: str, *, is_gone: bool) -> None:
        """Let the ids of a registered block name nobody, or its entities again."""
        self.topology.set_entry(self.running.index_of(block), self.running.retire(block, is_gone=is_gone))

    def set_load(self, load: float) -> None:
        """Raise the thresholds of all entries for a *load* of 0..1, rounded to a step of 1/255."""
        before, self.load = self.load, round(load * LOAD_STEPS) / LOAD_STEPS
        if self.load != before:
            self._raise_thresholds()

    def _raise_thresholds(self, entries: slice = slice(None)) -> None:
        self.arena.policies["gain"][entries] = (1 + self._load_weights[entries] * np.float32(self.load)) / np.float32(ROLE_SCALE_ONE)

    # --- blocks and entities -------------------------------------------------------------------

    @property
    def block_ids(self) -> tuple[str, ...]:
        """Names of the blocks, by index."""
        return self.topology.block_ids

    def block_named(self, name: Any) -> int:
        """Index of a block by its id; UsageError where there is none."""
        if name not in self.block_ids:
            raise UsageError(f"there is no block {name!r}", hint="`corec check` prints the blocks")
        return self.block_ids.index(name)

    def entry_of(self, block: int) -> BlockEntry:
        """The entry of the configuration that a block belongs to, by its index."""
        return self.config.bloques[int(self.arena.blocks["policy"][block])]

    def fused_into(self) -> dict[int, int]:
        """Index of each fused block -> its host's."""
        return {fusion.block: fusion.host for fusion in self.fusions}

    def locate(self, id: Any) -> tuple[int, int]:
        """(segment, slot) of a wire id; KeyError when there is none, FrameError when it is no integer."""
        return self.arena.locate(check_id(id))

    def segments_of(self, block: int) -> tuple[int, int]:
        """(first, last + 1) segment of a block, as configured."""
        first, last = self.topology.first_segment[block : block + 2]
        return int(first), int(last)

    def segments_owned_by(self, block: int) -> np.ndarray:
        """uint32: the segments that count in a block, those of blocks that joined it included."""
        return np.flatnonzero(self.arena.segments["owner"] == block).astype(np.uint32)

    def configured_block_of(self, segment: int) -> int:
        """Index of the block that a segment belongs to as configured, whichever it counts in."""
        return int(np.searchsorted(self.topology.first_segment, segment, "right")) - 1

    def heard_segments(self) -> list[int]:
        """The segments of which an entity was heard."""
        return np.flatnonzero(self.arena.segments["flags"] & SEGMENT_HEARD).tolist()

    # --- time and counts -----------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """Arrival of the newest readings, ms."""
        return self.arena.clock

    def count(self, part: str, readings: int) -> None:
        """Count readings that came and are not folded, under a field of dtypes.LEDGER."""
        count(self.arena.ledger, part, readings)

    def take_back(self, part: str, readings: int) -> None:
        """Count readings no longer as refused: they are folded after all."""
        take_back(self.arena.ledger, part, readings)

    def count_shed(self, readings: int, by: Mapping[str, Mapping[str, int]]) -> None:
        """Count readings that were refused before they reached the log; by: cause -> channel -> how many."""
        self.shed_by = added(self.shed_by, by)
        self.count("shed", readings)

    def take_clocks(self, other: "EngineState") -> None:
        """Go on from another engine's time, counters, ledger, marks, and mutes of blocks that are still there."""
        self.arena.skipped, self.clock_offset, self.clock_anchor = other.arena.skipped, other.clock_offset, other.clock_anchor
        self.arena.advance(other.clock, self.lateness)
        self.arena.counters = other.arena.counters
        self.arena.ledger[:] = other.arena.ledger
        self.mutes = [mute for mute in other.mutes if isinstance(mute.subject, int) or mute.subject in self.block_ids]
        self.marks, self.cursor, self.stepped_at, self.shed_by = other.marks, other.cursor, other.stepped_at, other.shed_by
        self.refused = other.refused
