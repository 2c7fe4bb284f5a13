"""What every yardstick shares: the parameters of a filter, the hash of place and count, the layout of a frame."""
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corec._core import dtypes

MESSAGE = dtypes.MESSAGE
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "u1")])


@dataclass(frozen=True)
class Params:
    """One row of dtypes.POLICY, as the formulas use it."""

    canal: int
    slow_alpha: float
    fast_alpha: float
    floor2: float
    deviation2: float
    errors: float
    gain: float
    warm_max: int
    steep: int
    tick: int
    heartbeat: int

    @classmethod
    def of(cls, engine: Any) -> "Params":
        """The policy of an engine's first entry, on channel 1."""
        row = engine.arena.policies[0]
        return cls(1, *(row[name].item() for name in cls.__annotations__ if name != "canal"))

    def at(self, tick: int) -> "Params":
        """The same at another second."""
        return replace(self, tick=tick)


def seed(place: np.ndarray, count: Any) -> np.ndarray:
    """What the hash of an entity's place and a count starts from."""
    if not isinstance(count, np.ndarray):
        count = np.uint32(count & 0xFFFFFFFF)
    with np.errstate(over="ignore"):
        return place * np.uint32(0x9E3779B1) + count * np.uint32(0x85EBCA6B)


def stir(r: np.ndarray) -> np.ndarray:
    """The hash of each uint32 of *r*, which is overwritten."""
    r ^= r >> np.uint32(16)
    r *= np.uint32(0x7FEB352D)
    r ^= r >> np.uint32(15)
    return r


def random_values(place: np.ndarray, steps: int) -> np.ndarray:
    """float32[n] in [0, 1): the native function "random"."""
    values = (stir(seed(place, steps)) >> np.uint32(8)).astype(np.float32)
    values *= np.float32(2.0**-24)
    return values
