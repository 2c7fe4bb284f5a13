"""Calls of entities' functions: the compiled loops where they are built, the same in Python where not."""
import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

NATIVE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)


def _call_plain(functions: list[Callable[[], Any]], slots: Sequence[int], values: np.ndarray, put: Any, fail: Any) -> None:
    into, pairs = memoryview(values), iter(zip(np.asarray(slots).tolist(), functions, strict=True))
    slot = -1
    while True:
        try:
            for slot, function in pairs:
                got = function()
                valor = got.get("valor") if type(got) is dict else got
                if type(valor) is float:
                    into[slot] = valor
                else:
                    put(slot, got)
            return
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            fail(slot, error)


def _call_native(addresses: Sequence[int], slots: Sequence[int], t: float, values: np.ndarray) -> None:
    for slot, address in zip(slots, addresses, strict=True):
        values[slot] = NATIVE(int(address))(t)


try:
    from corec._core.calls import call_native, call_plain
except ImportError:  # an optional extension: 1.4 times the time of a call, and the same results
    call_native, call_plain = _call_native, _call_plain
