# cython: language_level=3, boundscheck=False, wraparound=False
"""One pass over blocks: fold readings by id, step native functions, close windows, sweep, repair.

The loops are in kernels.h, compiled once for each instruction set; COREC_SIMD=base|avx2|avx512 overrides
the choice.  Every function that may meet a hibernated segment, or one that a running snapshot still
needs, stops there and says which: the engine makes it ready and calls again from where it stopped.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from corec._core.arena cimport Arena
from corec._core.core cimport (
    Kernels, cc_close_windows, cc_examine, cc_kernels, cc_repair_segment, cc_score_rows, cc_sweep_due, cc_sweep_segment,
)
from corec._core.layout cimport (
    CC_ATTENTION, CC_DONE, CC_EVENTS, CC_NOWHERE, CC_POOL_WINDOWS, CC_ROOM, CC_SEG_ATTENTION, CC_SEG_FROZEN, CC_SEG_HEARD, CC_SLOTS,
    Alert, Batch, BlockScore, Core, Message, Progress, Row, Segment, Sink, Tile,
)

import os

import numpy as np

from corec._core import dtypes
from corec._core.wire import whole_frames
from corec.errors import ConfigError

DONE, ATTENTION, ROOM, EVENTS = CC_DONE, CC_ATTENTION, CC_ROOM, CC_EVENTS

cdef const Kernels *kernels = cc_kernels(NULL)


def use_kernels(name=None):
    """Choose the instruction set by *name* ("base", "avx2", "avx512"), or the best one; returns its name."""
    global kernels
    cdef const Kernels *found
    if name:
        text = name.encode()
        found = cc_kernels(text)
    else:
        found = cc_kernels(NULL)
    if found == NULL:
        raise ConfigError(f"expected an instruction set that this processor has, got {name!r} in COREC_SIMD",
                          hint="leave COREC_SIMD unset to take the best one; base always works")
    kernels = found
    return kernels.name.decode()


#: The instruction set in use.
SIMD = use_kernels(os.environ.get("COREC_SIMD"))


cdef Progress block_fold(Core *core, Sink *sink, const Batch *batch, size_t start) noexcept nogil:
    return kernels.fold(core, sink, batch, start)


cdef void block_step(Core *core, Sink *sink, unsigned int segment) noexcept nogil:
    kernels.step_segment(core, sink, segment)


cdef object array_of(const void *start, size_t count, object dtype):
    return np.frombuffer(PyBytes_FromStringAndSize(<const char *>start, count * <size_t>dtype.itemsize), dtype)


cdef class Outlet:
    """Room for the messages, alerts and rows of one turn; *blocks* bounds the rows of a closing.

    A pass over one segment needs room for 1,000 messages and alerts.  Eight times as many messages as alerts fit: so
    a pass over a million entities is taken in one piece.  Room that is not used costs no resident memory.
    """

    def __cinit__(self, size_t blocks, size_t room=32 * CC_SLOTS):
        self.sink.max_alerts = room if room > CC_SLOTS else CC_SLOTS
        self.sink.max_messages = 8 * self.sink.max_alerts
        self.sink.max_rows = 2 * blocks + CC_POOL_WINDOWS + 1024
        self.sink.n_messages = self.sink.n_alerts = self.sink.n_rows = 0
        self.sink.messages = <Message *>malloc(self.sink.max_messages * sizeof(Message))
        self.sink.alerts = <Alert *>malloc(self.sink.max_alerts * sizeof(Alert))
        self.sink.rows = <Row *>malloc(self.sink.max_rows * sizeof(Row))
        if not (self.sink.messages and self.sink.alerts and self.sink.rows):
            raise MemoryError("no memory for the results of a turn")

    def __dealloc__(self):
        free(self.sink.messages)
        free(self.sink.alerts)
        free(self.sink.rows)

    def take(self):
        """(rows, messages, alerts) so far, as dtypes.AGGREGATE, MESSAGE and ALERT; empties the outlet."""
        cdef Sink *s = &self.sink
        taken = (array_of(s.rows, s.n_rows, dtypes.AGGREGATE), array_of(s.messages, s.n_messages, dtypes.MESSAGE),
                 array_of(s.alerts, s.n_alerts, dtypes.ALERT))
        s.n_messages = s.n_alerts = s.n_rows = 0
        return taken

    @property
    def alerts(self):
        """How many alerts there are to take."""
        return self.sink.n_alerts

    @property
    def empty(self):
        """True when there is nothing to take."""
        return self.sink.n_messages == 0 and self.sink.n_alerts == 0 and self.sink.n_rows == 0


cdef object run_fold(Arena arena, Outlet outlet, Batch *batch, size_t start):
    cdef Progress progress
    with nogil:
        progress = kernels.fold(&arena.core, &outlet.sink, batch, start)
    return progress.done, progress.stop, progress.segment


def fold_frames(Arena arena not None, Outlet outlet not None, const uint8_t[::1] frames not None, int64_t time,
                const int32_t[::1] offsets=None, size_t start=0):
    """Fold frames (n * 10 bytes) of *time* ms from frame *start* on.

    Returns (frames done, DONE | ATTENTION | ROOM | EVENTS, segment that needs attention).  Raises FrameError when the
    length is no multiple of 10.
    """
    cdef Batch batch
    memset(&batch, 0, sizeof(Batch))
    batch.n = whole_frames(frames.shape[0])
    if offsets is not None:
        if <size_t>offsets.shape[0] != batch.n:
            raise ValueError(f"expected {batch.n} offsets, got {offsets.shape[0]}")
        batch.offsets = &offsets[0] if batch.n else NULL
    batch.frames = &frames[0] if batch.n else NULL
    batch.time = time
    return run_fold(arena, outlet, &batch, start)


def fold_values(Arena arena not None, Outlet outlet not None, const uint32_t[::1] ids not None,
                const float[::1] values not None, int canal, int64_t time, const uint8_t[::1] states=None,
                const int32_t[::1] offsets=None, size_t start=0):
    """Fold ids uint32[n] and values float32[n] of one canal; as fold_frames otherwise."""
    cdef Batch batch
    memset(&batch, 0, sizeof(Batch))
    batch.n = ids.shape[0]
    if (values.shape[0] != ids.shape[0] or (states is not None and states.shape[0] != ids.shape[0])
            or (offsets is not None and offsets.shape[0] != ids.shape[0])):
        raise ValueError(f"expected {ids.shape[0]} values, and as many states and offsets where they are given")
    if batch.n:
        batch.ids, batch.values = &ids[0], &values[0]
        batch.states = &states[0] if states is not None else NULL
        batch.offsets = &offsets[0] if offsets is not None else NULL
    batch.time, batch.canal = time, canal
    return run_fold(arena, outlet, &batch, start)


def step_segments(Arena arena not None, Outlet outlet not None, const uint32_t[::1] segments not None, size_t start=0):
    """Step every entity of these segments once, at the arena's clock; as fold_frames otherwise."""
    cdef Sink *sink = &outlet.sink
    cdef size_t i = start
    cdef uint32_t segment = 0
    cdef int stop = CC_DONE
    with nogil:
        while i < <size_t>segments.shape[0]:
            segment = segments[i]
            if arena.core.segments[segment].flags & CC_SEG_ATTENTION:
                stop = CC_ATTENTION
                break
            if (sink.max_messages - sink.n_messages < CC_SLOTS or sink.max_alerts - sink.n_alerts < CC_SLOTS
                    or sink.max_rows - sink.n_rows < 4):
                stop = CC_ROOM
                break
            kernels.step_segment(&arena.core, sink, segment)
            i += 1
    return i, stop, segment


