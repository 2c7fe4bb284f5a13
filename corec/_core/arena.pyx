# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The one owner of entity memory: tiles, segments, blocks, policies and the map from ids to locations.

Tiles are one anonymous mapping that costs address space only; a page becomes resident when an entity in
it is first written.  Everything is shown to Python as NumPy views of the same memory (dtypes.py).
"""
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove, memset

from corec._core.layout cimport (
    CC_BLOCK_WINDOWS, CC_NOWHERE, CC_POOL_WINDOWS, CC_SEG_ATTENTION, CC_SEG_DIRTY, CC_SEG_FROZEN, CC_SEG_PENDING, CC_SLAB_TILES,
    CC_SLOTS, CC_TILES,
    Block, Core, Device, EventColumn, Function, Ledger, Policy, PoolWindow, Range, Segment, Tile,
)
from corec._core.core cimport (
    cc_advance, cc_device_home, cc_locate_sparse, cc_make_events, cc_pool_clear, cc_pool_forget_closed, cc_pool_restore, cc_set_clock,
)

import numpy as np

from corec._core import dtypes

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *, size_t, int, int, int, long)
    int munmap(void *, size_t)
    int madvise(void *, size_t, int)
    int mprotect(void *, size_t, int)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MADV_DONTNEED
    void *MAP_FAILED


#: Segments, blocks, policies and functions that may be added while running: 1 GB of address space, and no memory.
SPARE = 1 << 15
#: Tables of so many bytes and more are mapped.
cdef size_t MAPPED_FROM = 1 << 17


cdef class Region:
    """A piece of an arena's memory; keeps the arena alive while a view of it lives."""
    cdef Arena arena
    cdef void *start
    cdef Py_ssize_t length

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.length, 0, flags)


cdef object view_of(Arena arena, void *start, size_t count, object dtype):
    cdef Region region = Region.__new__(Region)
    if count == 0:
        return np.empty(0, dtype)
    region.arena = arena
    region.start = start
    region.length = count * <size_t>dtype.itemsize
    return np.frombuffer(region, dtype)


