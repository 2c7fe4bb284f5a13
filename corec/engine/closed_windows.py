"""Windows that gave their rows in turns that cannot be folded again: they must not give rows twice."""
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from corec.engine import Engine


def may_open_from(engine: "Engine") -> int:
    """ms; time alone keeps windows that start earlier from being opened again."""
    return max(0, engine.arena.watermark - int(engine.arena.policies["window_ms"].max()))


def keep_closed(engine: "Engine", indexes: np.ndarray, starts: np.ndarray) -> None:
    """Let what came before the end of these windows (block, start in ms) be late, as it was."""
    blocks, policies = engine.arena.blocks, engine.arena.policies
    lengths = policies["window_ms"][blocks["policy"][indexes]]
    np.maximum.at(blocks["closed_until"], indexes, starts // lengths * lengths + lengths)
    for name in ("newest", "older"):
        window = blocks[name]
        window[window["end"] <= blocks["closed_until"]] = np.zeros((), window.dtype)
