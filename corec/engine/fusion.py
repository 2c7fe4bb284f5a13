"""Weak blocks into strong ones, and back: `owner` of segments is all that changes; entities keep id and location."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corec._core.dtypes import ERRORS_MASK, ERRORS_SHIFT, FAILING, QUALITY_MASK, QUALITY_SHIFT
from corec.engine.outcome import Event
from corec.engine.repair import regenerate
from corec.engine.state import EngineState, Fusion
from corec.errors import UsageError

#: A host has more than this fitness.
STRONG = 0.5
#: A host may hold this many times `entidades_por_bloque`.
MOST_FOLD = 2
#: What a block counts over the segments that it owns.
COUNTED = ("entities", "heard", "failing")


def fuse(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    """Let a weak block join its host; UsageError, and nothing has changed, where it may not."""
    block, host = check_fusion(state, command)
    rows = state.arena.blocks
    weak, moved = rows[block].copy(), state.segments_owned_by(block)
    state.arena.segments["owner"][moved] = host
    for name in COUNTED:
        rows[name][host] += weak[name]
        rows[name][block] = 0
    rows["last_tick"][host] = max(rows["last_tick"][host], weak["last_tick"])
    inherited = regenerate(state, moved, ordered=True) if weak["failing"] else 0
    state.fusions.append(Fusion(state.clock, block, host, tuple(moved.tolist())))
    return [Event(state.clock, block, "fuse", host, float(weak["fitness"]), float(rows["fitness"][host]), int(weak["failing"]),
                  int(weak["entities"]), inherited, str(command.get("why") or "by command"))]  # fmt: skip


def undo(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    """Give a fused block its segments back; UsageError, and nothing has changed, where that cannot be."""
    fusion = check_undo(state, command)
    rows, segments = state.arena.blocks, list(fusion.segments)
    state.arena.segments["owner"][segments] = fusion.block
    for name, count in _counts(state, segments).items():
        rows[name][fusion.host] -= count
        rows[name][fusion.block] += count
    rows["last_tick"][fusion.block] = state.arena.segments["last_tick"][segments].max(initial=0)
    state.fusions.remove(fusion)
    return [Event(state.clock, fusion.block, "undo", fusion.host, float(rows["fitness"][fusion.block]),
                  float(rows["fitness"][fusion.host]), int(rows["failing"][fusion.block]), int(rows["entities"][fusion.block]), 0,
                  str(command.get("why") or "by command"))]  # fmt: skip


def _counts(state: EngineState, segments: Sequence[int]) -> dict[str, int]:
    """What a block that owns *segments* counts, by name."""
    counts = dict.fromkeys(COUNTED, 0)
    for segment in segments:
        state.keeper.settle(segment)
        used = int(state.arena.segments["used"][segment])
        words = state.arena.tiles[segment]["state"].reshape(-1)[:used]
        counts["entities"] += used
        counts["heard"] += int(np.count_nonzero(words & (QUALITY_MASK << QUALITY_SHIFT)))
        counts["failing"] += int(np.count_nonzero(words >> ERRORS_SHIFT & ERRORS_MASK >= FAILING))
    return counts


# --- what may be ------------------------------------------------------------------------------------


def check_fusion(state: EngineState, command: Mapping[str, Any]) -> tuple[int, int]:
    """(weak, host) as indexes; UsageError where the one may not join the other."""
    block, host = state.block_named(command.get("block")), state.block_named(command.get("host"))
    names, rows, fused = state.block_ids, state.arena.blocks, state.fused_into()
    if block == host:
        raise UsageError(f"block {names[block]!r} cannot be fused into itself", hint="name another block of its channel as host")
    for index in (block, host):
        if index in fused:
            raise UsageError(f"block {names[index]!r} is fused into {names[fused[index]]!r} already",
                             hint=f"`corec undo {names[index]}` gives it back")  # fmt: skip
        if state.entry_of(index).retirado:
            raise UsageError(f"block {names[index]!r} is detached", hint="name a block that is there")
    _check_channel(state, block, host)
    _check_room(state, block, host)
    if not command.get("force"):
        _check_fitness(names[block], names[host], rows[block], rows[host], state.entry_of(block).autoreparacion.min_fitness)
    return block, host


def check_undo(state: EngineState, command: Mapping[str, Any]) -> Fusion:
    """The fusion to undo; UsageError where there is none, or its host was fused on since."""
    block, names, fused = state.block_named(command.get("block")), state.block_ids, state.fused_into()
    fusion = next((each for each in state.fusions if each.block == block), None)
    if fusion is None:
        raise UsageError(f"block {names[block]!r} is not fused into another",
                         hint=f"`corec history {names[block]}` shows what happened to it")  # fmt: skip
    if fusion.host in fused:
        raise UsageError(
            f"block {names[block]!r} joined {names[fusion.host]!r}, which was fused into {names[fused[fusion.host]]!r} since",
            hint=f"fusions are undone in reverse order: `corec undo {names[fusion.host]}` first")  # fmt: skip
    return fusion


def _check_channel(state: EngineState, block: int, host: int) -> None:
    rows, names, fused = state.arena.blocks, state.block_ids, state.fused_into()
    canal, shard = int(rows["canal"][block]), int(rows["shard"][block])
    alike = (rows["canal"] == canal) & (rows["shard"] == shard)
    if len(set(np.flatnonzero(alike).tolist()) - set(fused)) < 2:
        raise UsageError(f"block {names[block]!r} is the last one of channel {canal} and is never fused away",
                         hint="repair it, or add blocks to the channel")  # fmt: skip
    if not alike[host]:
        raise UsageError(f"expected a host on channel {canal} and shard {shard}, as {names[block]!r}, got {names[host]!r} on"
                         f" channel {rows['canal'][host]} and shard {rows['shard'][host]}",
                         hint="blocks are fused within a channel and a shard only")  # fmt: skip


def _check_room(state: EngineState, block: int, host: int) -> None:
    rows, most = state.arena.blocks, MOST_FOLD * state.entry_of(host).entidades_por_bloque
    total = int(rows["entities"][block]) + int(rows["entities"][host])
    if total > most:
        names = state.block_ids
        raise UsageError(f"expected at most {most:,} entities in {names[host]!r}, got {total:,} with {names[block]!r}",
                         hint="a host holds up to twice its `entidades_por_bloque`: name another host")  # fmt: skip


def _check_fitness(weak_name: str, host_name: str, weak: np.void, host: np.void, least: float) -> None:
    if not float(weak["fitness"]) < least:
        raise UsageError(f"expected a weak block, below its min_fitness {least:g}, got {weak_name!r} at {weak['fitness']:.2f}",
                         hint="`corec fuse --force` does it all the same")  # fmt: skip
    if not host["fitness"] > STRONG:
        raise UsageError(f"expected a host with a fitness above {STRONG:g}, got {host_name!r} at {host['fitness']:.2f}",
                         hint="name a stronger block of the channel, or `corec fuse --force`")  # fmt: skip
