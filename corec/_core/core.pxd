"""The C door of the engine room: what core.h offers, for Cython code here and in a gateway of yours."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from corec._core.layout cimport Alert, Batch, Block, BlockScore, Core, PoolWindow, Progress, Row, Sink, Window

cdef extern from "core.h" nogil:
    ctypedef struct Kernels:
        const char *name
        Progress (*fold)(Core *, Sink *, const Batch *, size_t) noexcept nogil
        void (*step_segment)(Core *, Sink *, uint32_t) noexcept nogil

    const Kernels *cc_kernels(const char *name) noexcept
    uint32_t cc_locate_sparse(const Core *, uint32_t id) noexcept
    uint32_t cc_device_home(uint32_t id, uint32_t mask) noexcept
    void cc_advance(Core *, int64_t now, int64_t lateness) noexcept
    void cc_set_clock(Core *, int64_t now) noexcept
    bint cc_make_events(Core *, uint32_t segment) noexcept
    size_t cc_score_rows(BlockScore *, Row *, size_t n, const uint32_t *ids, double half_life, double least, bint stored, Alert *) noexcept
    void cc_pool_clear(Core *) noexcept
    bint cc_pool_restore(Core *, const PoolWindow *) noexcept
    void cc_pool_forget_closed(Core *) noexcept
    void cc_close_windows(Core *, int64_t until, Sink *) noexcept
    uint32_t cc_examine(const uint8_t *tiles, uint32_t used, uint32_t functions, uint32_t *heard, uint32_t *failing) noexcept
    bint cc_sweep_due(Core *, uint32_t segment, uint32_t since) noexcept
    size_t cc_sweep_segment(Core *, uint32_t segment, uint32_t since, Sink *) noexcept
    size_t cc_repair_segment(Core *, uint32_t segment, int ordered) noexcept
