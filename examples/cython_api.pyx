# cython: language_level=3
"""A gateway's own Cython: decodes a device's bytes and folds them, without a Python object in the loop."""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from corec._core.arena cimport Arena
from corec._core.block cimport Outlet, block_fold
from corec._core.layout cimport Batch, Progress


def fold_centidegrees(Arena arena not None, Outlet outlet not None, const unsigned char[::1] raw not None, int64_t time):
    """Fold a device's own format, two bytes a sensor in hundredths of a degree, little-endian; how many were folded.

    arena, outlet: an engine's, and where rows, messages and alerts go.  time: ms since 1970.
    """
    cdef uint32_t[1000] ids
    cdef float[1000] values
    cdef Batch batch
    cdef Progress progress
    cdef uint32_t i, n = min(raw.shape[0] // 2, 1000)
    memset(&batch, 0, sizeof(Batch))
    with nogil:
        for i in range(n):
            ids[i], values[i] = i, (raw[2 * i] | raw[2 * i + 1] << 8) / 100.0
        batch.ids, batch.values = ids, values
        batch.n, batch.time, batch.canal = n, time, 1
        progress = block_fold(&arena.core, &outlet.sink, &batch, 0)
    return progress.done