def count_step(Arena arena not None):
    """One whole pass is over: move the counters that dice and dither hang on."""
    arena.core.steps += 1
    arena.core.folds += 1


def close_windows(Arena arena not None, Outlet outlet not None, int64_t until):
    """Close every window that ends by *until* (ms).  The outlet must be empty of rows."""
    if outlet.sink.n_rows:
        raise ValueError("take the outlet's rows first: a closing may need all its room")
    cc_close_windows(&arena.core, until, &outlet.sink)


def sweep(Arena arena not None, Outlet outlet not None, uint32_t since, size_t start=0):
    """Mark the entities that fell silent, segments *start* on; *since* is the second of the last sweep.

    Hibernated segments are skipped: whatever they hold fell silent before they slept.  Returns (segments done,
    DONE | ATTENTION | ROOM | EVENTS, segment).
    """
    cdef size_t i = start
    cdef Segment *s
    cdef uint32_t before, shift
    cdef int stop = CC_DONE
    with nogil:
        while i < arena.core.n_segments:
            s = &arena.core.segments[i]
            shift = arena.core.policies[s.policy].tick_shift
            before = since >> shift
            if (s.flags & CC_SEG_HEARD and not s.flags & CC_SEG_FROZEN and arena.core.tick >> shift != before
                    and cc_sweep_due(&arena.core, <uint32_t>i, before)):
                if s.flags & CC_SEG_ATTENTION:
                    stop = CC_ATTENTION
                    break
                if outlet.sink.max_alerts - outlet.sink.n_alerts < CC_SLOTS:
                    stop = CC_ROOM
                    break
                cc_sweep_segment(&arena.core, <uint32_t>i, before, &outlet.sink)
            i += 1
    return i, stop, <uint32_t>i


