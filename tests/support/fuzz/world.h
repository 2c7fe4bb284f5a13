/* A small world for fuzz_fold: every kind of id, segment, limit and function there is, one copy for each
 * instruction set.  Every array is exactly as long as the kernels were promised, and slab space that no entity
 * uses is poisoned, so that AddressSanitizer sees one step too far.
 *
 *     ids              segments      blocks   policy
 *     0 - 2,499        0, 1, 2       0, 1, 2  0   arithmetic from 0: the dense path
 *     10,000 - 11,207  3 + 4, 5      3, 4     1   blocks of 1,203 in two segments; 5 in the last
 *     LISTED[0 - 12]   6             5        2   a device table, each entity with its limits
 *     20,000 - 21,012  7, 8          6, 7     3   native functions; in the last segment one for each entity
 */
#ifndef COREC_WORLD_H
#define COREC_WORLD_H
#include "core.h"
#include "fuzz.h"
#include "wire.h"
#include <math.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONS 1
#endif
#endif
#ifdef POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

enum { SEGMENTS = 9, BLOCKS = 8, POLICIES = 4, FUNCTIONS = 6, RANGES = 3, DEVICES = 32, LISTED = 13, MOST_WORLDS = 3 };
/* Room of the sink, as block.pyx has it. */
enum { ROOM = CC_SLOTS, ROWS = 2 * BLOCKS + CC_POOL_WINDOWS + 1024, LEAST_ROOM = 8 };
enum { LATENESS = 2000 };

typedef struct {
    const Kernels *kernels;
    Core     core;
    Sink     sink;
    uint32_t swept_at;                      /* second of the last sweep */
    uint32_t digest;                        /* of everything that left */
    uint64_t messages, readings, row_messages, alerts;
    uint32_t held[SEGMENTS];                /* digest of a segment that must not change */
} World;

static const struct { uint32_t owner, policy, first_id, function; uint16_t used; } PLACES[SEGMENTS] = {
    {0, 0, 0, 0, 1000}, {1, 0, 1000, 0, 1000}, {2, 0, 2000, 0, 500}, {3, 1, 10000, 0, 1000}, {3, 1, 11000, 0, 203},
    {4, 1, 11203, 0, 5}, {5, 2, 0, 0, LISTED}, {6, 3, 20000, 1, 1000}, {7, 3, 21000, 2, LISTED}};
static const int8_t CANALES[POLICIES] = {1, 2, 127, 0};
static uint32_t listed_ids[LISTED];

static World worlds[MOST_WORLDS];
static int n_worlds;
static uint32_t *ids_column;                /* shared by all worlds: kernels do not write them */
static float *low_column, *high_column;

static inline size_t tiles_used(int segment) { return (PLACES[segment].used + 7u) / 8; }
static inline Tile *slab(const World *w, int segment) { return w->core.tiles + (size_t)segment * CC_SLAB_TILES; }

static void columns_make(void)
{
    ids_column = exactly(CC_SLOTS * 4);
    low_column = exactly(CC_SLOTS * 4);
    high_column = exactly(CC_SLOTS * 4);
    for (uint32_t i = 0; i < LISTED; i++) {
        ids_column[i] = listed_ids[i] = 0x80000000u + i * i * 0x01234567u;
        low_column[i] = i % 3 ? -(float)i : -INFINITY;
        high_column[i] = i % 4 ? (float)i * 2 : INFINITY;
    }
}

static void ids_map(Core *core)
{
    static const Range ranges[RANGES] = {{0, 2500, 1000, 1, 0}, {10000, 1208, 1203, 2, 3}, {20000, 1013, 1000, 1, 7}};
    memcpy(core->ranges, ranges, sizeof ranges);
    core->dense = 2500;
    core->device_mask = DEVICES - 1;
    for (int k = 0; k < DEVICES; k++) core->devices[k].loc = CC_NOWHERE;
    for (uint32_t i = 0; i < LISTED; i++) {
        uint32_t k = cc_device_home(listed_ids[i], core->device_mask);
        while (core->devices[k & core->device_mask].loc != CC_NOWHERE) k++;
        core->devices[k & core->device_mask] = (Device){listed_ids[i], 6 * CC_SLAB_TILES * CC_LANES + i};
    }
}

static void world_make(World *w, const Kernels *kernels)
{
    w->kernels = kernels;
    w->core = (Core){.n_segments = SEGMENTS, .n_blocks = BLOCKS, .n_policies = POLICIES, .n_functions = FUNCTIONS, .n_ranges = RANGES};
    w->core.tiles = exactly(sizeof(Tile) * SEGMENTS * CC_SLAB_TILES);
    w->core.segments = exactly(sizeof(Segment) * SEGMENTS);
    w->core.blocks = exactly(sizeof(Block) * BLOCKS);
    w->core.policies = exactly(sizeof(Policy) * POLICIES);
    w->core.functions = exactly(sizeof(Function) * FUNCTIONS);
    w->core.ranges = exactly(sizeof(Range) * RANGES);
    w->core.devices = exactly(sizeof(Device) * DEVICES);
    w->core.pool = exactly(sizeof(PoolWindow) * CC_POOL_WINDOWS);
    w->core.pools = exactly(sizeof(uint32_t) * BLOCKS);
    w->sink = (Sink){.messages = exactly(sizeof(Message) * ROOM), .max_messages = ROOM, .alerts = exactly(sizeof(Alert) * ROOM),
                     .max_alerts = ROOM, .rows = exactly(sizeof(Row) * ROWS), .max_rows = ROWS};
    ids_map(&w->core);
    for (int s = 0; s < SEGMENTS; s++)
        ASAN_POISON_MEMORY_REGION(slab(w, s) + tiles_used(s), sizeof(Tile) * (CC_SLAB_TILES - tiles_used(s)));
}

