/* The data of CoreC, field by field.  layout.pxd is its twin for Cython and tells the same story.
 *
 * Memory is zero where nothing was written, and zero means "never heard": a segment that was not
 * touched costs no resident page and needs no initialisation.
 */
#ifndef COREC_LAYOUT_H
#define COREC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

enum {
    CC_LANES = 8,               /* entities in a tile */
    CC_SLOTS = 1000,            /* entities in a segment */
    CC_TILES = 125,             /* tiles in use of a slab */
    CC_SLAB_TILES = 128,        /* tiles of address space of a slab: 32 KiB, page aligned */
    CC_FRAME = 10,              /* bytes of '!Ibf?' */
    CC_NOWHERE = 0xffffffff     /* a location that does not exist */
};

/* Eight entities, 256 bytes; the fields are columns. */
typedef struct {
    float    value[CC_LANES];   /* latest accepted reading, the sensor's unit */
    float    emitted[CC_LANES]; /* value of the last message sent, same unit */
    float    fast[CC_LANES];    /* mean on the fast clock, same unit */
    float    slow[CC_LANES];    /* guarded mean on the slow clock, same unit */
    float    var[CC_LANES];     /* guarded variance on the slow clock, unit squared */
    uint32_t trend[CC_LANES];   /* high half bfloat16: mean |step| on the fast clock, the unit;
                                   low half bfloat16: decaying peak of |z|, no unit;
                                   with CC_TRIED, from a repair to the next good reading: bits 27-30 repairs on end,
                                   0-26 second of the last one, modulo 2**27 */
    uint32_t state[CC_LANES];   /* the bits below */
    uint32_t role[CC_LANES];    /* bits 0-19 function (0 = the segment's own);
                                   bits 20-31 threshold scale in 1/256, stored xor CC_ROLE_SCALE_ONE (0 = 1.0) */
} Tile;

enum { CC_ROLE_FUNCTION_MASK = 0xfffff, CC_ROLE_SCALE_SHIFT = 20, CC_ROLE_SCALE_ONE = 256 };

/* state: bit 0 active | 1-2 failures in a row | 3-6 quality | 7-12 error level, 0..63
 *        | 13-18 warm-up, logarithmic | 19-31 tick of the last reading, modulo 8192 */
enum {
    CC_ACTIVE = 1,
    CC_FAILS_SHIFT = 1, CC_FAILS_MASK = 3, CC_QUALITY_SHIFT = 3, CC_QUALITY_MASK = 15,
    CC_ERRORS_SHIFT = 7, CC_ERRORS_MASK = 63, CC_WARM_SHIFT = 13, CC_WARM_MASK = 63,
    CC_SEEN_SHIFT = 19, CC_SEEN_MASK = 8191,
    CC_ERROR_STEP = 8,          /* a failed reading raises the error level by this, a good one lowers it by 1 */
    CC_FAILING = 16,            /* error level from which an entity counts as failing */
    CC_RESTART = 2,             /* failures in a row that restart an entity */
    CC_GUARD = 16               /* warm-up code (about 20 readings) from which the reference is guarded */
};

enum Quality { CC_NEVER, CC_GOOD, CC_WARMING, CC_HIGH, CC_LOW, CC_NOT_FINITE, CC_DECLARED, CC_SILENT, CC_REPAIRED };
/* The kernels raise the first four; an anomaly is about a block, and its alert is raised above them. */
enum AlertKind { CC_ALERT_HIGH = 1, CC_ALERT_LOW, CC_ALERT_SILENCE, CC_ALERT_FAILURE, CC_ALERT_ANOMALY, CC_ALERT_LATE, CC_ALERT_MUTED = 128 };

/* trend of an entity that was repaired and has given no good reading since. */
enum {
    CC_TRIES_SHIFT = 27, CC_TRIED_MASK = 0x7ffffff,
    CC_TRIES_MOST = 10,         /* repairs on end that are counted; below 15, so that no half is a NaN */
    CC_WAIT_S = 10,             /* seconds from the first repair to the second; each further wait is twice as long */
    CC_WAIT_MOST_S = 3600
};
#define CC_TRIED 0x80000000u

/* A companion column of a segment: what an entity's 32 bytes have no room for where clocks are wrong or readings wait. */
typedef struct {
    uint32_t last[CC_SLOTS];    /* event time of the newest reading, 10 ms, modulo 2**32 */
    uint32_t alerted[CC_SLOTS]; /* start of the window for which a late alert was raised last, 10 ms, modulo 2**32 */
} EventColumn;

