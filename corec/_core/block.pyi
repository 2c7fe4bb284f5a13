from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec._core.arena import Arena

DONE: int
ATTENTION: int
ROOM: int
EVENTS: int
SIMD: str

class Outlet:
    def __init__(self, blocks: int, room: int = 32_000) -> None: ...
    def take(self) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]: ...
    @property
    def alerts(self) -> int: ...
    @property
    def empty(self) -> bool: ...

def use_kernels(name: str | None = None) -> str: ...
def fold_frames(
    arena: Arena, outlet: Outlet, frames: Any, time: int, offsets: NDArray[np.int32] | None = None, start: int = 0
) -> tuple[int, int, int]: ...
def fold_values(
    arena: Arena,
    outlet: Outlet,
    ids: NDArray[np.uint32],
    values: NDArray[np.float32],
    canal: int,
    time: int,
    states: NDArray[np.uint8] | None = None,
    offsets: NDArray[np.int32] | None = None,
    start: int = 0,
) -> tuple[int, int, int]: ...
def step_segments(arena: Arena, outlet: Outlet, segments: NDArray[np.uint32], start: int = 0) -> tuple[int, int, int]: ...
def count_step(arena: Arena) -> None: ...
def close_windows(arena: Arena, outlet: Outlet, until: int) -> None: ...
def sweep(arena: Arena, outlet: Outlet, since: int, start: int = 0) -> tuple[int, int, int]: ...
def repair_segments(arena: Arena, segments: NDArray[np.uint32], ordered: bool) -> int: ...
