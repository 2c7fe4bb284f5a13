"""Sparse ids: however they are spaced, the table finds them in about the same time."""
import time

import numpy as np
import pytest

from corec.engine import Engine
from tests.support.fleet import entry
from tests.support.twin import T0

DEVICES = 20_000
#: Rounds of which the quickest counts.
ROUNDS = 40
#: A pattern is not slower than another by more than that.
MOST_APART = 2.0


def strides():
    """Power of two -> ids at that distance, as many as 32 bits have."""
    return {f"stride of 2^{power}": np.arange(min(DEVICES, 2**32 >> power)) << power for power in range(21)}


def reversed_bits(ids):
    return np.array([int(f"{id:032b}"[::-1], 2) for id in ids.tolist()])


def seconds_each(ids):
    """Least time of a fold for each reading, of ids in no order."""
    engine = Engine({"bloques": [entry(entidades=len(ids), ids={"device": ids.tolist()})]})
    given = np.random.default_rng(1).permutation(ids).astype(np.uint32)
    values, times = np.ones(len(ids), np.float32), []
    for round in range(ROUNDS):
        begun = time.perf_counter()
        engine.feed_arrays(given, values, at=T0 + round, channel=1)
        times.append(time.perf_counter() - begun)
    assert engine.ledger["rejected"] == 0
    return min(times) / len(ids)


@pytest.mark.slow
def test_ids_of_every_spacing_fold_as_quickly():
    # Given ids that follow one another, with common low bits, with bits reversed, of sites in the high bits, and random ones
    patterns = strides() | {
        "reversed bits": reversed_bits(np.arange(DEVICES)),
        "random": np.unique(np.random.default_rng(0).integers(0, 2**32, DEVICES)),
        "64 sites": np.arange(DEVICES) % 64 << 24 | np.arange(DEVICES) // 64 << 4,
    }
    # When each is folded, Then the slowest takes at most twice the time of the quickest with as many devices
    each = {name: seconds_each(np.asarray(ids)) for name, ids in patterns.items()}
    whole = {name: time for name, time in each.items() if len(patterns[name]) > DEVICES // 2}
    slowest, quickest = max(whole, key=whole.get), min(whole, key=whole.get)
    assert whole[slowest] < MOST_APART * whole[quickest], f"{slowest} takes {whole[slowest] / whole[quickest]:.1f} times {quickest}"
    # And fewer devices at longer strides are no slower
    assert max(each.values()) < MOST_APART * whole[quickest]


@pytest.mark.parametrize("power", range(0, 32))
def test_every_listed_id_is_found_and_no_other(power):
    # Given ids at a distance of a power of two
    ids = np.unique(np.arange(min(1000, 2**32 >> power)) << power)
    engine = Engine({"bloques": [entry(entidades=len(ids), ids={"device": ids.tolist()})]})
    # Then each is where it was listed, and those between them are nowhere
    assert [engine.locate(id) for id in ids.tolist()] == [(place // 1000, place % 1000) for place in range(len(ids))]
    for id in set(range(0, 1000, 7)) - set(ids.tolist()):
        with pytest.raises(KeyError):
            engine.locate(id)
