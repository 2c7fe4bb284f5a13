"""Weak blocks into strong ones, and back: `owner` of segments is all that moves; entities keep id and place."""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corec.engine.outcome import Event
from corec.engine.repair import owned, regenerate
from corec.errors import UsageError

if TYPE_CHECKING:
    from corec.engine import Engine

#: A host has more than this fitness.
STRONG = 0.5
#: A host may hold this many times `entidades_por_bloque`.
MOST_FOLD = 2
#: layout.h: fields of a state word.
QUALITY, LEVEL, FAILING = 15 << 3, 63 << 7, 16 << 7
#: What a block counts over the segments that it owns.
COUNTED = ("entities", "heard", "failing")


class Fusion(NamedTuple):
    """What it takes to undo one."""

    time: int  # ms
    block: int  # index
    host: int  # index
    segments: tuple[int, ...]  # that moved


def fused_into(engine: "Engine") -> dict[int, int]:
    """Index of each fused block -> its host's."""
    return {fusion.block: fusion.host for fusion in engine.fusions}


def fuse(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Let a weak block join its host; UsageError, and nothing has changed, where it may not."""
    block, host = check_fusion(engine, command)
    arena, rows = engine.arena, engine.arena.blocks
    weak, moved = rows[block].copy(), owned(engine.arena, block)
    arena.segments["owner"][moved] = host
    for name in COUNTED:
        rows[name][host] += weak[name]
        rows[name][block] = 0
    rows["last_tick"][host] = max(rows["last_tick"][host], weak["last_tick"])
    inherited = regenerate(engine, moved, ordered=True) if weak["failing"] else 0
    engine.fusions.append(Fusion(engine.clock, block, host, tuple(moved.tolist())))
    engine._events.append(Event(
        engine.clock, block, "fuse", host, float(weak["fitness"]), float(rows["fitness"][host]), int(weak["failing"]),
        int(weak["entities"]), inherited, str(command.get("why") or "by command")))  # fmt: skip


def undo(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Give a fused block its segments back; UsageError, and nothing has changed, where that cannot be."""
    fusion = check_undo(engine, command)
    arena, rows = engine.arena, engine.arena.blocks
    arena.segments["owner"][list(fusion.segments)] = fusion.block
    for name, count in _counts(engine, fusion.segments).items():
        rows[name][fusion.host] -= count
        rows[name][fusion.block] += count
    rows["last_tick"][fusion.block] = arena.segments["last_tick"][list(fusion.segments)].max(initial=0)
    engine.fusions.remove(fusion)
    engine._events.append(Event(
        engine.clock, fusion.block, "undo", fusion.host, float(rows["fitness"][fusion.block]), float(rows["fitness"][fusion.host]),
        int(rows["failing"][fusion.block]), int(rows["entities"][fusion.block]), 0, str(command.get("why") or "by command")))  # fmt: skip


def _counts(engine: "Engine", segments: tuple[int, ...]) -> dict[str, int]:
    """How many entities there are in *segments*, were heard, and fail."""
    counts = dict.fromkeys(COUNTED, 0)
    for segment in segments:
        engine._keeper.settle(segment)
        used = int(engine.arena.segments["used"][segment])
        states = engine.arena.tiles[segment]["state"].reshape(-1)[:used]
        counts["entities"] += used
        counts["heard"] += int(np.count_nonzero(states & QUALITY))
        counts["failing"] += int(np.count_nonzero(states & LEVEL >= FAILING))
    return counts


# --- what may be ------------------------------------------------------------------------------------


def check_fusion(engine: "Engine", command: Mapping[str, Any]) -> tuple[int, int]:
    """(weak, host) as indexes; UsageError where the one may not join the other."""
    block, host = block_named(engine, command.get("block")), block_named(engine, command.get("host"))
    names, rows, gone = engine.block_ids, engine.arena.blocks, fused_into(engine)
    if block == host:
        raise UsageError(f"block {names[block]!r} cannot be fused into itself", hint="name another block of its channel as host")
    for index in (block, host):
        if index in gone:
            raise UsageError(f"block {names[index]!r} is fused into {names[gone[index]]!r} already",
                             hint=f"`corec undo {names[index]}` gives it back")  # fmt: skip
        if _settings(engine, index).retirado:
            raise UsageError(f"block {names[index]!r} is detached", hint="name a block that is there")
    _check_channel(engine, block, host)
    _check_room(engine, block, host)
    if not command.get("force"):
        _check_fitness(names[block], names[host], rows[block], rows[host], _settings(engine, block).autoreparacion.min_fitness)
    return block, host


def check_undo(engine: "Engine", command: Mapping[str, Any]) -> Fusion:
    """The fusion to undo; UsageError where there is none, or its host was fused on since."""
    block, names, gone = block_named(engine, command.get("block")), engine.block_ids, fused_into(engine)
    fusion = next((each for each in engine.fusions if each.block == block), None)
    if fusion is None:
        raise UsageError(f"block {names[block]!r} is not fused into another",
                         hint=f"`corec history {names[block]}` shows what happened to it")  # fmt: skip
    if fusion.host in gone:
        raise UsageError(
            f"block {names[block]!r} joined {names[fusion.host]!r}, which was fused into {names[gone[fusion.host]]!r} since",
            hint=f"fusions are undone in reverse order: `corec undo {names[fusion.host]}` first")  # fmt: skip
    return fusion


def block_named(engine: "Engine", name: Any) -> int:
    """Index of a block by its id; UsageError where there is none."""
    if name not in engine.block_ids:
        raise UsageError(f"there is no block {name!r}", hint="`corec check` prints the blocks")
    return engine.block_ids.index(name)


def _settings(engine: "Engine", block: int) -> Any:
    return engine.config.bloques[int(engine.arena.blocks["policy"][block])]


def _check_channel(engine: "Engine", block: int, host: int) -> None:
    rows, names, gone = engine.arena.blocks, engine.block_ids, fused_into(engine)
    canal, shard = int(rows["canal"][block]), int(rows["shard"][block])
    alike = (rows["canal"] == canal) & (rows["shard"] == shard)
    if len(set(np.flatnonzero(alike).tolist()) - set(gone)) < 2:
        raise UsageError(f"block {names[block]!r} is the last one of channel {canal} and is never fused away",
                         hint="repair it, or add blocks to the channel")  # fmt: skip
    if not alike[host]:
        raise UsageError(f"expected a host on channel {canal} and shard {shard}, as {names[block]!r}, got {names[host]!r} on"
                         f" channel {rows['canal'][host]} and shard {rows['shard'][host]}",
                         hint="blocks are fused within a channel and a shard only")  # fmt: skip


def _check_room(engine: "Engine", block: int, host: int) -> None:
    rows, most = engine.arena.blocks, MOST_FOLD * _settings(engine, host).entidades_por_bloque
    total = int(rows["entities"][block]) + int(rows["entities"][host])
    if total > most:
        names = engine.block_ids
        raise UsageError(f"expected at most {most:,} entities in {names[host]!r}, got {total:,} with {names[block]!r}",
                         hint="a host holds up to twice its `entidades_por_bloque`: name another host")  # fmt: skip


def _check_fitness(weak_name: str, host_name: str, weak: np.void, host: np.void, least: float) -> None:
    if not float(weak["fitness"]) < least:
        raise UsageError(f"expected a weak block, below its min_fitness {least:g}, got {weak_name!r} at {weak['fitness']:.2f}",
                         hint="`corec fuse --force` does it all the same")  # fmt: skip
    if not host["fitness"] > STRONG:
        raise UsageError(f"expected a host with a fitness above {STRONG:g}, got {host_name!r} at {host['fitness']:.2f}",
                         hint="name a stronger block of the channel, or `corec fuse --force`")  # fmt: skip
