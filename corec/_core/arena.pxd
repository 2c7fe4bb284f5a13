"""The one owner of entity memory, as C sees it."""
from libc.stdint cimport uint32_t

from corec._core.layout cimport Core, Tile


cdef class Arena:
    cdef Core core
    cdef size_t tile_bytes
    cdef void *tables[6]        # what `table` gave, and its bytes
    cdef size_t table_bytes[6]
    cdef int n_tables
    cdef void *table(self, size_t count, size_t each) except NULL
    cdef readonly uint32_t spare    # of each that `extend` may still add
    cdef list columns           # buffers handed to segments: ids and limits
    cdef readonly dict frozen   # segment -> compressed tiles of a hibernated segment
    cdef int open_tiles(self, uint32_t segments) except -1
    cdef int make_ranges(self, size_t count) except -1
    cdef void find_dense(self) noexcept
    cdef Tile *slab(self, uint32_t segment) except NULL