cdef class Arena:
    """Memory for *segments* segments, *blocks* blocks, *policies* policies and *functions* functions.

    Function 0 is "none".  Address space for *spare* more of each is set aside, so that `extend` moves nothing.
    Raises MemoryError when the address space is not to be had.
    """

    def __cinit__(self, uint32_t segments, uint32_t blocks, uint32_t policies, uint32_t functions=1, *, uint32_t spare=SPARE):
        memset(&self.core, 0, sizeof(Core))
        self.columns = []
        self.frozen = {}
        self.spare = spare
        self.tile_bytes = (<size_t>segments + spare) * CC_SLAB_TILES * sizeof(Tile)
        self.core.tiles = <Tile *>MAP_FAILED
        self.core.n_segments, self.core.n_blocks = segments, blocks
        self.core.n_policies, self.core.n_functions = policies, functions
        self.core.segments = <Segment *>self.table(<size_t>segments + spare, sizeof(Segment))
        self.core.blocks = <Block *>self.table(<size_t>blocks + spare, sizeof(Block))
        self.core.policies = <Policy *>self.table(<size_t>policies + spare, sizeof(Policy))
        self.core.functions = <Function *>self.table(<size_t>functions + spare, sizeof(Function))
        self.core.pools = <uint32_t *>self.table(<size_t>blocks + spare, sizeof(uint32_t))
        # As many windows as there can be: a single block's arena is small
        self.core.pool = <PoolWindow *>self.table(min(<size_t>CC_POOL_WINDOWS, (<size_t>blocks + spare) * CC_BLOCK_WINDOWS), sizeof(PoolWindow))
        cc_pool_clear(&self.core)
        self.core.tiles = <Tile *>mmap(NULL, self.tile_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self.core.tiles == <Tile *>MAP_FAILED:
            raise MemoryError(f"no {self.tile_bytes} bytes of address space for {segments} segments")
        self.open_tiles(segments)

    cdef int open_tiles(self, uint32_t segments) except -1:
        """Let the tiles of the first so many segments be used; what is set aside counts as memory nowhere until then."""
        cdef size_t length = <size_t>segments * CC_SLAB_TILES * sizeof(Tile)
        if mprotect(self.core.tiles, length, PROT_READ | PROT_WRITE):
            raise MemoryError(f"no memory for the tiles of {segments} segments")
        return 0

    cdef void *table(self, size_t count, size_t each) except NULL:
        """*count* zeroed elements.  Large tables are mapped: what is not used of them takes no memory, whatever was freed before."""
        cdef size_t size = count * each
        cdef void *made = calloc(count, each) if size < MAPPED_FROM else mmap(
            NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if made == NULL or made == MAP_FAILED:
            raise MemoryError(f"no memory for a table of {count} rows")
        self.tables[self.n_tables], self.table_bytes[self.n_tables] = made, size
        self.n_tables += 1
        return made

    def __dealloc__(self):
        cdef uint32_t segment
        cdef int table
        if self.core.tiles != <Tile *>MAP_FAILED and self.core.tiles != NULL:
            munmap(self.core.tiles, self.tile_bytes)
        if self.core.segments != NULL:
            for segment in range(self.core.n_segments):
                free(self.core.segments[segment].events)
        for table in range(self.n_tables):
            if self.table_bytes[table] < MAPPED_FROM:
                free(self.tables[table])
            else:
                munmap(self.tables[table], self.table_bytes[table])
        free(self.core.ranges)
        free(self.core.devices)

    def extend(self, uint32_t segments, uint32_t blocks, uint32_t policies, uint32_t functions):
        """Make room for more; views taken before stay valid but do not show it.  MemoryError beyond `spare` of any."""
        cdef uint32_t most = max(segments, blocks, policies, functions)
        if most > self.spare:
            raise MemoryError(f"no room for {most} more: at most {self.spare} can be added to this arena")
        self.open_tiles(self.core.n_segments + segments)
        self.spare -= most
        cdef uint32_t block
        for block in range(self.core.n_blocks, self.core.n_blocks + blocks):
            self.core.pools[block] = <uint32_t>CC_NOWHERE
        self.core.n_segments += segments
        self.core.n_blocks += blocks
        self.core.n_policies += policies
        self.core.n_functions += functions

    # --- the memory as NumPy sees it -----------------------------------------------------------

    @property
    def tiles(self):
        """dtypes.TILE[segments, 125]: the live memory, no copy.  A hibernated segment reads as zero."""
        whole = view_of(self, self.core.tiles, <size_t>self.core.n_segments * CC_SLAB_TILES, dtypes.TILE)
        return whole.reshape(self.core.n_segments, CC_SLAB_TILES)[:, :CC_TILES]

    @property
    def segments(self):
        """dtypes.SEGMENT[segments]"""
        return view_of(self, self.core.segments, self.core.n_segments, dtypes.SEGMENT)

    @property
    def blocks(self):
        """dtypes.BLOCK[blocks]"""
        return view_of(self, self.core.blocks, self.core.n_blocks, dtypes.BLOCK)

    @property
    def policies(self):
        """dtypes.POLICY[policies]"""
        return view_of(self, self.core.policies, self.core.n_policies, dtypes.POLICY)

    @property
    def functions(self):
        """dtypes.FUNCTION[functions]"""
        return view_of(self, self.core.functions, self.core.n_functions, dtypes.FUNCTION)

    @property
    def ledger(self):
        """dtypes.LEDGER[1]"""
        return view_of(self, &self.core.ledger, 1, dtypes.LEDGER)

    def became(self):
        """The ledger as the counts of a producer's account: taken, late, malformed, channel, id, skew, repeated."""
        ledger = &self.core.ledger
        return (ledger.stored + ledger.filtered, ledger.late, ledger.malformed, ledger.channel, ledger.id, ledger.skew,
                ledger.repeated)  # fmt: skip

    # --- clocks and counters -------------------------------------------------------------------

    @property
    def clock(self):
        """Arrival of the newest readings, ms."""
        return self.core.clock

    @property
    def watermark(self):
        """Windows that end by then are closed, ms."""
        return self.core.watermark

    @property
    def tick(self):
        """Seconds that the clock went on; it never goes back, and does not know when the clock is set."""
        return self.core.tick

    @property
    def skipped(self):
        """ms: by how much the clock was set, in all."""
        return self.core.skipped

    @skipped.setter
    def skipped(self, int64_t ms):
        self.core.skipped = ms

    @property
    def next_close(self):
        """ms: no amended window closes before the clock is there."""
        return self.core.next_close

    @property
    def two_windows(self):
        """Whether a third window of a block closes the oldest, and what is closed stays closed: the rules of before."""
        return bool(self.core.two_windows)

    @two_windows.setter
    def two_windows(self, bint on):
        self.core.two_windows = on

    def keep(self, int64_t ms):
        """Count readings as late whose time is this much before the clock, 0 = never."""
        self.core.keep = ms

    @property
    def counters(self):
        """(readings folded, whole passes, restarts): part of the state."""
        return self.core.folds, self.core.steps, self.core.restarts

    @counters.setter
    def counters(self, values):
        self.core.folds, self.core.steps, self.core.restarts = values

    def advance(self, int64_t now, int64_t lateness):
        """Move the clock to *now* (ms), never back; the watermark follows *lateness* ms behind."""
        cc_advance(&self.core, now, lateness)

    def set_clock(self, int64_t now):
        """Set the clock to *now* (ms), also back; ticks stay what they are.  Where it goes back, nothing may be open."""
        cc_set_clock(&self.core, now)

    # --- open windows beside the two of each block ---------------------------------------------

    @property
    def pool(self):
        """dtypes.POOL[n], a copy: the open windows beside those of `blocks`, in the order in which they came."""
        cdef uint32_t i = self.core.pool_first
        rows = []
        while i != <uint32_t>CC_NOWHERE:
            rows.append((<const char *>&self.core.pool[i])[:sizeof(PoolWindow)])
            i = self.core.pool[i].after
        return np.frombuffer(b"".join(rows), dtypes.POOL)

    def restore_pool(self, windows):
        """Put back what `pool` gave, in place of what there is.  IndexError where a block of it is not there."""
        cdef const uint8_t[::1] raw = np.ascontiguousarray(windows, dtypes.POOL).view(np.uint8)
        cdef Py_ssize_t i
        cc_pool_clear(&self.core)
        for i in range(len(windows)):
            if not cc_pool_restore(&self.core, <const PoolWindow *>&raw[i * sizeof(PoolWindow)]):
                raise IndexError(f"window {i} of block {windows['block'][i]}")

    def forget_closed(self):
        """Let go of the windows of the pool that end by `closed_until` of their block and amend nothing."""
        cc_pool_forget_closed(&self.core)

    # --- ids -----------------------------------------------------------------------------------

    def map_ranges(self, ranges):
        """Arithmetic ids: an array of dtypes.RANGE, sorted by `first`, that do not overlap; replaces what was mapped."""
        cdef const uint8_t[::1] raw = np.ascontiguousarray(ranges, dtypes.RANGE).view(np.uint8)
        self.core.n_ranges = 0
        self.make_ranges(len(ranges))
        self.core.n_ranges = len(ranges)
        if self.core.n_ranges:
            memcpy(self.core.ranges, &raw[0], raw.shape[0])
        self.find_dense()

    def insert_range(self, ranges):
        """One more range, an array of dtypes.RANGE with one element: in its place among the others."""
        cdef const uint8_t[::1] raw = np.ascontiguousarray(ranges, dtypes.RANGE).view(np.uint8)
        cdef Range added
        cdef uint32_t at = self.core.n_ranges
        memcpy(&added, &raw[0], sizeof(Range))
        self.make_ranges(self.core.n_ranges + 1)
        while at and self.core.ranges[at - 1].first > added.first:
            at -= 1
        memmove(&self.core.ranges[at + 1], &self.core.ranges[at], (self.core.n_ranges - at) * sizeof(Range))
        self.core.ranges[at] = added
        self.core.n_ranges += 1
        self.find_dense()

    def drop_range(self, uint32_t first):
        """Let the ids of the range that begins at *first* name nobody."""
        cdef uint32_t at = 0
        while at < self.core.n_ranges and self.core.ranges[at].first != first:
            at += 1
        if at == self.core.n_ranges:
            raise KeyError(first)
        self.core.n_ranges -= 1
        memmove(&self.core.ranges[at], &self.core.ranges[at + 1], (self.core.n_ranges - at) * sizeof(Range))
        self.find_dense()

    cdef int make_ranges(self, size_t count) except -1:
        """Room for so many ranges; those that there are stay."""
        cdef Range *grown = <Range *>realloc(self.core.ranges, (count + 1) * sizeof(Range))
        if not grown:
            raise MemoryError("no memory for the ranges of ids")
        self.core.ranges = grown
        return 0

    cdef void find_dense(self) noexcept:
        """How far ids and segments go together."""
        cdef uint32_t expected = 0, i
        self.core.dense = 0
        for i in range(self.core.n_ranges):
            if (self.core.ranges[i].first != expected or self.core.ranges[i].segment * <uint32_t>CC_SLOTS != expected
                    or self.core.ranges[i].per_block % CC_SLOTS):
                break
            expected += self.core.ranges[i].count
            self.core.dense = expected
            if expected % CC_SLOTS:
                break

    def map_devices(self, const uint32_t[::1] ids, const uint32_t[::1] locations):
        """Sparse ids: device id -> location (segment * 1024 + slot); replaces what was mapped."""
        cdef uint32_t slots = 16, k
        cdef Py_ssize_t i
        while slots < 2 * ids.shape[0]:
            slots *= 2
        free(self.core.devices)
        self.core.devices = <Device *>calloc(slots, sizeof(Device))
        if not self.core.devices:
            raise MemoryError(f"no memory to map {ids.shape[0]} devices")
        self.core.device_mask = slots - 1 if ids.shape[0] else 0
        for k in range(slots):
            self.core.devices[k].loc = <uint32_t>CC_NOWHERE
        for i in range(ids.shape[0]):
            k = cc_device_home(ids[i], slots - 1)
            while self.core.devices[k & (slots - 1)].loc != <uint32_t>CC_NOWHERE:
                k += 1
            self.core.devices[k & (slots - 1)].id = ids[i]
            self.core.devices[k & (slots - 1)].loc = locations[i]

    def locate(self, uint32_t id):
        """(segment, slot) of a wire id; KeyError when there is none."""
        cdef uint32_t loc = cc_locate_sparse(&self.core, id)
        if loc == <uint32_t>CC_NOWHERE:
            raise KeyError(id)
        return loc >> 10, loc & 1023

    def give_columns(self, uint32_t segment, uint32_t[::1] ids=None, float[::1] low=None, float[::1] high=None):
        """Let a segment use these 1,000-element arrays for its ids and limits; they are kept alive here."""
        self.slab(segment)                      # IndexError when there is no such segment
        cdef Segment *s = &self.core.segments[segment]
        if ((ids is not None and ids.shape[0] < CC_SLOTS) or (low is not None and low.shape[0] < CC_SLOTS)
                or (high is not None and high.shape[0] < CC_SLOTS)):
            raise ValueError(f"expected arrays of {CC_SLOTS} elements")
        self.columns.append((ids.base if ids is not None else None, low.base if low is not None else None,
                             high.base if high is not None else None))
        if ids is not None:
            s.ids = &ids[0]
        if low is not None:
            s.low = &low[0]
        if high is not None:
            s.high = &high[0]

    # --- segments as bytes: snapshots and hibernation ------------------------------------------

    cdef Tile *slab(self, uint32_t segment) except NULL:
        """First tile of a segment."""
        if segment >= self.core.n_segments:
            raise IndexError(f"segment {segment} of {self.core.n_segments}")
        return &self.core.tiles[<size_t>segment * CC_SLAB_TILES]

    def make_events(self, uint32_t segment):
        """Give a segment its event column, filled from the seconds in which its entities were heard; it must be awake."""
        self.slab(segment)                      # IndexError when there is no such segment
        if not cc_make_events(&self.core, segment):
            raise MemoryError(f"no memory for the event times of segment {segment}")

    def segment_bytes(self, uint32_t segment):
        """(bytes of the tiles in use of a segment, the same with its event column): what read_segment may give."""
        cdef size_t tiles = (self.core.segments[segment].used + 7) // 8
        return tiles * sizeof(Tile), tiles * sizeof(Tile) + sizeof(EventColumn)

    def read_segment(self, uint32_t segment):
        """The tiles in use of a segment, as bytes, and behind them its event column, if it has one."""
        cdef const char *start = <const char *>self.slab(segment)
        cdef size_t tiles = (self.core.segments[segment].used + 7) // 8
        cdef EventColumn *events = self.core.segments[segment].events
        whole = start[:tiles * sizeof(Tile)]
        return whole if events == NULL else whole + (<const char *>events)[:sizeof(EventColumn)]

    def write_segment(self, uint32_t segment, const uint8_t[::1] data not None):
        """Put back what read_segment gave."""
        cdef Tile *start = self.slab(segment)
        cdef size_t tiles = (self.core.segments[segment].used + 7) // 8 * sizeof(Tile)
        cdef Segment *s = &self.core.segments[segment]
        if <size_t>data.shape[0] not in (tiles, tiles + sizeof(EventColumn)):
            raise ValueError(f"segment {segment}: expected {tiles} bytes, or {sizeof(EventColumn)} more, got {data.shape[0]}")
        memcpy(start, &data[0], tiles)
        free(s.events)
        s.events = NULL
        if <size_t>data.shape[0] > tiles:
            self.make_events(segment)
            memcpy(s.events, &data[tiles], sizeof(EventColumn))

    def release_segment(self, uint32_t segment):
        """Give the pages of a segment back to the system; it reads as zero and has no event column."""
        free(self.core.segments[segment].events)
        self.core.segments[segment].events = NULL
        madvise(self.slab(segment), CC_SLAB_TILES * sizeof(Tile), MADV_DONTNEED)

    def __sizeof__(self):
        return (sizeof(Core) + self.core.n_segments * sizeof(Segment) + self.core.n_blocks * sizeof(Block)
                + self.core.n_policies * sizeof(Policy) + self.core.n_functions * sizeof(Function))


def struct_sizes():
    """Name -> bytes of each struct, as the C compiler laid it out."""
    return {"TILE": sizeof(Tile), "SEGMENT": sizeof(Segment), "BLOCK": sizeof(Block), "POLICY": sizeof(Policy),
            "FUNCTION": sizeof(Function), "POOL": sizeof(PoolWindow), "RANGE": sizeof(Range), "LEDGER": sizeof(Ledger)}
