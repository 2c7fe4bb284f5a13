"""Windows that gave their rows in turns that cannot be folded again: they must not give rows twice."""
import numpy as np

from corec.engine.state import EngineState


def may_open_from(state: EngineState) -> int:
    """ms: a window that starts earlier cannot open again, as its time is over."""
    return max(0, state.arena.watermark - int(state.arena.policies["window_ms"].max()))


def keep_closed(state: EngineState, blocks: np.ndarray, starts: np.ndarray) -> None:
    """Close the windows that began at *starts* (int64[n], ms) in *blocks* (indexes): readings before their end are late."""
    rows, policies = state.arena.blocks, state.arena.policies
    lengths = policies["window_ms"][rows["policy"][blocks]]
    np.maximum.at(rows["closed_until"], blocks, starts // lengths * lengths + lengths)
    for name in ("newest", "older"):
        window = rows[name]
        window[window["end"] <= rows["closed_until"]] = np.zeros((), window.dtype)
    state.arena.forget_closed()
