from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

def call_python(
    functions: list[Callable[[], Any]],
    slots: NDArray[np.int64],
    values: NDArray[np.float64],
    put: Callable[[int, Any], object],
    fail: Callable[[int, BaseException], object],
    coroutines: bool,
) -> None: ...
def call_native(
    addresses: NDArray[np.uint64], slots: NDArray[np.int64], t: float, values: NDArray[np.float64]
) -> None: ...
def judge(
    values: NDArray[np.float64], largest: float, narrow: NDArray[np.float32], good: NDArray[np.uint8]
) -> int: ...