def score_rows(scores not None, rows not None, const uint32_t[::1] ids not None, double half_life, double least, bint stored):
    """Put the anomaly score of their block into *rows* (dtypes.AGGREGATE), in order; returns the alerts that they raise.

    scores: dtypes.BLOCK_SCORE[blocks], which learn of the rows.  ids: wire id of the first entity of each block.
    stored: the rows have their scores already.  IndexError for a row of a block that is not there.
    """
    cdef uint8_t[::1] state = scores.view(np.uint8), data = rows.view(np.uint8)
    cdef size_t n = data.shape[0] // sizeof(Row), blocks = state.shape[0] // sizeof(BlockScore), found = 0, i
    if <size_t>ids.shape[0] != blocks:
        raise ValueError(f"expected {blocks} ids, got {ids.shape[0]}")
    cdef Row *first = <Row *>&data[0] if n else NULL
    for i in range(n):
        if first[i].block >= blocks:
            raise IndexError(f"there is no block {first[i].block}")
    cdef Alert *room = <Alert *>malloc((n + 1) * sizeof(Alert))
    if room == NULL:
        raise MemoryError("no memory for alerts")
    if n:
        with nogil:
            found = cc_score_rows(<BlockScore *>&state[0], first, n, &ids[0], half_life, least, stored, room)
    try:
        return array_of(room, found, dtypes.ALERT)
    finally:
        free(room)


def examine_tiles(Arena arena not None, uint32_t segment, const uint8_t[::1] tiles not None):
    """(first slot that no kernel could have left so or None, entities heard, entities failing) of tiles as `read_segment` gives them.

    Kernels use what an entity has as indexes and do not check them.
    """
    cdef uint32_t heard, failing, slot
    arena.slab(segment)                         # IndexError when there is no such segment
    if tiles.shape[0] < (arena.core.segments[segment].used + 7) // 8 * <Py_ssize_t>sizeof(Tile):
        raise ValueError(f"{tiles.shape[0]} bytes are too few for segment {segment}")
    slot = cc_examine(&tiles[0], arena.core.segments[segment].used, arena.core.n_functions, &heard, &failing)
    return None if slot == <uint32_t>CC_NOWHERE else slot, heard, failing


def repair_segments(Arena arena not None, const uint32_t[::1] segments not None, bint ordered):
    """Regenerate the failing entities of *segments*, which must be awake; returns how many.

    ordered: also those that were regenerated without help and have to wait.
    """
    cdef size_t repaired = 0, i
    for i in range(<size_t>segments.shape[0]):
        arena.slab(segments[i])                 # IndexError when there is no such segment
        repaired += cc_repair_segment(&arena.core, segments[i], ordered)
    return repaired
