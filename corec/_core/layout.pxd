"""The data of CoreC, field by field: the twin of layout.h, for Cython code here and outside.

Memory is zero where nothing was written, and zero means "never heard".  tests/core/test_layout.py holds the
NumPy dtypes of corec/_core/dtypes.py against these structs.
"""
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "layout.h" nogil:
    enum:
        CC_LANES, CC_SLOTS, CC_TILES, CC_SLAB_TILES, CC_FRAME, CC_NOWHERE

    enum:
        CC_ACTIVE, CC_FAILS_SHIFT, CC_FAILS_MASK, CC_QUALITY_SHIFT, CC_QUALITY_MASK, CC_ERRORS_SHIFT, CC_ERRORS_MASK
        CC_WARM_SHIFT, CC_WARM_MASK, CC_SEEN_SHIFT, CC_SEEN_MASK, CC_ERROR_STEP, CC_FAILING, CC_RESTART, CC_GUARD

    enum:
        CC_ROLE_FUNCTION_MASK, CC_ROLE_SCALE_SHIFT, CC_ROLE_SCALE_ONE

    enum:
        CC_TRIED, CC_TRIES_SHIFT, CC_TRIED_MASK, CC_TRIES_MOST, CC_WAIT_S, CC_WAIT_MOST_S

    enum:
        CC_NEVER, CC_GOOD, CC_WARMING, CC_HIGH, CC_LOW, CC_NOT_FINITE, CC_DECLARED, CC_SILENT, CC_REPAIRED

    enum:
        CC_ALERT_HIGH, CC_ALERT_LOW, CC_ALERT_SILENCE, CC_ALERT_FAILURE, CC_ALERT_ANOMALY, CC_ALERT_LATE, CC_ALERT_MUTED

    enum:
        CC_SEG_HEARD, CC_SEG_DIRTY, CC_SEG_FROZEN, CC_SEG_PENDING, CC_SEG_MIXED, CC_SEG_ATTENTION

    enum:
        CC_FN_NONE, CC_FN_RANDOM, CC_FN_CONSTANT, CC_FN_SINE, CC_FN_COUNTER

    ctypedef enum Stop:
        CC_DONE, CC_ATTENTION, CC_ROOM, CC_EVENTS

    enum:
        CC_POOL_WINDOWS, CC_BLOCK_WINDOWS

    ctypedef struct Tile:
        float value[8]       # latest accepted reading, the sensor's unit
        float emitted[8]     # value of the last message sent, same unit
        float fast[8]        # mean on the fast clock, same unit
        float slow[8]        # guarded mean on the slow clock, same unit
        float var[8]         # guarded variance on the slow clock, unit squared
        uint32_t trend[8]    # high half bfloat16: mean |step| on the fast clock, the unit;
                                    # low half bfloat16: decaying peak of |z|, no unit;
                                    # with bit 31, from a repair to the next good reading: bits 27-30 repairs on end,
                                    # 0-26 second of the last one, modulo 2**27
        uint32_t state[8]    # bit 0 active | 1-2 failures in a row | 3-6 quality | 7-12 error level
                                    # | 13-18 warm-up, logarithmic | 19-31 tick of the last reading mod 8192
        uint32_t role[8]     # bits 0-19 function (0 = the segment's own);
                                    # bits 20-31 threshold scale in 1/256, stored xor 256 (0 = 1.0)

    ctypedef struct EventColumn:
        uint32_t last[1000]         # event time of the newest reading, 10 ms, modulo 2**32
        uint32_t alerted[1000]      # start of the window for which a late alert was raised last, 10 ms, modulo 2**32

    ctypedef struct Segment:
        uint32_t owner              # block that has it; fusion changes this and nothing else
        uint32_t policy             # the owner's policy
        uint32_t first_id           # wire id of slot 0 where ids are arithmetic
        uint32_t last_tick          # second of its last reading
        uint32_t function           # native function of its entities, 0 = none
        uint16_t used               # slots that hold an entity, 1..1000
        int8_t canal                # 0..127
        uint8_t flags               # CC_SEG_*
        uint32_t *ids               # wire id of each slot where they are sparse, or NULL
        float *low                  # lower limit of each slot, or NULL: the policy's
        float *high                 # upper limit of each slot, or NULL: the policy's
        uint32_t sweep_at           # tick, in the policy's unit, before which none of it can fall silent; 0 = not known
        uint32_t repaired_at        # second of the last look for entities to repair; not known after a start
        EventColumn *events         # made at the first reading whose time is far from its arrival, or NULL

    ctypedef struct Window:
        int64_t start, end          # ms, [start, end); end 0 = not open
        double origin               # the window's first good value, the sensor's unit
        double sum, squares         # of (value - origin)
        float min, max              # the sensor's unit
        float score                 # largest guarded |z|
        uint32_t count              # good readings
        uint32_t errors             # failed readings
        uint32_t messages           # messages sent

    ctypedef struct Block:
        Window newest, older        # the two newest open windows; further ones are in the pool
        int64_t closed_until        # ms; windows that start before this are closed
        uint32_t policy             # index of its configuration entry
        uint32_t entities           # slots in use
        uint32_t heard              # entities heard at least once
        uint32_t failing            # entities at or above CC_FAILING
        uint32_t repairs            # entities repaired so far
        float fitness               # of the last closed window, [0, 1]
        int8_t canal
        uint8_t stepped             # 1 = its entities have native functions
        uint16_t shard              # blocks of one shard may be fused; 0 in an embedded node
        uint32_t last_tick          # second of its last reading

    enum:
        CC_FEATURES

    ctypedef struct BlockScore:
        double mean[4]              # of each feature, guarded: share of messages, mean, spread, share of failed readings
        double var[4]
        double quick, slow          # fast means of how unusual a window is: memories of 4 and 64 windows
        double level, spread        # guarded mean and variance of ln(1 + quick + slow)
        double peak                 # decaying peak of the score,
        double before, newest       # but for the newest two stretches of windows: the highest scores of these
        int64_t windows             # that were judged
        int64_t levelled            # of these in `level` and `spread`
        int64_t silent_until        # number of windows before which no alert is raised

    ctypedef struct PoolWindow:
        Window window
        int64_t closes              # ms of arrival: when an amended window closes; others close by their end
        uint32_t block
        uint32_t next               # in the block's list, by start; CC_NOWHERE = none
        uint32_t before, after      # in the order in which windows came into the pool
        uint32_t amends             # 1 = its time had passed when it was opened
        uint32_t spare

    ctypedef struct Policy:
        float slow_alpha            # floor of the slow clock's step, (0, 1)
        float fast_alpha            # step of the fast clock, (0, 1)
        float floor2                # square of the least threshold, unit squared
        float deviation2            # square of the threshold in standard deviations
        float errors                # rise of the threshold at one error level, / 128: the level sits at bit 7
        float gain                  # (1 + carga constant * load of this turn) / 256, the unit of scales
        float low, high             # limits, -inf / +inf = none
        uint32_t warm_max           # warm-up code at which slow_alpha is reached
        uint32_t tick               # now, in this policy's tick unit
        uint32_t tick_shift         # tick unit = 2**shift seconds
        uint32_t heartbeat          # longest silence of messages, tick units, >= 1
        uint32_t silence            # ticks after which an entity is silent
        uint32_t alert_silence      # 1 = and an alert says so
        int64_t window_ms           # length of a window
        float max_errors            # share of failing entities that starts a repair
        uint32_t limited            # 1 = some of its entities have limits
        uint32_t steep              # bits of a float: where the step of the slow clock would begin if it always fell as n^-1.5
        uint32_t spare

    ctypedef struct Function:
        uint32_t kind
        float a, b                  # offset and amplitude (random: [a, a + b))
        uint32_t phase              # sine: turns * 2**32 at this step
        double period_ms            # sine

    ctypedef struct Range:
        uint32_t first, count, per_block, segments, segment

    ctypedef struct Device:
        uint32_t id, loc

    ctypedef struct Ledger:
        uint64_t arrived, stored, filtered, late, shed
        uint64_t malformed, channel, id, skew, repeated   # rejected, by cause

    ctypedef struct Message:
        uint32_t id
        int8_t canal
        float valor
        uint8_t estado
        int64_t time

    ctypedef struct Alert:
        int64_t time
        uint32_t id, block
        int8_t canal
        uint8_t kind
        float valor, limit

    ctypedef struct Row:
        uint32_t block
        int8_t canal
        int64_t window
        uint32_t count
        double mean
        float min, max
        double std
        uint32_t errors, messages
        float fitness, score

    ctypedef struct Sink:
        Message *messages
        size_t n_messages, max_messages
        Alert *alerts
        size_t n_alerts, max_alerts
        Row *rows
        size_t n_rows, max_rows

    ctypedef struct Core:
        Tile *tiles                 # segments * CC_SLAB_TILES
        Segment *segments
        uint32_t n_segments
        Block *blocks
        uint32_t n_blocks
        Policy *policies
        uint32_t n_policies
        Function *functions
        uint32_t n_functions
        Range *ranges
        uint32_t n_ranges           # sorted by first
        Device *devices
        uint32_t device_mask        # slots - 1, or 0 without a table
        uint32_t dense              # ids below this sit at (id / 1000, id % 1000)
        uint32_t steps              # whole passes so far
        uint64_t folds              # readings folded so far: the dither's counter
        int64_t clock               # ms; arrival of the newest readings, as the log stamped them
        int64_t watermark           # ms; clock - lateness: windows that end by then are closed
        int64_t keep                # ms; readings older than that are late, 0 = none is
        uint32_t two_windows        # 1 = rules of before: a third window closes the oldest, and what is closed stays closed
        int64_t skipped             # ms; by how much the clock was set, in all: ticks know nothing of it
        uint32_t tick               # seconds that the clock went on, never back
        PoolWindow *pool            # CC_POOL_WINDOWS, or CC_BLOCK_WINDOWS for each block where that is less
        uint32_t *pools             # of each block the first of its windows in the pool
        uint32_t pool_free, pool_first, pool_last, pool_used
        int64_t next_close          # ms of arrival; no amended window closes before
        uint64_t restarts           # entities restarted after two failures
        Ledger ledger

    ctypedef struct Batch:
        const uint8_t *frames       # n * 10 bytes, or NULL
        const uint32_t *ids         # else these
        const float *values
        const uint8_t *states       # or NULL: all true
        const int32_t *offsets      # ms from time, or NULL
        size_t n
        int64_t time                # ms
        int canal                   # of ids and values

    ctypedef struct Progress:
        size_t done
        Stop stop
        uint32_t segment
