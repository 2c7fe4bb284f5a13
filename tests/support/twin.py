"""An engine and the oracle side by side: whatever is done is done to both, and must give the same bits."""
import itertools

import numpy as np

from corec._core import dtypes
from corec._core.dtypes import ACTIVE, ROLE_SCALE_ONE, ROLE_SCALE_SHIFT, SEEN_MASK, TRIED, TRIED_MASK, TRIES_SHIFT
from corec._core.wire import encode_frames, pack_envelope
from corec.engine import Engine
from corec.engine.outcome import Outcome
from tests.support.oracle.engine import Oracle
from tests.support.oracle.entities import NEVER, SILENT

T0 = 1_700_000_000_000
#: What the engine keeps of a column that the oracle keeps whole.
WRAPS = {"seen": SEEN_MASK, "tried": TRIED_MASK}
#: Column of the oracle -> (shift, mask) in a state word.
STATE_FIELDS = {"fails": (dtypes.FAILS_SHIFT, dtypes.FAILS_MASK), "quality": (dtypes.QUALITY_SHIFT, dtypes.QUALITY_MASK),
                "level": (dtypes.ERRORS_SHIFT, dtypes.ERRORS_MASK), "warm": (dtypes.WARM_SHIFT, dtypes.WARM_MASK),
                "seen": (dtypes.SEEN_SHIFT, dtypes.SEEN_MASK)}  # fmt: skip
NAMES = {"aggregates": ("rows", dtypes.AGGREGATE), "messages": ("messages", dtypes.MESSAGE), "alerts": ("alerts", dtypes.ALERT)}


class Twin:
    """Takes what Engine takes; AssertionError where the two differ."""

    def __init__(self, config):
        self.engine, self.oracle = Engine(config), Oracle(config)

    def feed(self, frames, **how) -> Outcome:
        return self._same(self.engine.feed(frames, **how), self.oracle.feed(frames, **how))

    def feed_arrays(self, ids, values, **how) -> Outcome:
        return self._same(self.engine.feed_arrays(ids, values, **how), self.oracle.feed_arrays(ids, values, **how))

    def tick(self, at, **how) -> Outcome:
        return self._same(self.engine.tick(at, **how), self.oracle.tick(at, **how))

    def step(self, at, **how) -> Outcome:
        return self._same(self.engine.step(at, **how), self.oracle.step(at, **how))

    def turn(self, batches, **how) -> Outcome:
        return self._same(self.engine.turn(batches, **how), self.oracle.turn(batches, **how))

    def finish(self) -> Outcome:
        outcome = self._same(self.engine.finish(), self.oracle.finish())
        self.check_state()
        return outcome

    def _same(self, outcome, result) -> Outcome:
        for name, (theirs, dtype) in NAMES.items():
            check_rows(name, getattr(outcome, name), np.array(getattr(result, theirs), dtype))
        assert (outcome.rejected, outcome.late, outcome.recovered) == (result.rejected, result.late, result.recovered)
        assert list(map(tuple, outcome.aside)) == result.aside
        assert outcome.clock_jump == result.clock_jump
        assert list(map(tuple, outcome.repairs)) == result.repairs
        check_rows("muted", outcome.muted, np.array(result.muted, dtypes.ALERT))
        moves = [event for event in outcome.events if event.what in ("fuse", "undo")]
        assert [(e.time, e.what, e.block, e.host, e.failing, e.entities, e.inherited) for e in moves] == result.fusions
        assert [refusal.command for refusal in outcome.refused] == result.refused
        assert self.engine.ledger == self.oracle.ledger
        check_ledger(self.engine.ledger)
        return outcome

    def check_state(self):
        """Every bit of every entity, and what blocks count."""
        ours, theirs = entity_columns(self.engine), vars(self.oracle.state)
        for name, column in ours.items():
            expected = theirs[name] & WRAPS[name] if name in WRAPS else theirs[name]
            checked = np.flatnonzero(~np.isin(theirs["quality"], (NEVER, SILENT))) if name == "seen" else slice(None)
            np.testing.assert_array_equal(bits(column[checked]), bits(expected[checked]), err_msg=name)
        for name in ("entities", "heard", "failing", "closed_until"):
            assert self.engine.blocks[name].tolist() == [getattr(block, name) for block in self.oracle.blocks], name
        assert self.engine.marks.gaps == self.oracle.gaps
        assert {(producer, epoch): became for producer, epoch, _, *became in self.engine.marks.to_list()} == self.oracle.accounts


