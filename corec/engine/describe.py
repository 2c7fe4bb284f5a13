"""One entity in words and units, from the bits of its tile."""
from typing import Any

import numpy as np

QUALITIES = ("never", "good", "warming", "high", "low", "not finite", "declared failed", "silent", "repaired")


def describe(tile: np.void, lane: int) -> dict[str, Any]:
    """The fields of one entity in words and units; tile: one element of dtypes.TILE."""
    state, trend, role = (int(tile[name][lane]) for name in ("state", "trend", "role"))
    trend = 0 if trend >> 31 else trend     # of one that was repaired: how often, and when
    halves = np.array([trend & 0xFFFF0000, trend << 16 & 0xFFFFFFFF], np.uint32).view(np.float32)
    return {
        "valor": float(tile["value"][lane]), "activo": bool(state & 1), "emitted": float(tile["emitted"][lane]),
        "mean": float(tile["slow"][lane]), "std": float(np.sqrt(tile["var"][lane])), "fast_mean": float(tile["fast"][lane]),
        "mean_step": float(halves[0]), "peak_score": float(halves[1]), "quality": QUALITIES[state >> 3 & 15],
        "failures": state >> 1 & 3, "error_level": state >> 7 & 63, "warm_up": state >> 13 & 63,
        "function": role & 0xFFFFF, "threshold_scale": ((role >> 20) ^ 256) / 256,
    }
