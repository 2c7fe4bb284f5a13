# cython: language_level=3
"""A gateway's own Cython: folds readings through the C door, without a Python object in the loop."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

from corec._core.arena cimport Arena
from corec._core.block cimport Outlet, block_fold
from corec._core.layout cimport Batch, Progress


def fold_ramp(Arena arena not None, Outlet outlet not None, long time, uint32_t count):
    """Fold the values 0, 1, 2 ... into the entities 0, 1, 2 ...; how many were folded."""
    cdef uint32_t[1000] ids
    cdef float[1000] values
    cdef Batch batch
    cdef Progress progress
    cdef uint32_t i
    memset(&batch, 0, sizeof(Batch))
    for i in range(min(count, 1000)):
        ids[i], values[i] = i, i
    batch.ids, batch.values = ids, values
    batch.n, batch.time, batch.canal = min(count, 1000), time, 1
    with nogil:
        progress = block_fold(&arena.core, &outlet.sink, &batch, 0)
    return progress.done