/* Where 1,000 slots belong; 64 bytes. */
typedef struct {
    uint32_t  owner;            /* block that has it; fusion changes this and nothing else */
    uint32_t  policy;           /* the owner's policy */
    uint32_t  first_id;         /* wire id of slot 0 where ids are arithmetic */
    uint32_t  last_tick;        /* second of its last reading */
    uint32_t  function;         /* native function of its entities, 0 = none */
    uint16_t  used;             /* slots that hold an entity, 1..1000 */
    int8_t    canal;            /* 0..127 */
    uint8_t   flags;            /* CC_SEG_* */
    uint32_t *ids;              /* wire id of each slot where they are sparse, or NULL */
    float    *low;              /* lower limit of each slot, or NULL: the policy's */
    float    *high;             /* upper limit of each slot, or NULL: the policy's */
    uint32_t  sweep_at;         /* tick, in the policy's unit, before which none of it can fall silent; 0 = not known */
    uint32_t  repaired_at;      /* second of the last look for entities to repair; not known after a start */
    EventColumn *events;        /* made at the first reading whose time is far from its arrival, or NULL */
} Segment;

enum {
    CC_SEG_HEARD = 1,           /* some entity of it was heard */
    CC_SEG_DIRTY = 2,           /* changed since the last snapshot began */
    CC_SEG_FROZEN = 4,          /* hibernated: its tiles are zero, the arena holds them compressed */
    CC_SEG_PENDING = 8,         /* a running snapshot still needs it as it is */
    CC_SEG_MIXED = 16,          /* some entity has a function of its own */
    CC_SEG_ATTENTION = CC_SEG_FROZEN | CC_SEG_PENDING
};

/* Moments of one window of one block, about an origin so that large offsets keep their variance. */
typedef struct {
    int64_t  start, end;        /* ms, [start, end); end 0 = not open */
    double   origin;            /* the window's first good value, the sensor's unit */
    double   sum, squares;      /* of (value - origin) */
    float    min, max;          /* the sensor's unit */
    float    score;             /* largest guarded |z| */
    uint32_t count;             /* good readings */
    uint32_t errors;            /* failed readings */
    uint32_t messages;          /* messages sent */
} Window;

typedef struct {
    Window   newest, older;     /* the two newest open windows; further ones are in the pool */
    int64_t  closed_until;      /* ms; windows that start before this are closed */
    uint32_t policy;            /* index of its configuration entry */
    uint32_t entities;          /* slots in use */
    uint32_t heard;             /* entities heard at least once */
    uint32_t failing;           /* entities at or above CC_FAILING */
    uint32_t repairs;           /* entities repaired so far */
    float    fitness;           /* of the last closed window, [0, 1] */
    int8_t   canal;
    uint8_t  stepped;           /* 1 = its entities have native functions */
    uint16_t shard;             /* blocks of one shard may be fused; 0 in an embedded node */
    uint32_t last_tick;         /* second of its last reading */
} Block;

/* What is known of one block's windows for its anomaly score.  Features: share of messages, mean, spread, share of failed readings. */
enum { CC_FEATURES = 4 };
typedef struct {
    double   mean[CC_FEATURES], var[CC_FEATURES];   /* of each feature, guarded */
    double   quick, slow;       /* fast means of how unusual a window is: memories of 4 and 64 windows */
    double   level, spread;     /* guarded mean and variance of ln(1 + quick + slow) */
    double   peak;              /* decaying peak of the score, */
    double   before, newest;    /* but for the newest two stretches of windows: the highest scores of these */
    int64_t  windows;           /* that were judged */
    int64_t  levelled;          /* of these in `level` and `spread` */
    int64_t  silent_until;      /* number of windows before which no alert is raised */
} BlockScore;

/* An open window beside the two of its block: one before them, or one that is amended. */
typedef struct {
    Window   window;
    int64_t  closes;            /* ms of arrival: when an amended window closes; others close by their end */
    uint32_t block;
    uint32_t next;              /* in the block's list, by start; of a free one the next free one; CC_NOWHERE = none */
    uint32_t before, after;     /* in the order in which windows came into the pool; CC_NOWHERE = none */
    uint32_t amends;            /* 1 = its time had passed when it was opened */
    uint32_t spare;
} PoolWindow;

enum {
    CC_POOL_WINDOWS = 65536,            /* windows in the pool; at the bound the one that came first closes */
    CC_BLOCK_WINDOWS = 62       /* of one block in the pool; at the bound the one that starts first closes */
};

