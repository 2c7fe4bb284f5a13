"""What every yardstick shares: the parameters of a filter, and readings to fold."""
from dataclasses import dataclass

import numpy as np

from corec._core import dtypes

MESSAGE = dtypes.MESSAGE


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
    tick: int
    heartbeat: int

    @classmethod
    def of(cls, engine, canal=1):
        """The policy of an engine's first entry."""
        row = engine.arena.policies[0]
        return cls(canal, *(row[name].item() for name in cls.__annotations__ if name != "canal"))
