"""Turn records and values at random, the same for one seed."""
import numpy as np

from tests.support.fleet import FLEET
from tests.support.twin import T0, envelope


def values(seed=0, n=500):
    return np.random.default_rng(seed).normal(0, 1, n).astype(np.float32)


def turns_of(seed, count=14):
    """Turn records with their batches: load, commands, ticks, repeats, skew, late and damaged batches."""
    dice, sequence, at, turns = np.random.default_rng(seed), 0, T0, []
    for number in range(count):
        at += int(dice.choice([0, 40, 700, 2500, 9000]))
        batches = []
        for _ in range(dice.integers(0, 4)):
            n = int(dice.integers(1, 400))
            ids, states = dice.integers(0, 2500, n), dice.random(n) > 0.1
            offsets = dice.integers(-1500, 1, n).astype(np.int32) if dice.random() < 0.3 else None
            time = at - int(dice.choice([0, 0, 1000, 8000, 4_000_000]))
            batches.append(envelope(ids, dice.normal(0, 2, n), at=time, sequence=sequence, states=states, offsets=offsets, arrival=at))
            sequence += n - int(dice.choice([0, 0, 0, n // 2]))
        if dice.random() < 0.1:
            batches.append((b"noise", at))
        commands = [{"op": "repair", "block": "a/1"}] if number % 5 == 4 else []
        commands += [{"op": "reload", "config": FLEET | {"retraso_max": float(number % 3)}}] if number % 6 == 5 else []
        turns.append({"batches": batches, "load_q": int(dice.integers(0, 256)), "commands": commands,
                      "tick": at if dice.random() < 0.5 else 0})  # fmt: skip
    return turns


def run(engine, turns):
    return [engine.turn(**turn) for turn in turns]
