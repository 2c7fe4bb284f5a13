"""The process that is killed: a node under varying load, with commands in flight, that notes what was accepted.

    python tests/support/crash/driver.py CONFIG DATA ACKS SEED
"""
import json
import random
import struct
import sys
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from corec._core.wire import encode_frames
from corec.common.times import wall_ms
from corec.config import parse
from corec.errors import UsageError
from corec.nucleus import CoreCNucleus


def frames_of(rng: np.random.Generator, entries: list[dict], count: int) -> bytes:
    """Readings over all entries: mostly good, some failed, some that must be refused."""
    entry = entries[rng.integers(len(entries))]
    first = sum(e["entidades"] for e in entries[: entries.index(entry)])
    ids = first + rng.integers(0, entry["entidades"], count)
    values = 20 + rng.normal(size=count) * (1 + 10 * (rng.random(count) < 0.01))
    values[rng.random(count) < 0.005] = np.nan
    states = rng.random(count) > 0.01
    canales = np.where(rng.random(count) < 0.002, 99, entry["canal"])
    ids[rng.random(count) < 0.002] = 4_000_000_000
    return encode_frames(ids, canales, values, states)


def command_now(dice: random.Random, nucleus: CoreCNucleus, config: dict) -> None:
    """A snapshot, a fusion, an undo, a repair or a reload, as an operator might ask for; the node may die before it answers."""
    if dice.random() < 0.3:
        nucleus.pipeline.take_snapshot()
        return
    if dice.random() < 0.6:
        block, host = _pair(dice, nucleus.engine.block_ids)
        move = {"op": "fuse", "block": block, "host": host, "force": True}
        fused = [nucleus.engine.block_ids[fusion.block] for fusion in nucleus.engine.fusions]
        if fused and dice.random() < 0.5:
            move = {"op": "undo", "block": dice.choice(fused)}
        with suppress(UsageError):      # some pairs may not be fused, or were
            nucleus.pipeline.command(move)
        return
    if dice.random() < 0.5:
        nucleus.pipeline.command({"op": "repair", "block": dice.choice(nucleus.engine.block_ids)})
        return
    for entry in config["bloques"]:
        entry.setdefault("filtro", {})["desviacion"] = dice.choice([0.5, 1.0, 2.0, 3.0])
    nucleus.pipeline.command({"op": "reload", "config": parse(config).to_mapping()})


def _pair(dice: random.Random, ids: list[str]) -> tuple[str, str]:
    """Two blocks, as a rule of one entry: others are refused."""
    block, anywhere = dice.choice(ids), dice.random() < 0.1
    return block, dice.choice([each for each in ids if each != block and (anywhere or each.partition("/")[0] == block.partition("/")[0])])


def note_commands(dice: random.Random, nucleus: CoreCNucleus, config: dict) -> None:
    """A thread that commands at random moments."""
    while True:
        time.sleep(dice.random() * 0.3)
        command_now(dice, nucleus, config)


def main(config_file: str, data: str, acks_file: str, seed: str) -> None:
    config = json.loads(Path(config_file).read_text())
    entries = [entry for entry in config["bloques"] if "funcion" not in entry]
    rng, dice = np.random.default_rng(int(seed)), random.Random(int(seed))
    nucleus = CoreCNucleus(parse(config), data=Path(data), with_sources=False)
    nucleus.start()
    acks = open(acks_file, "ab", buffering=0)
    threading.Thread(target=note_commands, args=(dice, nucleus, config), daemon=True).start()
    print("running", flush=True)
    while True:
        for _ in range(dice.choice([1, 5, 40])):
            frames = frames_of(rng, entries, dice.choice([1, 7, 50, 300]))
            ticket = nucleus.submit(frames, time=wall_ms() - dice.choice([0, 0, 0, 100, 5000]))
            crc = zlib.crc32(frames)
            ticket.add_done_callback(lambda done, crc=crc: acks.write(struct.pack("<QI", done.result(), crc)))
        time.sleep(dice.random() * 0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