def bits(column):
    return column.view(np.uint32) if column.dtype == np.float32 else column


def check_rows(name, got, expected):
    """Structured arrays of the same bits, NaN and sign of zero included."""
    if got.tobytes() != expected.tobytes():
        pairs = itertools.zip_longest(got.tolist(), expected.tolist())
        place, (one, other) = next((place, pair) for place, pair in enumerate(pairs) if repr(pair[0]) != repr(pair[1]))
        raise AssertionError(f"{name}[{place}] of {len(got)}: engine {one}, oracle {other} of {len(expected)}")


def check_ledger(ledger):
    """in == stored + filtered + late + shed + rejected, and rejected is the sum of its causes."""
    assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected")), ledger
    assert ledger["rejected"] == sum(count for name, count in ledger.items() if name.startswith("rejected_")), ledger


def entity_columns(engine):
    """The engine's tiles as one column a quantity, in the order of the configuration."""
    used = engine.arena.segments["used"]
    tiles = {name: column.reshape(len(used), 1000) for name, column in _columns(engine.entities).items()}
    plain = {name: np.concatenate([column[segment, :n] for segment, n in enumerate(used)]) for name, column in tiles.items()}
    state, trend, role = (plain.pop(name) for name in ("state", "trend", "role"))
    tried = trend & TRIED != 0
    tries = (trend & (TRIED - 1)) >> TRIES_SHIFT
    plain["tries"], plain["tried"] = (np.where(tried, part, 0).astype(np.int64) for part in (tries, trend & TRIED_MASK))
    trend = np.where(tried, 0, trend).astype(np.uint32)
    plain["change"], plain["peak"] = (trend & 0xFFFF0000).view(np.float32), (trend << 16).view(np.float32)
    plain["scale"] = ((role >> ROLE_SCALE_SHIFT ^ ROLE_SCALE_ONE) / np.float32(ROLE_SCALE_ONE)).astype(np.float32)
    plain["active"] = (state & ACTIVE).astype(bool)
    for name, (shift, mask) in STATE_FIELDS.items():
        plain[name] = (state >> shift & mask).astype(np.int64)
    return plain


def _columns(tiles):
    return {name: np.ascontiguousarray(tiles[name]) for name in tiles.dtype.names}


def envelope(ids, values, *, at, sequence=0, canal=1, states=1, offsets=None, producer=1, epoch=1, arrival=None, age=0):
    """(envelope bytes, arrival) of a batch, as a turn takes them."""
    frames = encode_frames(np.asarray(ids, np.uint32), canal, np.asarray(values, np.float32), states)
    data = pack_envelope(frames, producer=producer, epoch=epoch, sequence=sequence, time=at, offsets=offsets, age=age)
    return data, at if arrival is None else arrival


def same_state(one: Engine, other: Engine) -> bool:
    """Whether two engines agree in every bit that results can hang on."""
    ours, theirs = entity_columns(one), entity_columns(other)
    equal = all(np.array_equal(bits(ours[name]), bits(theirs[name])) for name in ours)
    counted = (one.arena.counters, one.clock, one.arena.watermark, one.marks.to_list())
    return equal and one.blocks.tobytes() == other.blocks.tobytes() and counted == (
        other.arena.counters, other.clock, other.arena.watermark, other.marks.to_list())  # fmt: skip


def same_outcome(one: Outcome, other: Outcome) -> None:
    for name in ("aggregates", "messages", "alerts"):
        check_rows(name, getattr(one, name), getattr(other, name))
    assert (one.rejected, one.late, one.aside, one.repairs) == (other.rejected, other.late, other.aside, other.repairs)
