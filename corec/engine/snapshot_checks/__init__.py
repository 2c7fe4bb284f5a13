"""What a snapshot says, held against what there is.

Kernels check no index, and a checksum says nothing of who wrote it: nothing that leads out of the arena comes in.
"""
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from corec._core.arena import Arena
from corec._core.dtypes import SEGMENT_FROZEN, SEGMENT_HEARD, SEGMENT_MIXED
from corec.config import Config
from corec.engine.columns import LATEST_TIME, MOST_ID
from corec.engine.producer_marks import MOST_PRODUCERS, Account
from corec.engine.segment_keeper import misfit
from corec.engine.state import Fusion, Mute
from corec.engine.topology import segments_of

MOST_COUNT = 2**63 - 1
#: Windows of a block, so many that no node comes there.
MOST_WINDOWS = 2**62
#: ms; no window ends later, as none is longer than that.
LATEST_END = 2 * LATEST_TIME
#: ms; a window may begin before 1970, as `max_skew` is ten years at most and the clock begins at 0.
EARLIEST_WINDOW = -(2**47)

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNT)]
#: ms, of a clock that was set or of one that goes on.
Span = Annotated[int, msgspec.Meta(ge=-LATEST_TIME, le=LATEST_TIME)]
Moment = Annotated[int, msgspec.Meta(ge=0, lt=LATEST_TIME)]
#: Up to 64 bits, as MessagePack has no more: what producers choose, and what may begin again at 0.
Number64 = Annotated[int, msgspec.Meta(ge=0)]
AccountRow = Annotated[tuple[Number64, ...], msgspec.Meta(min_length=3, max_length=2 + len(Account._fields))]
#: Of a refused batch: producer, epoch, tick, age, time, offsets, frames.
RefusedRow = tuple[Number64, Number64, Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)], Count,
                   Annotated[int, msgspec.Meta(ge=-(2**63), le=MOST_COUNT)], bytes, bytes]  # fmt: skip
#: A channel as text, also one that is none.
Channel = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,3}$")]
#: What `cursor_text` of the Redis reader writes, an id alone, or the number of an output.
Place = Annotated[str, msgspec.Meta(pattern=r"^\d{1,20}(-\d{1,20}( (\?|\d{1,20}) \S*)?)?$")]

#: Fields of a block that the configuration gives.
CONFIGURED = ("policy", "canal", "stepped", "shard")
FLAGS = SEGMENT_HEARD | SEGMENT_FROZEN | SEGMENT_MIXED


def check_size(config: Config, blocks: bytes, flags: bytes, block_bytes: int) -> None:
    """DamagedFile unless there is state for as many blocks and segments as *config* has; to be called before any are made."""
    expected = sum(entry.blocks for entry in config.bloques), sum(segments_of(entry) for entry in config.bloques)
    got = len(blocks) / block_bytes, len(flags)
    if got != expected:
        raise misfit(f"{got[0]:g} blocks and {got[1]} segments instead of {expected[0]} and {expected[1]}")


def check_blocks(arena: Arena, blocks: np.ndarray, owners: np.ndarray) -> None:
    """DamagedFile unless *blocks* are those of the arena, and count the entities of the segments that they own."""
    if any((blocks[name] != arena.blocks[name]).any() for name in CONFIGURED) or (owners >= len(blocks)).any():
        raise misfit("blocks of another configuration")
    counts = np.bincount(owners, arena.segments["used"], len(blocks)).astype(np.int64)
    if (blocks["entities"] != counts).any():
        raise misfit("blocks that count other entities than they have")
    for name in ("newest", "older"):
        check_windows(blocks[name])
    if not _within(blocks["closed_until"], -LATEST_END, LATEST_END):
        raise misfit("blocks whose windows are closed until a time that cannot be")


def check_windows(windows: np.ndarray) -> None:
    """DamagedFile unless each window begins before it ends, at times that can be; windows: dtypes.WINDOW[n]."""
    start, end = windows["start"], windows["end"]
    if not _within(start, EARLIEST_WINDOW, LATEST_TIME) or (start > end).any() or (end > LATEST_END).any():
        raise misfit("windows of times that cannot be")


