/* The hot loops, compiled once for each instruction set (kernels_*.c) with the same results bit for bit:
 * eight explicit lanes, no fused multiply-add, no libm, sums in a stated order.
 */
#include "core.h"

#include <stdbool.h>
#include <string.h>

#define VECTOR _Pragma("omp simd")
#define PREFETCH(p) __builtin_prefetch((p), 1, 3)
#define AHEAD 16                /* tiles prefetched ahead of a pass, 4 KiB: 1.4 times the speed */

static inline float as_float(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline uint32_t as_bits(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }
static inline float magnitude(float x) { return as_float(as_bits(x) & 0x7fffffffu); }

/* A hash of place and count: the dither, and the dice of native functions. */
#define PLACE 0x9e3779b1u
static inline uint32_t seed(uint32_t loc, uint32_t n) { return loc * PLACE + n * 0x85ebca6bu; }
static inline uint32_t stir(uint32_t r)
{
    r ^= r >> 16;
    r *= 0x7feb352du;
    return r ^ (r >> 15);
}

/* Eight readings on their way through a tile. */
typedef struct {
    float    x[CC_LANES], low[CC_LANES], high[CC_LANES];    /* IN: value and limits, the sensor's unit */
    uint32_t dice[CC_LANES], phase[CC_LANES];               /* IN: a hash; ticks since the heartbeat was due */
    float    z[CC_LANES];                                   /* OUT: guarded |z| */
    uint32_t event[CC_LANES];                               /* OUT: EVENT_* */
} Lot;

/* Counters of ten bits, so that 125 events add up without a carry; the alarms stand above them. */
enum { EVENT_MESSAGE = 1, EVENT_HEARD = 1 << 10, EVENT_HEALED = 1 << 20, EVENT_COUNTS = 0x3fffffff };
#define EVENT_ALARM(event) ((event) >> 30)                  /* 0, CC_ALERT_HIGH or CC_ALERT_LOW */

#define WARM_BITS    ((uint32_t)CC_WARM_MASK << CC_WARM_SHIFT)
#define GUARD_BITS   (48u << CC_WARM_SHIFT)                 /* set from warm-up code CC_GUARD = 16 on */
#define ERROR_BITS   ((uint32_t)CC_ERRORS_MASK << CC_ERRORS_SHIFT)
#define QUALITY_BITS ((uint32_t)CC_QUALITY_MASK << CC_QUALITY_SHIFT)
#define FAIL_BITS    ((uint32_t)CC_FAILS_MASK << CC_FAILS_SHIFT)
#define IS(quality)  ((uint32_t)(quality) << CC_QUALITY_SHIFT)

/* Fold good readings into the eight lanes of a tile: docs/model.md gives each formula.
 * Branch-free, conditions as bool and state fields left in place: so GCC makes 8-lane vectors of it. */
static inline __attribute__((always_inline))
void tile_apply(Tile *restrict t, Lot *restrict lot, const Policy *restrict p, const bool limited)
{
    const float floor_alpha = p->slow_alpha, fast_alpha = p->fast_alpha, floor2 = p->floor2, deviation2 = p->deviation2;
    const float error_gain = p->errors, base_gain = p->gain;
    const uint32_t tick = p->tick, warm_max = p->warm_max << CC_WARM_SHIFT, steep = p->steep;
    for (int j = 0; j < CC_LANES; j++) {
        const uint32_t s = t->state[j], trend = t->trend[j], r = lot->dice[j];
        const uint32_t warm = s & WARM_BITS, errors = s & ERROR_BITS;
        const bool fresh = warm == 0, guarded = (s & GUARD_BITS) != 0;
        const float x = lot->x[j], slow = t->slow[j], var = t->var[j], fast = t->fast[j];
        const float change = as_float(trend & 0xffff0000u), peak = as_float(trend << 16);
        const float sigma = __builtin_sqrtf(var);

        /* slow clock: guarded mean and variance; its step is 1/n for 256 readings, then 16 / n^1.5 */
        const float nth = as_float(0x3f800000u - (warm << 8)), steeper = as_float(steep - (warm << 8) - (warm << 7));
        const float alpha = most(least(nth, steeper), floor_alpha);
        const float d = x - slow, width = 3.0f * (sigma + change);
        const float clipped = least(most(d, -width), width), e = guarded ? clipped : d;
        const float step = alpha * e;
        const float dither = (as_float((r >> 9) | 0x34000000u) - 0x1.8p-23f) * as_float(as_bits(slow) & 0x7f800000u);
        t->slow[j] = slow + (step + dither);
        t->var[j] = (1.0f - alpha) * (var + e * step);

        /* fast clock: mean and mean |step|; the decaying peak of the score */
        const float quick = most(alpha, fast_alpha);
        const float leap = magnitude(x - t->value[j]), moved = fresh ? 0.0f : leap;
        const float change_now = change + quick * (moved - change);
        const float ratio = magnitude(d) / (sigma + 1e-6f * magnitude(slow) + 1e-12f), z = guarded ? ratio : 0.0f;
        const float higher = most(z, peak * 0.9921875f), peak_now = fresh ? 0.0f : higher;
        t->fast[j] = fast + quick * (x - fast);
        t->value[j] = x;
        t->trend[j] = ((as_bits(change_now) + (r & 0xffffu)) & 0xffff0000u)
                    | ((as_bits(peak_now) + (~r & 0xffffu)) >> 16);
        lot->z[j] = z;

        /* limits, with the mean |step| as hysteresis */
        const uint32_t quality = s & QUALITY_BITS, calm = guarded ? IS(CC_GOOD) : IS(CC_WARMING);
        uint32_t now = calm, alarm = 0;
        if (limited) {
            const float high = lot->high[j], low = lot->low[j];
            const bool was_high = quality == IS(CC_HIGH), was_low = quality == IS(CC_LOW);
            const bool is_high = x > (was_high ? high - change : high), is_low = x < (was_low ? low + change : low);
            const uint32_t lower = is_low ? IS(CC_LOW) : calm, rise = was_high ? 0 : 1u << 30, fall = was_low ? 0 : 2u << 30;
            const uint32_t falling = is_low ? fall : 0;
            now = is_high ? IS(CC_HIGH) : lower;
            alarm = is_high ? rise : falling;
        }
        const bool turned = limited && ((now ^ quality) & IS(7)) != 0
                            && (now >= IS(CC_HIGH) || (quality >= IS(CC_HIGH) && quality <= IS(CC_LOW)));

        /* the threshold, squared to spare a root */
        const float scale = (float)(int32_t)((t->role[j] >> CC_ROLE_SCALE_SHIFT) ^ (uint32_t)CC_ROLE_SCALE_ONE);
        const float gain = base_gain * (1.0f + error_gain * (float)(int32_t)errors) * scale;
        const float far = x - t->emitted[j];
        const uint32_t elapsed = (tick - (s >> CC_SEEN_SHIFT)) & CC_SEEN_MASK;
        const bool due = (int32_t)lot->phase[j] < (int32_t)elapsed;
        const bool leaves = (far * far > (floor2 + deviation2 * var) * (gain * gain)) | due | fresh | turned
                            | ((s & FAIL_BITS) != 0) | (quality == IS(CC_SILENT));
        t->emitted[j] = leaves ? x : t->emitted[j];

        const uint32_t spin = ((r << 16) | (r >> 16)) >> 8;
        const bool warmer = ((float)(int32_t)spin < most(nth, floor_alpha) * (5.77f * 16777216.0f)) & ((int32_t)warm < (int32_t)warm_max);
        t->state[j] = CC_ACTIVE | now | (errors - (errors ? 1u << CC_ERRORS_SHIFT : 0))
                    | (warm + (warmer ? 1u << CC_WARM_SHIFT : 0)) | (tick << CC_SEEN_SHIFT);
        lot->event[j] = (leaves ? EVENT_MESSAGE : 0) | (quality == IS(CC_NEVER) ? EVENT_HEARD : 0)
                      | (errors == CC_FAILING << CC_ERRORS_SHIFT ? EVENT_HEALED : 0) | alarm;
    }
}

static void tile_fold(Tile *restrict t, Lot *restrict lot, const Policy *restrict p)
{
    if (p->limited) tile_apply(t, lot, p, true);
    else tile_apply(t, lot, p, false);
}

typedef struct { uint32_t first, restart, heard, sickened; } Failure;

/* One failed reading into one lane. */
static inline Failure lane_fail(Tile *restrict t, int j, uint32_t cause, const Policy *restrict p)
{
    const uint32_t s = t->state[j];
    const uint32_t before = (s >> CC_FAILS_SHIFT) & CC_FAILS_MASK, fails = before < 3 ? before + 1 : 3;
    const uint32_t level = (s >> CC_ERRORS_SHIFT) & CC_ERRORS_MASK;
    const uint32_t errors = level + CC_ERROR_STEP < 63 ? level + CC_ERROR_STEP : 63;
    const uint32_t restart = (fails == CC_RESTART) & (before != CC_RESTART);
    const uint32_t warm = restart ? 0 : (s >> CC_WARM_SHIFT) & CC_WARM_MASK;
    t->state[j] = (fails << CC_FAILS_SHIFT) | (cause << CC_QUALITY_SHIFT) | (errors << CC_ERRORS_SHIFT)
                | (warm << CC_WARM_SHIFT) | (p->tick << CC_SEEN_SHIFT);
    return (Failure){before == 0, restart, ((s >> CC_QUALITY_SHIFT) & CC_QUALITY_MASK) == CC_NEVER,
                     level < CC_FAILING && errors >= CC_FAILING};
}

static inline void message_put(Sink *sink, uint32_t id, int8_t canal, float valor, uint8_t estado, int64_t time)
{
    sink->messages[sink->n_messages++] = (Message){id, canal, valor, estado, time};
}

static inline void alert_put(Sink *sink, int64_t time, uint32_t id, const Segment *s, uint8_t kind, float valor, float limit)
{
    sink->alerts[sink->n_alerts++] = (Alert){time, id, s->owner, s->canal, kind, valor, limit};
}

static inline uint32_t segment_id(const Segment *s, uint32_t slot)
{
    return s->ids ? s->ids[slot] : s->first_id + slot;
}

/* How many ticks ago the heartbeat of this tile was due, modulo its period: staggers without state. */
static inline uint32_t heartbeat_phase(const Policy *p, uint32_t tile)
{
    return (p->tick + tile) % p->heartbeat;
}

/* --- readings by id --------------------------------------------------------------------------- */

#define TEAMS 2
#define GANG (TEAMS * CC_LANES) /* readings on their way together; 16 beat 8, 32 and 64 */
#define BUSY 0xffffffffu        /* the state of an entity that has joined: no real state is that */

/* Eight readings and the fields of their entities: the eight-lane fold serves readings by id too. */
typedef struct {
    Tile     tile;
    Lot      lot;
    uint32_t spare[8];          /* 512 bytes: places are found by shifts */
} Team;

/* Readings of distinct entities of one policy.  While one gang is folded, the tiles of the next are on
 * their way to the cache. */
typedef struct {
    Team     team[TEAMS];
    uint32_t loc[GANG], id[GANG], index[GANG];
    uint8_t  good[GANG];
    Window  *window[GANG];
    unsigned n;                 /* readings in it */
    unsigned first;             /* the first one not settled; those before `first` are done with */
    uint32_t policy;            /* of those that joined */
} Gang;

static inline Lot *gang_lot(Gang *g, unsigned k) { return &g->team[k / CC_LANES].lot; }

static inline void tile_prefetch(const Tile *tile)
{
    for (int line = 0; line < 4; line++) PREFETCH((const char *)tile + 64 * line);
}

/* Check and locate one reading; returns 0 when its segment must be seen to first. */
static inline int gang_take(Core *core, Gang *g, uint32_t index, uint32_t id, int canal, float x, uint8_t ok, int64_t time)
{
    if (ok > 1) { core->ledger.malformed++; return 1; }
    const uint32_t loc = cc_locate(core, id);
    if (loc == CC_NOWHERE) { core->ledger.id++; return 1; }
    const Segment *s = &core->segments[loc >> 10];
    if (s->canal != canal) { core->ledger.channel++; return 1; }
    if (s->flags & CC_SEG_ATTENTION || cc_needs_events(core, s, time)) return 0;
    tile_prefetch(&core->tiles[loc >> 3]);
    const unsigned k = g->n++;
    g->loc[k] = loc;
    g->id[k] = id;
    g->index[k] = index;
    g->good[k] = ok & (magnitude(x) <= 1e18f);
    gang_lot(g, k)->x[k % CC_LANES] = x;
    return 1;
}

/* Take up to `most` readings from `from` on; returns the first one not taken. */
static inline size_t gang_fill(Core *core, Gang *g, const Batch *b, size_t from, size_t most)
{
    const size_t end = b->n - from < most ? b->n : from + most;
    size_t i = from;
    if (b->frames) {
        for (; i < end; i++) {
            const uint8_t *f = b->frames + i * CC_FRAME;
            uint32_t id, bits;
            memcpy(&id, f, 4);
            memcpy(&bits, f + 5, 4);    /* unaligned: the value sits at offset 5 */
            if (!gang_take(core, g, (uint32_t)i, __builtin_bswap32(id), (int8_t)f[4], as_float(__builtin_bswap32(bits)), f[9],
                           cc_batch_time(b, i)))
                break;
        }
    } else {
        for (; i < end; i++)
            if (!gang_take(core, g, (uint32_t)i, b->ids[i], b->canal, b->values[i], b->states ? b->states[i] : 1, cc_batch_time(b, i)))
                break;
    }
    return i;
}

/* The open window of a block for `time`, or NULL: then cc_window_at may open one. */
static inline Window *block_window(Block *b, int64_t time)
{
    if (time >= b->newest.start && time < b->newest.end) return &b->newest;
    return time >= b->older.start && time < b->older.end ? &b->older : NULL;
}

/* Without a test whether it is so already: that cost more than the stores. */
static inline void segment_touch(const Core *core, Segment *s, Block *block)
{
    s->last_tick = block->last_tick = core->tick;
    s->flags |= CC_SEG_DIRTY | CC_SEG_HEARD;
}

static inline void tile_copy_in(Tile *restrict to, int k, const Tile *restrict from, int j)
{
    to->value[k] = from->value[j];
    to->emitted[k] = from->emitted[j];
    to->fast[k] = from->fast[j];
    to->slow[k] = from->slow[j];
    to->var[k] = from->var[j];
    to->trend[k] = from->trend[j];
    to->state[k] = from->state[j];
    to->role[k] = from->role[j];
}

static inline void tile_copy_out(Tile *restrict to, int j, const Tile *restrict from, int k)
{
    to->value[j] = from->value[k];
    to->emitted[j] = from->emitted[k];
    to->fast[j] = from->fast[k];
    to->slow[j] = from->slow[k];
    to->var[j] = from->var[k];
    to->trend[j] = from->trend[k];
    to->state[j] = from->state[k];
}

/* Dice, phases and limits of a team; `count`: readings folded before its lane 0. */
static inline void lot_fill(const Core *core, Lot *restrict lot, const uint32_t *restrict loc, uint32_t count, const Policy *p)
{
    const uint32_t tick = p->tick, period = p->heartbeat, inverse = 0xffffffffu / period;
    VECTOR for (uint32_t j = 0; j < CC_LANES; j++) lot->dice[j] = stir(seed(loc[j], count + j));
    VECTOR for (int j = 0; j < CC_LANES; j++) {             /* heartbeat_phase without a division a lane */
        const uint32_t n = tick + (loc[j] >> 3), rest = n - (uint32_t)(((uint64_t)n * inverse) >> 32) * period;
        lot->phase[j] = rest >= period ? rest - period : rest;
    }
    if (!p->limited) return;
    for (int j = 0; j < CC_LANES; j++) {
        const Segment *s = &core->segments[loc[j] >> 10];
        lot->low[j] = s->low ? s->low[loc[j] & 1023] : p->low;
        lot->high[j] = s->high ? s->high[loc[j] & 1023] : p->high;
    }
}

/* Put the lanes [first, end) of a team back, and add them to their windows; returns how many messages leave. */
static inline uint32_t team_settle(Core *core, const Team *team, const uint32_t *loc, Window *const *window, unsigned first, unsigned end)
{
    const Lot *lot = &team->lot;
    uint32_t messages = 0;
    for (unsigned j = first; j < end; j++) {
        tile_copy_out(&core->tiles[loc[j] >> 3], loc[j] & 7, &team->tile, j);
        cc_window_add(window[j], lot->x[j], lot->z[j], lot->event[j] & EVENT_MESSAGE);
        messages += lot->event[j] & EVENT_MESSAGE;
    }
    return messages;
}

/* What came of a reading beside its numbers: a message, an alert, a count of its block. */
static inline void tell(Core *core, Sink *sink, const Segment *s, const Lot *lot, unsigned j, uint32_t id, int64_t time)
{
    const uint32_t event = lot->event[j];
    if (event & EVENT_MESSAGE) message_put(sink, id, s->canal, lot->x[j], 1, time);
    core->blocks[s->owner].heard += (event >> 10) & 1;
    core->blocks[s->owner].failing -= (event >> 20) & 1;
    if (EVENT_ALARM(event))
        alert_put(sink, time, id, s, (uint8_t)EVENT_ALARM(event), lot->x[j],
                  EVENT_ALARM(event) == CC_ALERT_HIGH ? lot->high[j] : lot->low[j]);
}

static void gang_tell(Core *core, Sink *sink, Gang *g, const Batch *b, unsigned k)
{
    tell(core, sink, &core->segments[g->loc[k] >> 10], gang_lot(g, k), k % CC_LANES, g->id[k], cc_batch_time(b, g->index[k]));
}

/* Fold those that joined, up to `end`, and put them back. */
static void gang_settle(Core *core, Sink *sink, Gang *g, const Batch *b, unsigned end)
{
    const unsigned first = g->first;
    const Policy *p = &core->policies[g->policy];
    uint32_t messages = 0;
    if (first == end) return;
    for (unsigned at = first & ~7u; at < end; at += CC_LANES) {
        Team *team = &g->team[at / CC_LANES];
        lot_fill(core, &team->lot, &g->loc[at], (uint32_t)core->folds + at - first, p);
        tile_fold(&team->tile, &team->lot, p);
        messages += team_settle(core, team, &g->loc[at], &g->window[at], first > at ? first - at : 0, end - at < 8 ? end - at : 8);
    }
    uint8_t told[GANG];
    unsigned n = 0;
    for (unsigned k = first; k < end; k++) {                /* listed first: a branch on each would be mispredicted */
        told[n] = (uint8_t)k;
        n += gang_lot(g, k)->event[k % CC_LANES] != 0;
    }
    for (unsigned i = 0; i < n; i++) gang_tell(core, sink, g, b, told[i]);
    core->folds += end - first;
    core->ledger.stored += messages;
    core->ledger.filtered += end - first - messages;
    g->first = end;
}

static void fold_failure(Core *core, Sink *sink, const Segment *s, Window *w, uint32_t loc, uint32_t id, float x, int64_t time)
{
    Tile *t = &core->tiles[loc >> 3];
    Block *block = &core->blocks[s->owner];
    const int j = loc & 7;
    const uint32_t cause = magnitude(x) <= 1e18f ? CC_DECLARED : CC_NOT_FINITE;
    const Failure f = lane_fail(t, j, cause, &core->policies[s->policy]);
    w->errors++;
    w->messages += f.first;
    block->heard += f.heard;
    block->failing += f.sickened;
    core->folds++;
    core->restarts += f.restart;
    core->ledger.stored += f.first;
    core->ledger.filtered += f.first ^ 1;
    if (f.first) message_put(sink, id, s->canal, t->value[j], 0, time);
    if (f.restart) alert_put(sink, time, id, s, CC_ALERT_FAILURE, t->value[j], 0.0f);
}

/* A reading that does not join: it failed, is older than the newest of its entity, or too old for any window (NULL).
 * After those before it: what leaves keeps the order of what came. */
static void gang_pass_by(Core *core, Sink *sink, Gang *g, const Batch *b, unsigned k, Window *w, int older)
{
    const Segment *s = &core->segments[g->loc[k] >> 10];
    const float x = gang_lot(g, k)->x[k % CC_LANES];
    const int64_t time = cc_batch_time(b, g->index[k]);
    gang_settle(core, sink, g, b, k);
    g->first = k + 1;
    if (!w) core->ledger.late++;
    else if (older) cc_fold_older(core, sink, g->loc[k], g->id[k], x, g->good[k], time, w);
    else fold_failure(core, sink, s, w, g->loc[k], g->id[k], x, time);
}

static inline void gang_join(Core *core, Sink *sink, Gang *g, const Batch *b, unsigned k)
{
    const uint32_t loc = g->loc[k];
    const int64_t time = cc_batch_time(b, g->index[k]);
    Segment *s = &core->segments[loc >> 10];
    Block *block = &core->blocks[s->owner];
    Window *w = block_window(block, time);
    if (!w) w = cc_find_window(core, block, time);
    Team *team = &g->team[k / CC_LANES];
    Tile *t = &core->tiles[loc >> 3];
    if (!w || s->policy != g->policy || t->state[loc & 7] == BUSY) {
        gang_settle(core, sink, g, b, k);                   /* windows move only while no one points at them */
        g->policy = s->policy;
        if (!w) w = cc_window_at(core, block, time, sink);
    }
    if (w) segment_touch(core, s, block);
    const int older = w && s->events && cc_is_older(s, loc & 1023, t->state[loc & 7], time);
    if (!w || older || !g->good[k]) { gang_pass_by(core, sink, g, b, k, w, older); return; }
    g->window[k] = w;
    tile_copy_in(&team->tile, k % CC_LANES, t, loc & 7);
    t->state[loc & 7] = BUSY;
}

static void gang_fold(Core *core, Sink *sink, Gang *g, const Batch *b)
{
    g->first = 0;
    for (unsigned k = 0; k < g->n; k++) gang_join(core, sink, g, b, k);
    gang_settle(core, sink, g, b, g->n);
    g->n = 0;
}

/* Room for all that the readings of two gangs may give. */
static inline int sink_has_room(const Sink *s)
{
    return s->max_messages - s->n_messages >= 2 * GANG && s->max_alerts - s->n_alerts >= 2 * GANG
        && s->max_rows - s->n_rows >= 8 * GANG;
}

/* --- readings in order of their ids: whole tiles, folded where they are ------------------------- */

/* Whether eight readings from `i` on may be those of one tile; exact only where `run_tile` looks. */
static inline bool run_begins(const Batch *b, size_t i)
{
    return b->n - i >= CC_LANES && !b->offsets && cc_batch_id(b, i + 7) == cc_batch_id(b, i) + 7;
}

/* Eight values, if their readings are good ones of the ids from `id` on, in order. */
static inline bool run_values(const Batch *b, size_t i, uint32_t id, int8_t canal, float *restrict x)
{
    uint32_t wrong = 0;
    if (b->frames) {
        for (uint32_t j = 0; j < CC_LANES; j++) {
            const uint8_t *f = b->frames + (i + j) * CC_FRAME;
            uint32_t head, bits;
            memcpy(&head, f, 4);
            memcpy(&bits, f + 5, 4);
            x[j] = as_float(__builtin_bswap32(bits));
            wrong |= (__builtin_bswap32(head) ^ (id + j)) | (uint8_t)(f[4] ^ canal) | (f[9] ^ 1u);
        }
    } else {
        if (b->canal != canal) return false;
        for (uint32_t j = 0; j < CC_LANES; j++) {
            x[j] = b->values[i + j];
            wrong |= (b->ids[i + j] ^ (id + j)) | (b->states ? b->states[i + j] ^ 1u : 0);
        }
    }
    bool fine = true;
    for (int j = 0; j < CC_LANES; j++) fine &= magnitude(x[j]) <= 1e18f;
    return fine & !wrong;
}

/* Dice, phase and limits of a whole tile. */
static inline void lot_fill_tile(const Core *core, Lot *restrict lot, uint32_t loc, const Segment *s, const Policy *p)
{
    const uint32_t count = (uint32_t)core->folds, phase = heartbeat_phase(p, loc >> 3), slot = loc & 1023;
    VECTOR for (uint32_t j = 0; j < CC_LANES; j++) lot->dice[j] = stir(seed(loc + j, count + j));
    VECTOR for (int j = 0; j < CC_LANES; j++) lot->phase[j] = phase;
    if (!p->limited) return;
    for (int j = 0; j < CC_LANES; j++) {
        lot->low[j] = s->low ? s->low[slot + j] : p->low;
        lot->high[j] = s->high ? s->high[slot + j] : p->high;
    }
}

/* One tile; returns how many messages leave. */
static inline uint32_t run_tile(Core *core, Sink *sink, const Batch *b, Lot *lot, uint32_t id, uint32_t loc, Segment *s, Window *w)
{
    const Policy *p = &core->policies[s->policy];
    const uint32_t before = w->messages;
    uint32_t events = 0;
    lot_fill_tile(core, lot, loc, s, p);
    tile_fold(&core->tiles[loc >> 3], lot, p);
    for (unsigned j = 0; j < CC_LANES; j++) cc_window_add(w, lot->x[j], lot->z[j], lot->event[j] & EVENT_MESSAGE);
    for (unsigned j = 0; j < CC_LANES; j++) events |= lot->event[j];
    if (events)
        for (unsigned j = 0; j < CC_LANES; j++)
            if (lot->event[j]) tell(core, sink, s, lot, j, id + j, b->time);
    core->folds += CC_LANES;
    return w->messages - before;
}

/* Whole tiles of one segment from reading `from` on, while all is plain; returns the first reading not folded. */
static size_t run_segment(Core *core, Sink *sink, const Batch *b, size_t from)
{
    const uint32_t id = cc_batch_id(b, from), loc = cc_locate(core, id);
    if (loc == CC_NOWHERE || loc % CC_LANES) return from;
    Segment *s = &core->segments[loc >> 10];
    Block *block = &core->blocks[s->owner];
    Window *open = block_window(block, b->time);
    if (!open || s->ids || s->events || s->flags & CC_SEG_ATTENTION || cc_needs_events(core, s, b->time)) return from;
    const uint32_t whole = (s->used - (loc & 1023)) / CC_LANES;
    Window w = *open;
    Lot lot;
    uint32_t n = 0, messages = 0;
    for (; n < whole && run_begins(b, from) && sink_has_room(sink); n++, from += CC_LANES) {
        if (!run_values(b, from, id + n * CC_LANES, s->canal, lot.x)) break;
        for (int line = 0; line < 4; line++) PREFETCH((const char *)&core->tiles[(loc >> 3) + n + AHEAD] + 64 * line);
        messages += run_tile(core, sink, b, &lot, id + n * CC_LANES, loc + n * CC_LANES, s, &w);
    }
    if (n) segment_touch(core, s, block);
    *open = w;
    core->ledger.stored += messages;
    core->ledger.filtered += n * CC_LANES - messages;
    return from;
}

/* As many whole tiles as follow one another. */
static size_t run(Core *core, Sink *sink, const Batch *b, size_t from)
{
    for (size_t before = b->n; from != before && run_begins(b, from);) {
        before = from;
        from = run_segment(core, sink, b, from);
    }
    return from;
}

/* How many readings a gang takes from `i` on: where ids follow one another, it stops where a tile begins. */
static inline size_t gang_size(const Core *core, const Batch *b, size_t i)
{
    if (!run_begins(b, i)) return GANG;
    const uint32_t loc = cc_locate(core, cc_batch_id(b, i));
    return loc == CC_NOWHERE ? GANG : CC_LANES - loc % CC_LANES;
}

/* Fold a batch from reading `from` on.  Stops where a segment needs attention or the sink is full. */
static Progress fold(Core *core, Sink *sink, const Batch *b, size_t from)
{
    Gang gangs[2], *now = &gangs[0], *ahead = &gangs[1];
    size_t taken = run(core, sink, b, from), before;
    memset(gangs, 0, sizeof gangs);
    do {
        before = taken;
        if (sink_has_room(sink)) taken = gang_fill(core, ahead, b, taken, gang_size(core, b, taken));
        gang_fold(core, sink, now, b);
        Gang *folded = now;
        now = ahead;
        ahead = folded;
        if (taken < b->n && run_begins(b, taken)) {         /* what came before leaves first */
            gang_fold(core, sink, now, b);
            taken = run(core, sink, b, taken);
        }
    } while (taken > before);
    core->ledger.arrived += taken - from;
    if (taken == b->n) return (Progress){taken, CC_DONE, 0};
    return cc_why_stopped(core, b, taken);
}

/* --- the whole pass --------------------------------------------------------------------------- */

/* sin(2 pi turns) for turns * 2**32, a polynomial on a quarter turn; error below 4e-6. */
static inline float sine(uint32_t turns)
{
    const float half = (float)(int32_t)turns * 0x1p-31f, a = magnitude(half);
    const float y = a > 0.5f ? (half < 0.0f ? a - 1.0f : 1.0f - a) : half, q = y * y;
    return y * (3.14159274f + q * (-5.16771278f + q * (2.55016404f + q * (-0.59926453f + q * 0.08214589f))));
}

static inline float unit(uint32_t r) { return (float)(int32_t)(stir(r) >> 8) * 0x1p-24f; }

static inline float native(const Function *f, uint32_t loc, uint32_t steps)
{
    const uint32_t kind = f->kind;
    if (kind == CC_FN_RANDOM) return f->a + f->b * unit(seed(loc, steps));
    if (kind == CC_FN_SINE) return f->a + f->b * sine(f->phase + loc * PLACE);
    if (kind == CC_FN_COUNTER) return f->a + f->b * (float)(int32_t)(steps & 0xffffffu);
    return f->a;
}

/* Values of one tile; the kind does not change in a pass, so each case is a vector loop. */
static inline void tile_values(const Core *core, const Segment *s, const Function *f, const Tile *t, uint32_t loc, float *restrict x)
{
    const uint32_t dice = seed(loc, core->steps), turn = f->phase + loc * PLACE;
    const float a = f->a, b = f->b;
    if (s->flags & CC_SEG_MIXED)
        for (uint32_t j = 0; j < CC_LANES; j++) {
            const uint32_t own = t->role[j] & CC_ROLE_FUNCTION_MASK;
            x[j] = native(own ? &core->functions[own] : f, loc + j, core->steps);
        }
    else if (f->kind == CC_FN_RANDOM)
        VECTOR for (uint32_t j = 0; j < CC_LANES; j++) x[j] = a + b * unit(dice + j * PLACE);
    else if (f->kind == CC_FN_SINE)
        VECTOR for (uint32_t j = 0; j < CC_LANES; j++) x[j] = a + b * sine(turn + j * PLACE);
    else
        for (int j = 0; j < CC_LANES; j++) x[j] = native(f, 0, core->steps);
}

/* What a pass over a segment adds up, lane by lane. */
typedef struct {
    double   sum[CC_LANES], squares[CC_LANES];
    float    min[CC_LANES], max[CC_LANES], score[CC_LANES];
    uint32_t counts[CC_LANES];                              /* EVENT_COUNTS */
} Lanes;

static inline void lanes_clear(Lanes *a)
{
    memset(a, 0, sizeof *a);
    for (int j = 0; j < CC_LANES; j++) { a->min[j] = __builtin_inff(); a->max[j] = -__builtin_inff(); }
}

/* One loop an operation: mixed ones do not become vectors. */
static inline void lanes_add(Lanes *restrict a, const Lot *restrict lot, double origin)
{
    VECTOR for (int j = 0; j < CC_LANES; j++) a->min[j] = least(lot->x[j], a->min[j]);
    VECTOR for (int j = 0; j < CC_LANES; j++) a->max[j] = most(lot->x[j], a->max[j]);
    VECTOR for (int j = 0; j < CC_LANES; j++) a->score[j] = most(lot->z[j], a->score[j]);
    VECTOR for (int j = 0; j < CC_LANES; j++) a->counts[j] += lot->event[j] & EVENT_COUNTS;
    VECTOR for (int j = 0; j < CC_LANES; j++) {
        const double d = (double)lot->x[j] - origin;
        a->sum[j] += d;
        a->squares[j] += d * d;
    }
}

static void lane_add(Lanes *a, const Lot *lot, int j, double origin)
{
    const double d = (double)lot->x[j] - origin;
    a->sum[j] += d;
    a->squares[j] += d * d;
    a->min[j] = least(lot->x[j], a->min[j]);
    a->max[j] = most(lot->x[j], a->max[j]);
    a->score[j] = most(lot->z[j], a->score[j]);
    a->counts[j] += lot->event[j] & EVENT_COUNTS;
}

/* Lanes into the window, in lane order: the same bits on every instruction set. */
static void lanes_merge(Core *core, const Lanes *a, Block *block, Window *w, uint32_t count)
{
    uint32_t messages = 0;
    for (int j = 0; j < CC_LANES; j++) {
        w->sum += a->sum[j];
        w->squares += a->squares[j];
        w->min = least(a->min[j], w->min);
        w->max = most(a->max[j], w->max);
        w->score = most(a->score[j], w->score);
        messages += a->counts[j] & 1023;
        block->heard += (a->counts[j] >> 10) & 1023;
        block->failing -= (a->counts[j] >> 20) & 1023;
    }
    w->count += count;
    w->messages += messages;
    core->ledger.arrived += count;
    core->ledger.stored += messages;
    core->ledger.filtered += count - messages;
}

/* Slots that sent a message, gathered without a branch on what each did (one in eight does: a branch would
 * be mispredicted once a tile), then written. */
static void messages_put(Core *core, Sink *sink, const Segment *s, uint32_t segment, const uint32_t *events)
{
    uint16_t slots[CC_SLOTS + CC_LANES];
    uint32_t n = 0;
    for (uint32_t slot = 0; slot < s->used; slot += CC_LANES)
        for (uint32_t j = 0; j < CC_LANES; j++) {
            slots[n] = (uint16_t)(slot + j);
            n += events[slot + j] & EVENT_MESSAGE;
        }
    const Tile *tiles = &core->tiles[(size_t)segment * CC_SLAB_TILES];
    for (uint32_t i = 0; i < n; i++)
        message_put(sink, segment_id(s, slots[i]), s->canal, tiles[slots[i] >> 3].emitted[slots[i] & 7], 1, core->clock);
}

static void alarms_put(Core *core, Sink *sink, const Segment *s, uint32_t slot, const Lot *lot, int lanes)
{
    for (int j = 0; j < lanes; j++) {
        const uint32_t kind = EVENT_ALARM(lot->event[j]);
        if (kind) alert_put(sink, core->clock, segment_id(s, slot + j), s, (uint8_t)kind, lot->x[j],
                            kind == CC_ALERT_HIGH ? lot->high[j] : lot->low[j]);
    }
}

/* Where a segment's pass stands. */
typedef struct {
    const Segment *s;
    const Policy  *p;
    Function       f;
    uint32_t       base, phase;
    double         origin;
    Lanes          lanes;
    Lot            lot;
} Pass;

static inline void pass_fill(const Core *core, Pass *restrict a, const Tile *t, uint32_t slot)
{
    const uint32_t loc = a->base + slot, dice = seed(loc, (uint32_t)core->folds);
    tile_values(core, a->s, &a->f, t, loc, a->lot.x);
    VECTOR for (uint32_t j = 0; j < CC_LANES; j++) a->lot.dice[j] = stir(dice + j * PLACE);
    VECTOR for (int j = 0; j < CC_LANES; j++) a->lot.phase[j] = a->phase;
    a->phase = a->phase + 1 == a->p->heartbeat ? 0 : a->phase + 1;
    if (a->s->low) memcpy(a->lot.low, a->s->low + slot, sizeof a->lot.low);
    if (a->s->high) memcpy(a->lot.high, a->s->high + slot, sizeof a->lot.high);
}

static inline __attribute__((always_inline))
void pass_tiles(Core *core, Sink *sink, Pass *restrict a, uint32_t *restrict events, const bool limited)
{
    for (uint32_t slot = 0; slot + CC_LANES <= a->s->used; slot += CC_LANES) {
        Tile *t = &core->tiles[(a->base + slot) >> 3];
        tile_prefetch(t + AHEAD);
        pass_fill(core, a, t, slot);
        tile_apply(t, &a->lot, a->p, limited);
        lanes_add(&a->lanes, &a->lot, a->origin);
        memcpy(events + slot, a->lot.event, sizeof a->lot.event);
        if (limited) alarms_put(core, sink, a->s, slot, &a->lot, CC_LANES);
    }
}

/* The last tile of a segment that is not full: only its used lanes are written and counted. */
static void pass_rest(Core *core, Sink *sink, Pass *a, uint32_t *events)
{
    const uint32_t slot = a->s->used & ~7u;
    const int lanes = a->s->used & 7;
    Tile copy, *t = &core->tiles[(a->base + slot) >> 3];
    copy = *t;
    pass_fill(core, a, t, slot);
    tile_fold(&copy, &a->lot, a->p);
    for (int j = 0; j < lanes; j++) {
        tile_copy_out(t, j, &copy, j);
        lane_add(&a->lanes, &a->lot, j, a->origin);
        events[slot + j] = a->lot.event[j];
    }
    memset(events + slot + lanes, 0, sizeof *events * (size_t)(CC_LANES - lanes));
    alarms_put(core, sink, a->s, slot, &a->lot, lanes);
}

/* Step every entity of a segment once; the caller saw to attention and to room for 1,000 of each output. */
static void step_segment(Core *core, Sink *sink, uint32_t segment)
{
    Segment *s = &core->segments[segment];
    Block *block = &core->blocks[s->owner];
    const Policy p = core->policies[s->policy];
    uint32_t events[CC_SLOTS];
    Pass pass = {.s = s, .p = &p, .base = segment * CC_SLAB_TILES * CC_LANES};
    pass.f = core->functions[s->function];
    pass.phase = heartbeat_phase(&p, pass.base >> 3);
    tile_values(core, s, &pass.f, &core->tiles[pass.base >> 3], pass.base, pass.lot.x);
    Window *w = cc_window_at(core, block, core->clock, sink);
    if (!w->count) w->origin = pass.lot.x[0];
    pass.origin = w->origin;
    lanes_clear(&pass.lanes);
    for (int j = 0; j < CC_LANES; j++) { pass.lot.low[j] = p.low; pass.lot.high[j] = p.high; }
    if (p.limited) pass_tiles(core, sink, &pass, events, true);
    else pass_tiles(core, sink, &pass, events, false);
    if (s->used & 7) pass_rest(core, sink, &pass, events);
    segment_touch(core, s, block);
    if (s->events) cc_note_events(core, s);
    lanes_merge(core, &pass.lanes, block, w, s->used);
    messages_put(core, sink, s, segment, events);
}