static void worlds_make(void)
{
    static const char *const names[MOST_WORLDS] = {"base", "avx2", "avx512"};
    columns_make();
    for (int i = 0; i < MOST_WORLDS; i++) {
        const Kernels *kernels = cc_kernels(names[i]);
        if (kernels) world_make(&worlds[n_worlds++], kernels);
    }
    cc_crc32c_choose(1);
}

/* --- a fresh world for each input --------------------------------------------------------------- */

static void segments_reset(World *w)
{
    for (int s = 0; s < SEGMENTS; s++) {
        memset(slab(w, s), 0, tiles_used(s) * sizeof(Tile));
        free(w->core.segments[s].events);
        w->core.segments[s] = (Segment){.owner = PLACES[s].owner, .policy = PLACES[s].policy, .first_id = PLACES[s].first_id,
                                        .function = PLACES[s].function, .used = PLACES[s].used, .canal = CANALES[PLACES[s].policy]};
    }
    w->core.segments[6].ids = ids_column;
    w->core.segments[6].low = low_column;
    w->core.segments[6].high = high_column;
    w->core.segments[8].flags = CC_SEG_MIXED;
    for (uint32_t i = 0; i < LISTED; i++) slab(w, 8)[i >> 3].role[i & 7] = i % FUNCTIONS | i * 37 << 20;
}

static void blocks_reset(World *w)
{
    memset(w->core.blocks, 0, sizeof(Block) * BLOCKS);
    for (int s = 0; s < SEGMENTS; s++) {
        Block *b = &w->core.blocks[PLACES[s].owner];
        b->policy = PLACES[s].policy;
        b->canal = CANALES[PLACES[s].policy];
        b->entities += PLACES[s].used;
        b->fitness = 1.0f;
    }
}

/* Settings as topology.py prepares them, the odd ones among them; tick_shift stays: see topology.restamp. */
static void policy_choose(Policy *p, Choices *c, int index)
{
    static const float alphas[] = {0.0005f, 0.5f, 0.1f, 1e-30f}, floors[] = {0, 1, 1e-30f, INFINITY};
    static const float deviations[] = {4, 0, 1, 1e6f}, gains[] = {1 / 256.0f, 2 / 256.0f, 1.5f / 256, 1001 / 256.0f};
    static const float limits[] = {0, 10, 1e18f, INFINITY};
    static const uint32_t ticks[] = {60, 1, 2, 8191}, warm[] = {48, 16, 17, 63};
    static const int64_t windows[] = {1000, 100, 3600000, 777};
    const uint32_t a = choose_byte(c), b = choose_byte(c), d = choose_byte(c);
    *p = (Policy){.slow_alpha = alphas[a & 3], .fast_alpha = 1 / 16.0f, .floor2 = floors[a >> 2 & 3], .deviation2 = deviations[a >> 4 & 3],
                  .errors = a >> 7 ? 1 / 63.0f / 128 : 0, .gain = gains[b & 3], .high = limits[b >> 2 & 3], .low = -limits[b >> 4 & 3],
                  .heartbeat = ticks[d & 3], .silence = ticks[d >> 2 & 3], .alert_silence = d >> 4 & 1, .warm_max = warm[d >> 5 & 3],
                  .window_ms = windows[b >> 6], .max_errors = 0.05f, .limited = (b & 0x3c) != 0x3c || index == 2,
                  .tick = p->tick, .tick_shift = p->tick_shift, .steep = d >> 7 ? 0x7f000000u : 0x41800000u};
}

static void functions_reset(World *w)
{
    static const Function functions[FUNCTIONS] = {{0}, {CC_FN_RANDOM, -5, 10, 0, 0}, {CC_FN_SINE, 1, 2, 0, 5000},
                                                  {CC_FN_COUNTER, 0, 1, 0, 0}, {CC_FN_CONSTANT, 7, 0, 0, 0}, {CC_FN_RANDOM, 1e17f, 1e17f, 0, 0}};
    memcpy(w->core.functions, functions, sizeof functions);
}

/* Give the sink room for fewer than it has, so that folds stop for want of it. */
static void sink_narrow(Sink *s, size_t room)
{
    s->max_messages = s->max_alerts = room < ROOM ? room : ROOM;
    s->max_rows = room < ROOM ? room : ROWS;
}

static void clocks_reset(World *w, int64_t start)
{
    Core *core = &w->core;
    core->steps = core->tick = w->swept_at = w->digest = 0;
    core->folds = core->restarts = w->messages = w->readings = w->row_messages = w->alerts = 0;
    core->clock = core->watermark = 0;
    memset(&core->ledger, 0, sizeof core->ledger);
    w->sink.n_messages = w->sink.n_alerts = w->sink.n_rows = 0;
    core->skipped = 0;
    cc_pool_clear(core);
    cc_advance(core, start, LATENESS);
    w->swept_at = core->tick;
}

/* Returns what it left of the input. */
static Choices world_reset(World *w, Choices choices)
{
    segments_reset(w);
    blocks_reset(w);
    functions_reset(w);
    const uint8_t first = choose_byte(&choices);
    for (int i = 0; i < POLICIES; i++) {
        w->core.policies[i] = (Policy){.tick_shift = first >> i & 1 ? (uint32_t)i : 0};
        policy_choose(&w->core.policies[i], &choices, i);
    }
    w->core.segments[7].function = 1 + choose_below(&choices, FUNCTIONS - 1);
    clocks_reset(w, first & 0x80 ? 1 : 1700000000000);
    return choices;
}

static Choices worlds_reset(Choices choices)
{
    Choices rest = choices;
    for (int i = 0; i < n_worlds; i++) rest = world_reset(&worlds[i], choices);
    return rest;
}
#endif
