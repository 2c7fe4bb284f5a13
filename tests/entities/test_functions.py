"""corec.entities.functions: which kinds of functions there are, and what each gives."""
import asyncio
import contextlib
import ctypes
import functools
import gc
import random
import types
import warnings

import numpy as np
import pytest

from corec._core.calls import call_python
from corec.blocks.awaiting import may_suspend
from corec.entities.functions import BadReading, Vectorizada, native_address, number_of, vectorizada
from corec.errors import UsageError
from tests.support.entity_samples import block_of, run

DOUBLE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
CAPSULE_NEW = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi))


def outcome(bloque):
    """(valor, activo) of each entity after one pass."""
    return [(m["valor"], m["activo"]) for m in run(bloque)["mensajes"]]


# --- plain and coroutine functions -------------------------------------------------------------

class Sensor:
    def __init__(self, value):
        self.value = value

    def read(self):
        return self.value

    async def read_later(self):
        return {"valor": self.value}

    def __call__(self):
        return self.value


async def awaits_another():
    return await Sensor(7.0).read_later()


async def gives_a_number():
    return 8


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (lambda: 1.5, 1.5), (lambda: 2, 2.0), (lambda: {"valor": 3.5}, 3.5), (lambda: {"valor": 4}, 4.0), (lambda: True, 1.0),
        (lambda: np.float32(0.5), 0.5), (lambda: np.int64(6), 6.0), (lambda: functools.reduce(dict.__or__, [{"valor": 9}]), 9.0),
        (Sensor(1.0).read, 1.0), (Sensor(2.0).read_later, 2.0), (Sensor(3.0), 3.0), (functools.partial(max, 1.0, 2.0), 2.0),
        (functools.partial(Sensor.read_later, Sensor(5.0)), 5.0), (awaits_another, 7.0), (gives_a_number, 8.0),
        (lambda: gives_a_number(), 8.0), (lambda: {"valor": 1.0, "unidad": "C"}, 1.0),
    ],
)  # fmt: skip
def test_function_gives_a_number_or_a_mapping(function, value):
    assert outcome(block_of(function)) == [(value, True)]


def test_documented_functions_run_without_an_event_loop():
    # Given functions that await nothing, or only what does not suspend... When the pass is driven by hand
    bloque = block_of(gives_a_number, Sensor(2.0).read_later, random.random)
    with pytest.raises(StopIteration) as ended:
        bloque.procesar(0.5).send(None)
    # Then it is over at once
    assert [m["activo"] for m in ended.value.value["mensajes"]] == [True, True, True]


def counting():
    calls = 0

    async def count(*, step=2):
        nonlocal calls
        calls += step
        if calls > 4:
            raise ValueError("too many")
        with contextlib.nullcontext():
            return {"valor": [calls * x for x in (1, 2)][-1]}

    return count


def test_coroutine_function_without_await_keeps_closure_and_errors(caplog):
    bloque = block_of(counting())
    assert [run(bloque)["mensajes"][0]["valor"] for _ in range(3)] == [4.0, 8.0, 8.0]
    assert not bloque.entidades[0].activo
    assert "e0 failed: ValueError: too many (test_functions.py:" in caplog.text


async def raises():
    raise ValueError


