# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls of entities' functions, one after the other: Python ones and C function pointers.

Per Python call 115 ns instead of 165 ns for the same loop in Python, of which 100 are the seed's function itself.
"""
from cpython.dict cimport PyDict_CheckExact
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from libc.stdint cimport int64_t, uint64_t

ctypedef double (*native_function)(double) noexcept nogil


cdef int run(list functions, const int64_t[::1] slots, double[::1] values, object put, Py_ssize_t *i) except -1:
    """Call from function i[0] on; where one raises, i[0] says which."""
    cdef Py_ssize_t n = len(functions)
    cdef object got, valor
    while i[0] < n:
        got = functions[i[0]]()
        valor = (<dict>got).get("valor") if PyDict_CheckExact(got) else got
        if PyFloat_CheckExact(valor):
            values[slots[i[0]]] = PyFloat_AS_DOUBLE(valor)
        else:
            put(int(slots[i[0]]), got)
        i[0] += 1
    return 0


def call_plain(list functions not None, const int64_t[::1] slots not None, double[::1] values not None, put, fail):
    """values[slots[k]] = functions[k](), or its "valor"; the door trusts that slots fit.

    put(slot, got): called with whatever is no float.  fail(slot, error): called with what a function, or put, raised.
    """
    cdef Py_ssize_t i = 0, n = len(functions)
    if slots.shape[0] != n:
        raise ValueError(f"expected {n} slots, got {slots.shape[0]}")
    while i < n:
        try:
            run(functions, slots, values, put, &i)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            fail(int(slots[i]), error)
            i += 1


def call_native(const uint64_t[::1] addresses not None, const int64_t[::1] slots not None, double t, double[::1] values not None):
    """values[slots[k]] = f(t) for the `double f(double)` at each address, without the GIL."""
    cdef Py_ssize_t i, n = addresses.shape[0]
    if slots.shape[0] != n:
        raise ValueError(f"expected {n} slots, got {slots.shape[0]}")
    with nogil:
        for i in range(n):
            values[slots[i]] = (<native_function>addresses[i])(t)