def _within(values: np.ndarray, least: int, most: int) -> bool:
    return not ((values < least) | (values > most)).any()


def check_pool(arena: Arena, pool: np.ndarray) -> None:
    """DamagedFile unless the open windows beside those of blocks are such as kernels leave; pool: dtypes.POOL[n]."""
    check_windows(pool["window"])
    if (pool["block"] >= len(arena.blocks)).any() or (pool["amends"] > 1).any() or not _within(pool["closes"], 0, LATEST_END):
        raise misfit("open windows that do not fit")


def check_flags(flags: np.ndarray) -> None:
    """DamagedFile when a segment has a flag that no snapshot keeps, or hibernates without ever having been heard."""
    asleep = flags & (SEGMENT_FROZEN | SEGMENT_HEARD) == SEGMENT_FROZEN
    if asleep.any():
        raise misfit(f"segment {np.flatnonzero(asleep)[0]} with flags that do not go together")


def check_ledger(ledger: np.ndarray) -> None:
    """DamagedFile unless every reading that came is under one of the other counts; ledger: dtypes.LEDGER[1]."""
    arrived, *parts = (int(count) for count in ledger[0])
    if arrived > MOST_COUNT or arrived != sum(parts):
        raise misfit(f"{arrived:,} readings of which {sum(parts):,} are accounted for")


def check_accounts(rows: Collection[Sequence[int]]) -> None:
    """DamagedFile when there are more producers than are kept, or more readings of one than 63 bits count."""
    if len(rows) > MOST_PRODUCERS or any(count > MOST_COUNT for row in rows for count in row[3:]):
        raise misfit("accounts of producers that nobody can have")


def check_passes(config: Config, stepped_at: Iterable[tuple[int, int]]) -> None:
    """DamagedFile when an entry is named that is not there."""
    if not all(index < len(config.bloques) for index, _ in stepped_at):
        raise misfit("passes of entries that are not there")


def fusions_of(arena: Arena, first_segment: np.ndarray, owners: np.ndarray, rows: Iterable[Sequence[Any]]) -> list[Fusion]:
    """The fusions in *rows*; DamagedFile unless they, one after the other, give segments the *owners* that they have.

    first_segment: of each block, as configured, and the number of segments behind them.
    """
    fusions, segments = [Fusion(*fields) for fields in rows], len(owners)
    now = np.repeat(np.arange(len(arena.blocks)), np.diff(first_segment)).astype(np.uint32)
    fused: set[int] = set()
    for fusion in fusions:
        known = max(fusion.block, fusion.host) < len(arena.blocks) and max(fusion.segments, default=0) < segments
        if not known or fusion.block == fusion.host or fused & {fusion.block, fusion.host}:
            raise misfit("fusions of blocks that are not there")
        moved = list(fusion.segments)
        if (now[moved] != fusion.block).any():
            raise misfit("fusions of segments that are not the block's")
        now[moved] = fusion.host
        fused.add(fusion.block)
    if (now != owners).any():
        raise misfit("segments whose owner is not what the fusions made it")
    return fusions


def mutes_of(rows: Iterable[Sequence[Any]], block_ids: Collection[str]) -> list[Mute]:
    """The mutes in *rows*; DamagedFile when a muted block or entity cannot be."""
    mutes = [Mute(*fields) for fields in rows]
    names = set(block_ids)
    if any(mute.subject not in names if isinstance(mute.subject, str) else not 0 <= mute.subject <= MOST_ID for mute in mutes):
        raise misfit("mutes of blocks that are not there")
    return mutes


def check_scores(scores: np.ndarray, blocks: int) -> None:
    """DamagedFile unless *scores* (dtypes.BLOCK_SCORE) are those of so many blocks, or of none."""
    if len(scores) not in (0, blocks):
        raise misfit(f"scores of {len(scores)} blocks for {blocks}")
    for name in ("windows", "levelled", "silent_until"):
        if not _within(scores[name], 0, MOST_WINDOWS):
            raise misfit("scores of windows that cannot be")
    if (scores["var"] < 0).any() or (scores["spread"] < 0).any():
        raise misfit("scores with a variance below 0")