def test_coroutines_leave_nothing_behind():
    # Given functions of which one raises, When they are called, Then each coroutine has ended and is gone
    before = {id(each) for each in gc.get_objects() if isinstance(each, types.CoroutineType)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(block_of(gives_a_number, raises, Sensor(2.0).read_later))
    assert [each for each in gc.get_objects() if isinstance(each, types.CoroutineType) and id(each) not in before] == []


async def waits():
    await asyncio.sleep(0)


async def loops():
    async for _ in waits():
        pass


async def enters():
    async with waits():
        pass


async def comprehends():
    return [_ async for _ in waits()]


async def generates():
    yield 1


@pytest.mark.parametrize("function", [waits, loops, enters, comprehends, generates, random.random, Sensor(1.0), awaits_another])
def test_function_that_may_suspend_is_told(function):
    assert may_suspend(function)


@pytest.mark.parametrize("function", [gives_a_number, Sensor(2.0).read_later, counting()])
def test_function_without_await_cannot_suspend(function):
    assert not may_suspend(function)


def test_coroutine_that_suspends_against_its_looks_is_a_failed_reading():
    # Given what the check of its code cannot foresee, When it is called as one that cannot suspend
    values, failed = np.zeros(1), {}
    call_python([waits], np.array([0]), values, failed.__setitem__, failed.__setitem__, True)
    # Then it has failed, and no coroutine is left waiting
    assert str(failed[0]) == "a coroutine without await has suspended"


@pytest.mark.parametrize(
    ("got", "kind"),
    [
        ("21.5", "text"), (b"21.5", "text"), (None, "None"), ({}, "no valor"), ({"value": 1}, "no valor"), ({"valor": None}, "None"),
        ({"valor": "x"}, "text"), ([1.0], "list"), (1j, "complex"), (object(), "object"), (10**400, "int"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_said(got, kind):
    with pytest.raises(BadReading, match="expected a (number|mapping)") as error:
        number_of(got)
    assert error.value.kind == kind


# --- vectorised functions ----------------------------------------------------------------------

def test_vectorised_function_is_called_once_for_all_that_share_it():
    calls = []

    @vectorizada
    def shared(indices, carga):
        calls.append((indices.tolist(), carga))
        return indices * 10.0

    bloque = block_of(shared, lambda: 5.0, shared, shared)
    mensajes = run(bloque, carga=0.25)["mensajes"]
    assert calls == [([0, 2, 3], 0.25)]
    assert [m["valor"] for m in mensajes] == [0.0, 5.0, 20.0, 30.0]
    assert isinstance(shared, Vectorizada)


def test_vectorised_function_may_be_a_coroutine():
    @vectorizada
    async def at_once(indices, carga):
        return indices + 0.5

    @vectorizada
    async def later(indices, carga):
        await asyncio.sleep(0.001)
        return indices + 0.25

    assert outcome(block_of(at_once, later, at_once, later)) == [(0.5, True), (1.25, True), (2.5, True), (3.25, True)]


def test_vectorised_nan_fails_its_own_entity_only():
    @vectorizada
    def shared(indices, carga):
        return np.where(indices == 1, np.nan, 1.0)

    assert [activo for _, activo in outcome(block_of(shared, shared, shared))] == [True, False, True]


@pytest.mark.parametrize("got", [None, "text", [1.0], [[1.0, 2.0]], ["a", "b"], 3.0, [1.0, 2.0, 3.0]])
def test_vectorised_function_that_gives_no_fitting_array_fails_all(got, caplog):
    bloque = block_of(vectorizada(lambda indices, carga: got), vectorizada(lambda indices, carga: indices), lambda: 2.0)
    shared = vectorizada(lambda indices, carga: got)
    bloque = block_of(shared, shared, lambda: 2.0)
    assert [activo for _, activo in outcome(bloque)] == [False, False, True]
    assert "e0, e1 failed: expected an array of 2 numbers, got" in caplog.text


def test_vectorised_needs_a_function():
    with pytest.raises(UsageError, match=r"expected a function of \(indices, carga\), got 3"):
        vectorizada(3)


# --- C functions -------------------------------------------------------------------------------

def libm(name):
    function = ctypes.CDLL(None)[name]
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return function


def seconds_after_a_pass(function):
    """The value of the native entity, and the time of the pass in seconds."""
    bloque = block_of(function)
    value = run(bloque)["mensajes"][0]["valor"]
    return value, bloque.last_pass.time / 1000


def test_ctypes_function_gets_the_time_of_the_pass():
    value, time = seconds_after_a_pass(libm("fabs"))
    assert value == pytest.approx(time, abs=0.5)


def test_numba_cfunc_is_called_natively():
    numba = pytest.importorskip("numba")

    @numba.cfunc("float64(float64)")
    def half(t):
        return t / 2

    value, time = seconds_after_a_pass(half)
    assert value == pytest.approx(time / 2, abs=0.5)


def test_scipy_low_level_callable_is_called_natively():
    scipy = pytest.importorskip("scipy")
    value, time = seconds_after_a_pass(scipy.LowLevelCallable(libm("fabs")))
    assert value == pytest.approx(time, abs=0.5)


class LowLevelCallable(tuple):
    """SciPy's, as far as it is looked at."""

    user_data = None


@pytest.mark.parametrize("name", [b"double (double)", b"double(double)", b"double (double t)"])
def test_capsules_are_taken_by_their_signature(name):
    address = ctypes.cast(libm("fabs"), ctypes.c_void_p).value
    capsule = CAPSULE_NEW(address, name, None)
    assert native_address(capsule) == native_address(LowLevelCallable([capsule])) == address


@pytest.mark.parametrize("name", [b"double (double, void *)", b"float (float)", b"int (double)", b""])
def test_capsule_of_another_signature_is_refused(name):
    capsule = CAPSULE_NEW(ctypes.cast(libm("fabs"), ctypes.c_void_p).value, name, None)
    with pytest.raises(UsageError, match=r"expected a C function of double \(double\).*\nHINT: a C function of an entity is"):
        block_of(capsule)


def test_low_level_callable_with_data_is_refused():
    capsule = CAPSULE_NEW(ctypes.cast(libm("fabs"), ctypes.c_void_p).value, b"double (double)", None)
    low = LowLevelCallable([capsule])
    low.user_data = 1
    with pytest.raises(UsageError, match="expected a LowLevelCallable without user_data"):
        block_of(low)


@pytest.mark.parametrize(
    ("restype", "argtypes"),
    [(ctypes.c_int, None), (ctypes.c_double, None), (ctypes.c_double, []), (ctypes.c_double, [ctypes.c_int]), (None, [ctypes.c_double])],
)
def test_ctypes_function_of_another_signature_is_refused(restype, argtypes):
    function = ctypes.CDLL(None)["fabs"]
    function.restype, function.argtypes = restype, argtypes
    with pytest.raises(UsageError, match=r"expected a C function of double \(double\), got (?s:.*)restype to ctypes.c_double"):
        block_of(function)


def test_native_nan_is_a_failed_reading():
    assert outcome(block_of(DOUBLE(lambda t: float("nan")), DOUBLE(lambda t: 2.0))) == [(0.0, False), (2.0, True)]


def test_python_functions_are_no_c_functions():
    for function in (random.random, test_native_nan_is_a_failed_reading, Sensor(1.0), vectorizada(max), 3, None):
        assert native_address(function) is None
