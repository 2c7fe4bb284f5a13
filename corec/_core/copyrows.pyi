from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL: int
UNSIGNED: int
BIG: int
FLOAT: int
DOUBLE: int
MOMENT: int
NUMBER: int
HEADER: bytes
TRAILER: bytes

def pack_rows(
    rows: NDArray[Any], steps: NDArray[np.int32], shared: bytes, starts: NDArray[np.int64], names: bytes, fields: int
) -> bytes: ...
