"""What an entity's function may be.

    plain        f() gives a number, or a mapping with "valor"
    coroutine    async def f(): the same
    vectorised   @vectorizada f(indices, carga) gives an array: one call for all entities that share it
    native       double f(double t): a C function pointer; t is the time of the pass in seconds since 1970

A native function comes as a ctypes function, a numba cfunc, a SciPy LowLevelCallable or a PyCapsule; its
signature is checked before it is ever called.
"""
import ctypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from corec.errors import UsageError

#: Largest magnitude of a value; a reading beyond it counts as failed.
LARGEST = 1e18
_SIGNATURE = re.compile(r"double ?\( ?double( \w+)? ?\)")
_HINT = "a C function of an entity is `double f(double t)`, t in seconds since 1970"


@dataclass(frozen=True, slots=True)
class Vectorizada:
    """A function that gives the values of many entities at once; `vectorizada` makes it."""

    funcion: Callable[[Any, float], Any]

    def __call__(self, indices: Any, carga: float) -> Any:
        """float[n]: the values of the entities at *indices* (int64[n], slots of the block)."""
        return self.funcion(indices, carga)


def vectorizada(funcion: Callable[[Any, float], Any]) -> Vectorizada:
    """Let one call give the values of all entities of a block that share *funcion*.

    funcion(indices, carga) -> float[n], NaN for a failed one; indices: int64[n], their slots in the block.
    """
    if not callable(funcion):
        raise UsageError(f"expected a function of (indices, carga), got {funcion!r}")
    return Vectorizada(funcion)


def check_function(funcion: Any, whose: str) -> None:
    """UsageError when *funcion* is none of the kinds above."""
    if native_address(funcion) is None and not callable(funcion):
        raise UsageError(f"{whose}: expected a function, got {funcion!r}",
                         hint="a function takes nothing and gives a number, or a mapping with \"valor\"")


def native_address(funcion: Any) -> int | None:
    """The address of a C function, None when *funcion* is none; UsageError when its signature is another."""
    # by name: neither numba nor SciPy has to be there
    if isinstance(funcion, ctypes._CFuncPtr):
        return _address_of_ctypes(funcion)
    if type(funcion).__name__ == "PyCapsule":
        return _address_in_capsule(funcion)
    if type(funcion).__name__ == "LowLevelCallable" and isinstance(funcion, tuple):
        return _address_of_scipy(funcion)
    if type(funcion).__name__ == "CFunc" and hasattr(funcion, "native_name"):
        return _address_of_ctypes(funcion.ctypes)
    return None


def _address_of_scipy(funcion: Any) -> int | None:
    if funcion.user_data is not None:
        raise UsageError("expected a LowLevelCallable without user_data, got one with it", hint=_HINT)
    return _address_in_capsule(tuple(funcion)[0])


def _address_of_ctypes(funcion: Any) -> int | None:
    arguments = funcion.argtypes
    if funcion.restype is not ctypes.c_double or arguments is None or tuple(arguments) != (ctypes.c_double,):
        got = ", ".join(kind.__name__ for kind in arguments or ()) if arguments is not None else "unknown"
        restype = getattr(funcion.restype, "__name__", funcion.restype)
        raise UsageError(f"expected a C function of double (double), got {restype} ({got})",
                         hint=f"{_HINT}; set its restype to ctypes.c_double and its argtypes to [ctypes.c_double]")
    return ctypes.cast(funcion, ctypes.c_void_p).value


def _address_in_capsule(capsule: Any) -> int:
    name = _capsule("Name", ctypes.c_char_p, [ctypes.py_object])(capsule)
    if name is None or not _SIGNATURE.fullmatch(name.decode(errors="replace").strip()):
        raise UsageError(f"expected a C function of double (double), got a capsule of {name!r}", hint=_HINT)
    return _capsule("Pointer", ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p])(capsule, name)


def _capsule(what: str, restype: Any, argtypes: list[Any]) -> Any:
    """PyCapsule_Get... of Python's own C API, typed in a copy so that no other declaration of it changes."""
    return ctypes.PYFUNCTYPE(restype, *argtypes)((f"PyCapsule_Get{what}", ctypes.pythonapi))


class BadReading(Exception):
    """What a function gave is no value; failures of one *kind* are logged together."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def number_of(got: Any) -> float:
    """The value in what a function gave; BadReading when there is none."""
    if isinstance(got, Mapping):
        if "valor" not in got:
            raise BadReading("no valor", f'expected a mapping with "valor", got one with {", ".join(map(repr, got)) or "nothing"}')
        got = got["valor"]
    if got is None:
        raise BadReading("None", "expected a number, got None")
    if isinstance(got, str | bytes | bytearray):
        raise BadReading("text", f"expected a number, got the text {got[:40]!r}")
    try:
        return float(got)
    except (TypeError, ValueError, OverflowError):
        raise BadReading(type(got).__name__, f"expected a number, got {type(got).__name__}: {got!r:.60}") from None