/* What a configuration entry asks of its entities, prepared for a turn. */
typedef struct {
    float    slow_alpha;        /* floor of the slow clock's step, (0, 1) */
    float    fast_alpha;        /* step of the fast clock, (0, 1) */
    float    floor2;            /* square of the least threshold, unit squared */
    float    deviation2;        /* square of the threshold in standard deviations */
    float    errors;            /* rise of the threshold at one error level, / 128: the level sits at bit 7 */
    float    gain;              /* (1 + carga constant * load of this turn) / 256, the unit of scales */
    float    low, high;         /* limits, -inf / +inf = none */
    uint32_t warm_max;          /* warm-up code at which slow_alpha is reached */
    uint32_t tick;              /* now, in this policy's tick unit */
    uint32_t tick_shift;        /* tick unit = 2**shift seconds */
    uint32_t heartbeat;         /* longest silence of messages, tick units, >= 1 */
    uint32_t silence;           /* ticks after which an entity is silent */
    uint32_t alert_silence;     /* 1 = and an alert says so */
    int64_t  window_ms;         /* length of a window */
    float    max_errors;        /* share of failing entities that starts a repair */
    uint32_t limited;           /* 1 = some of its entities have limits */
    uint32_t steep;             /* bits of a float: where the step of the slow clock would begin if it always fell as n^-1.5 */
    uint32_t spare;
} Policy;

enum FunctionKind { CC_FN_NONE, CC_FN_RANDOM, CC_FN_CONSTANT, CC_FN_SINE, CC_FN_COUNTER };
typedef struct {
    uint32_t kind;
    float    a, b;              /* offset and amplitude (random: [a, a + b)) */
    uint32_t phase;             /* sine: turns * 2**32 at this step */
    double   period_ms;         /* sine */
} Function;

/* `count` ids from `first`, in blocks of `per_block`, each of `segments` segments from `segment` on. */
typedef struct { uint32_t first, count, per_block, segments, segment; } Range;
typedef struct { uint32_t id, loc; } Device;   /* open addressing; loc CC_NOWHERE = empty */

/* Every reading that came, by what became of it. */
typedef struct {
    uint64_t arrived, stored, filtered, late, shed;
    uint64_t malformed, channel, id, skew, repeated;    /* rejected, by cause */
} Ledger;

#pragma pack(push, 1)
typedef struct { uint32_t id; int8_t canal; float valor; uint8_t estado; int64_t time; } Message;
typedef struct { int64_t time; uint32_t id, block; int8_t canal; uint8_t kind; float valor, limit; } Alert;
typedef struct {
    uint32_t block; int8_t canal; int64_t window; uint32_t count; double mean; float min, max; double std;
    uint32_t errors, messages; float fitness, score;
} Row;
#pragma pack(pop)

/* Where results go; the caller gives room, a kernel stops before it would overflow. */
typedef struct {
    Message *messages; size_t n_messages, max_messages;
    Alert   *alerts;   size_t n_alerts, max_alerts;
    Row     *rows;     size_t n_rows, max_rows;
} Sink;

/* All state of an engine that a kernel sees. */
typedef struct {
    Tile     *tiles;            /* segments * CC_SLAB_TILES */
    Segment  *segments;  uint32_t n_segments;
    Block    *blocks;    uint32_t n_blocks;
    Policy   *policies;  uint32_t n_policies;
    Function *functions; uint32_t n_functions;
    Range    *ranges;    uint32_t n_ranges;     /* sorted by first */
    Device   *devices;   uint32_t device_mask;  /* slots - 1, or 0 without a table */
    uint32_t  dense;            /* ids below this sit at (id / 1000, id % 1000) */
    uint32_t  steps;            /* whole passes so far */
    uint64_t  folds;            /* readings folded so far: the dither's counter */
    int64_t   clock;            /* ms; arrival of the newest readings, as the log stamped them */
    int64_t   watermark;        /* ms; clock - lateness: windows that end by then are closed */
    int64_t   keep;             /* ms; readings older than that are late, 0 = none is */
    uint32_t  two_windows;      /* 1 = rules of before: a third window closes the oldest, and what is closed stays closed */
    int64_t   skipped;          /* ms; by how much the clock was set, in all: ticks know nothing of it */
    uint32_t  tick;             /* seconds that the clock went on, never back */
    PoolWindow *pool;           /* CC_POOL_WINDOWS, or CC_BLOCK_WINDOWS for each block where that is less */
    uint32_t *pools;            /* of each block the first of its windows in the pool */
    uint32_t  pool_free, pool_first, pool_last, pool_used;
    int64_t   next_close;       /* ms of arrival; no amended window closes before */
    uint64_t  restarts;         /* entities restarted after two failures */
    Ledger    ledger;
} Core;

/* A batch to fold: frames, or ids and values. */
typedef struct {
    const uint8_t  *frames;     /* n * 10 bytes, or NULL */
    const uint32_t *ids;        /* else these */
    const float    *values;
    const uint8_t  *states;     /* or NULL: all true */
    const int32_t  *offsets;    /* ms from time, or NULL */
    size_t          n;
    int64_t         time;       /* ms */
    int             canal;      /* of ids and values */
} Batch;

typedef enum { CC_DONE, CC_ATTENTION, CC_ROOM, CC_EVENTS } Stop;   /* CC_EVENTS: the segment needs its event column */
typedef struct { size_t done; Stop stop; uint32_t segment; } Progress;

#endif
