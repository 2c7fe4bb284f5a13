"""corec.functions and corec.blocks.await_free: which kinds of functions there are, and what each gives."""
import asyncio
import contextlib
import ctypes
import functools
import random
import sys
import traceback

import numpy as np
import pytest

from corec.blocks.await_free import without_await
from corec.errors import UsageError
from corec.functions import BadReading, Vectorizada, native_address, number_of, vectorizada
from tests.entity_samples import block_of, run

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


def test_seeds_functions_run_without_an_event_loop():
    # Given functions that await nothing, or only what does not suspend... When the pass is driven by hand
    bloque = block_of(gives_a_number, Sensor(2.0).read_later, random.random)
    with pytest.raises(StopIteration) as ended:
        bloque.procesar(0.5).send(None)
    # Then it is over at once
    assert [m["activo"] for m in ended.value.value["mensajes"]] == [True, True, True]


async def closing_over(depth, seen):
    return depth


def counting():
    calls = 0

    async def count(*, step=2):
        nonlocal calls
        calls += step
        try:
            if calls > 4:
                raise ValueError("too many")
            with contextlib.nullcontext():
                return {"valor": [calls * x for x in (1, 2)][-1]}
        finally:
            calls += 0

    return count


def test_function_without_await_gives_the_same_as_its_coroutine():
    # Given two of the same, one driven as a coroutine, one as the plain function
    driven, plain = counting(), without_await(counting())
    for _ in range(2):
        with pytest.raises(StopIteration) as ended:
            driven().send(None)
        assert plain() == ended.value.value
    # Then they fail alike too, and the traceback shows the line
    with pytest.raises(ValueError, match="too many") as coroutine:
        driven().send(None)
    with pytest.raises(ValueError, match="too many") as called:
        plain()
    lines = [traceback.extract_tb(error.tb)[-1].line for error in (coroutine, called)]
    assert lines[0] == lines[1] == 'raise ValueError("too many")'


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


@pytest.mark.parametrize("function", [waits, loops, enters, comprehends, generates, random.random, Sensor.read, Sensor(1.0)])
def test_function_that_may_suspend_is_left_as_it_is(function):
    assert without_await(function) is None


@pytest.mark.skipif(sys.version_info[:2] > (3, 14), reason="not tested there, and not used there")
def test_without_await_works_on_this_python():
    assert without_await(gives_a_number)() == 8
    assert without_await(Sensor(2.0).read_later)() == {"valor": 2.0}


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
