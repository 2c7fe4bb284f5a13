# cython: language_level=3, boundscheck=False
"""Structured arrays to the bytes of PostgreSQL's binary COPY, without a Python object in the loop.

A row is: the fields that all rows share, the fields that belong to its block, then its own, as the plan says.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import numpy as np

cdef extern from "endian.h" nogil:
    uint16_t htobe16(uint16_t)
    uint32_t htobe32(uint32_t)
    uint64_t htobe64(uint64_t)

#: What a field of the array becomes: the kinds of a plan.
SMALL, UNSIGNED, BIG, FLOAT, DOUBLE, MOMENT, NUMBER = range(7)

cdef enum:
    C_SMALL = 0         # one byte, 0..255 -> smallint; no signed column is below 0
    C_UNSIGNED = 1      # uint32 -> bigint
    C_BIG = 2           # int64 -> bigint
    C_FLOAT = 3         # float32 -> real, NaN -> NULL
    C_DOUBLE = 4        # float64 -> double precision, NaN -> NULL
    C_MOMENT = 5        # int64 ms since 1970 -> timestamptz
    C_NUMBER = 6        # the row's number in the array -> bigint

#: Microseconds from 1970 to PostgreSQL's year 2000.
cdef int64_t EPOCH_US = 946_684_800_000_000

#: The bits of infinity without its sign (shifted out); those of a NaN are greater.
cdef uint32_t INFINITY_32 = 0xFF000000
cdef uint64_t INFINITY_64 = 0xFFE0000000000000

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
cdef Py_ssize_t LONGEST_FIELD = 12


cdef struct Plan:
    const int32_t *steps    # (kind, byte offset in the row) by turns
    Py_ssize_t count
    const char *shared
    Py_ssize_t shared_length
    const char *names
    const int64_t *starts
    Py_ssize_t blocks
    Py_ssize_t block_at     # where a row has its block
    uint16_t fields


cdef inline char *put32(char *p, int32_t length, uint32_t bits) noexcept nogil:
    cdef uint32_t parts[2]
    parts[0] = htobe32(<uint32_t>length)
    parts[1] = htobe32(bits)
    memcpy(p, parts, 8)
    return p + 8


cdef inline char *put64(char *p, uint64_t bits) noexcept nogil:
    cdef uint32_t length = htobe32(8)
    bits = htobe64(bits)
    memcpy(p, &length, 4)
    memcpy(p + 4, &bits, 8)
    return p + 12


cdef inline char *put_null(char *p) noexcept nogil:
    cdef int32_t none = -1
    memcpy(p, &none, 4)
    return p + 4


cdef inline char *put_small(char *p, int16_t value) noexcept nogil:
    cdef uint32_t length = htobe32(2)
    cdef uint16_t bits = htobe16(<uint16_t>value)
    memcpy(p, &length, 4)
    memcpy(p + 4, &bits, 2)
    return p + 6


cdef inline char *put_field(char *p, int32_t kind, const char *field, Py_ssize_t number) noexcept nogil:
    cdef int64_t whole
    cdef uint32_t wide
    if kind == C_SMALL:
        return put_small(p, (<const uint8_t *>field)[0])
    if kind == C_NUMBER:
        return put64(p, <uint64_t>number)
    memcpy(&wide, field, 4)
    if kind == C_FLOAT:
        return put_null(p) if (wide << 1) > INFINITY_32 else put32(p, 4, wide)
    if kind == C_UNSIGNED:
        return put64(p, wide)
    memcpy(&whole, field, 8)
    if kind == C_DOUBLE:
        return put_null(p) if (<uint64_t>whole << 1) > INFINITY_64 else put64(p, <uint64_t>whole)
    return put64(p, <uint64_t>(whole if kind == C_BIG else whole * 1000 - EPOCH_US))


cdef char *put_row(char *p, const Plan *plan, const char *row, Py_ssize_t number) noexcept nogil:
    """The bytes of a row; NULL for a block without a name."""
    cdef uint16_t fields = htobe16(plan.fields)
    cdef uint32_t block
    cdef Py_ssize_t step, length
    memcpy(&block, row + plan.block_at, 4)
    if block >= plan.blocks:
        return NULL
    memcpy(p, &fields, 2)
    memcpy(p + 2, plan.shared, plan.shared_length)
    p += 2 + plan.shared_length
    length = plan.starts[block + 1] - plan.starts[block]
    memcpy(p, plan.names + plan.starts[block], length)
    p += length
    for step in range(plan.count):
        p = put_field(p, plan.steps[2 * step], row + plan.steps[2 * step + 1], number)
    return p


def pack_rows(rows, const int32_t[:, ::1] steps not None, bytes shared not None, const int64_t[::1] starts not None,
              bytes names not None, int fields):
    """The whole of a COPY: header, a tuple for each of *rows*, trailer.

    steps: int32[n, 2], kind and byte offset of each of a row's own fields.  shared: the fields that come first, ready.
    starts, names: the fields of block b are names[starts[b] : starts[b + 1]].  fields: how many all of them are.
    """
    cdef const uint8_t[:, ::1] raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    cdef Plan plan
    cdef Py_ssize_t i, longest = int(np.diff(starts).max(initial=0)), count = raw.shape[0]
    plan.steps, plan.count = &steps[0, 0], steps.shape[0]
    plan.shared, plan.shared_length = PyBytes_AS_STRING(shared), len(shared)
    plan.names, plan.starts, plan.blocks = PyBytes_AS_STRING(names), &starts[0], starts.shape[0] - 1
    plan.block_at, plan.fields = rows.dtype.fields["block"][1], fields
    whole = PyBytes_FromStringAndSize(NULL, len(HEADER) + len(TRAILER)
                                      + count * (2 + plan.shared_length + longest + LONGEST_FIELD * plan.count))
    cdef char *begin = PyBytes_AS_STRING(whole)
    cdef char *p = begin
    memcpy(p, PyBytes_AS_STRING(HEADER), 19)
    p += 19
    with nogil:
        for i in range(count):
            p = put_row(p, &plan, <const char *>&raw[i, 0], i)
            if p == NULL:
                break
    if p == NULL:
        raise IndexError(f"expected a block below {plan.blocks}, got {rows['block'][i]} in row {i}")
    memcpy(p, PyBytes_AS_STRING(TRAILER), 2)
    return whole[: p + 2 - begin]
