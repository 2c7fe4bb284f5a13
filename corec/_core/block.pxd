"""Folding and stepping, as C sees them: a gateway's own Cython calls these without Python objects.

    from corec._core.arena cimport Arena
    from corec._core.block cimport block_fold, Outlet
"""
from corec._core.core cimport Kernels
from corec._core.layout cimport Batch, Core, Progress, Sink

cdef Progress block_fold(Core *core, Sink *sink, const Batch *batch, size_t start) noexcept nogil
cdef void block_step(Core *core, Sink *sink, unsigned int segment) noexcept nogil


cdef class Outlet:
    """Room for messages, alerts and rows."""
    cdef Sink sink
