/* Windows, silence, repair and the lookup of sparse ids: what runs once a window or a second. */
#include "core.h"
#include <string.h>
#include <math.h>

static const Range *range_of(const Core *core, uint32_t id)
{
    uint32_t low = 0, high = core->n_ranges;
    while (low < high) {                            /* last range with first <= id */
        const uint32_t mid = (low + high) / 2;
        if (core->ranges[mid].first <= id) low = mid + 1; else high = mid;
    }
    if (!low) return NULL;
    const Range *r = &core->ranges[low - 1];
    return id - r->first < r->count ? r : NULL;
}

static uint32_t device_of(const Core *core, uint32_t id)
{
    if (!core->device_mask) return CC_NOWHERE;
    for (uint32_t k = id * 0x9e3779b1u;; k++) {
        const Device *d = &core->devices[k & core->device_mask];
        if (d->loc == CC_NOWHERE || d->id == id) return d->loc;
    }
}

uint32_t cc_locate_sparse(const Core *core, uint32_t id)
{
    const Range *r = range_of(core, id);
    if (!r) return device_of(core, id);
    const uint32_t off = id - r->first, block = off / r->per_block, slot = off % r->per_block;
    const uint32_t segment = r->segment + block * r->segments + slot / CC_SLOTS;
    return segment * CC_SLAB_TILES * CC_LANES + slot % CC_SLOTS;
}

/* The segment that keeps reading `index` from being folded, or CC_NOWHERE. */
uint32_t cc_attention(const Core *core, const Batch *b, size_t index)
{
    const uint32_t loc = cc_locate(core, cc_batch_id(b, index));
    if (loc == CC_NOWHERE || !(core->segments[loc >> 10].flags & CC_SEG_ATTENTION)) return CC_NOWHERE;
    return loc >> 10;
}

/* fitness = good / (good + failed) of the window, times the share of heard entities that do not fail. */
static float fitness_of(const Block *b, const Window *w)
{
    const double readings = (double)w->count + w->errors;
    const double good = readings > 0 ? w->count / readings : 1.0;
    const double healthy = b->heard ? 1.0 - (double)b->failing / b->heard : 1.0;
    return (float)(good * healthy);
}

static void window_close(const Core *core, Block *b, Window *w, Sink *sink)
{
    const double n = w->count, mean = w->sum / n, var = w->squares / n - mean * mean;
    b->fitness = fitness_of(b, w);
    sink->rows[sink->n_rows++] = (Row){
        .block = (uint32_t)(b - core->blocks), .canal = b->canal, .window = w->start, .count = w->count,
        .mean = w->count ? w->origin + mean : NAN, .min = w->count ? w->min : NAN, .max = w->count ? w->max : NAN,
        .std = w->count ? sqrt(var > 0.0 ? var : 0.0) : NAN,
        .errors = w->errors, .messages = w->messages, .fitness = b->fitness, .score = w->score};
    if (w->end > b->closed_until) b->closed_until = w->end;
    w->start = w->end = 0;
}

static void window_open(Window *w, int64_t start, int64_t end)
{
    memset(w, 0, sizeof *w);
    w->start = start;
    w->end = end;
    w->min = INFINITY;
    w->max = -INFINITY;
}

static int64_t window_start(int64_t time, int64_t length)
{
    const int64_t rest = time % length;
    return time - (rest < 0 ? rest + length : rest);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

/* The open window for `time`, opening it where it may; NULL when that window is closed: a late reading.
 * Windows never overlap, whatever lengths reloads gave them: a new one gives way to those that are. */
Window *cc_window_at(Core *core, Block *b, int64_t time, Sink *sink)
{
    if (b->newest.end && time >= b->newest.start && time < b->newest.end) return &b->newest;
    if (b->older.end && time >= b->older.start && time < b->older.end) return &b->older;
    const int64_t length = core->policies[b->policy].window_ms, start = window_start(time, length), end = start + length;
    if (time < b->closed_until || end <= core->watermark) return NULL;
    if (!b->newest.end) {
        window_open(&b->newest, later(start, b->closed_until), end);
        return &b->newest;
    }
    if (time >= b->newest.end) {
        if (b->older.end) window_close(core, b, &b->older, sink);
        b->older = b->newest;
        window_open(&b->newest, later(start, b->older.end), end);
        return &b->newest;
    }
    if (b->older.end) return NULL;
    window_open(&b->older, later(start, b->closed_until), sooner(end, b->newest.start));
    return &b->older;
}

/* Close, block by block, every window that ends by `until`; the caller gave room for two rows a block. */
void cc_close_windows(Core *core, int64_t until, Sink *sink)
{
    for (uint32_t i = 0; i < core->n_blocks; i++) {
        Block *b = &core->blocks[i];
        if (b->older.end && b->older.end <= until) window_close(core, b, &b->older, sink);
        if (b->newest.end && b->newest.end <= until) window_close(core, b, &b->newest, sink);
    }
}

/* The age of an entity that was heard and does not count as silent, in ticks of its policy, else 0; without a branch.
 * `since` is the tick of the last sweep: all ages were within the limit then, so none is ambiguous. */
static inline uint32_t age_of(uint32_t state, uint32_t since, uint32_t passed)
{
    const uint32_t quality = state & (CC_QUALITY_MASK << CC_QUALITY_SHIFT);
    const uint32_t counts = (quality != CC_NEVER << CC_QUALITY_SHIFT) & (quality != CC_SILENT << CC_QUALITY_SHIFT);
    return (((since - (state >> CC_SEEN_SHIFT)) & CC_SEEN_MASK) + passed) & (0u - counts);
}

/* Whether a sweep would mark anything in a segment: a pass over one column, and none before its oldest entity, or one
 * that is heard from now on, can have reached the limit. */
int cc_sweep_due(Core *core, uint32_t segment, uint32_t since)
{
    Segment *s = &core->segments[segment];
    const Policy *p = &core->policies[s->policy];
    const Tile *tiles = &core->tiles[(size_t)segment * CC_SLAB_TILES];
    const uint32_t passed = p->tick - since;
    uint32_t oldest = 0;
    if (p->tick < s->sweep_at) return 0;
    for (uint32_t k = 0; k < (s->used + 7u) / 8; k++)
        for (int j = 0; j < CC_LANES; j++) {
            const uint32_t age = age_of(tiles[k].state[j], since, passed);
            oldest = age > oldest ? age : oldest;
        }
    s->sweep_at = oldest > p->silence ? 0 : p->tick + (p->silence - oldest) + 1;
    return oldest > p->silence;
}

/* Mark the entities of a segment that fell silent.  Returns how many. */
size_t cc_sweep_segment(Core *core, uint32_t segment, uint32_t since, Sink *sink)
{
    Segment *s = &core->segments[segment];
    const Policy *p = &core->policies[s->policy];
    Tile *tiles = &core->tiles[(size_t)segment * CC_SLAB_TILES];
    size_t silent = 0;
    for (uint32_t slot = 0; slot < s->used; slot++) {
        Tile *t = &tiles[slot >> 3];
        const uint32_t j = slot & 7, state = t->state[j];
        if (age_of(state, since, p->tick - since) <= p->silence) continue;
        t->state[j] = (state & ~(CC_QUALITY_MASK << CC_QUALITY_SHIFT) & ~CC_ACTIVE) | (CC_SILENT << CC_QUALITY_SHIFT);
        s->flags |= CC_SEG_DIRTY;
        silent++;
        if (p->alert_silence)
            sink->alerts[sink->n_alerts++] = (Alert){core->clock, s->ids ? s->ids[slot] : s->first_id + slot, s->owner,
                                                     s->canal, CC_ALERT_SILENCE, t->value[j], 0.0f};
    }
    return silent;
}

static uint32_t error_level(const Tile *tiles, uint32_t slot)
{
    return (tiles[slot >> 3].state[slot & 7] >> CC_ERRORS_SHIFT) & CC_ERRORS_MASK;
}

/* The lowest error level of a healthy entity of the segment, CC_FAILING where none is healthy. */
static uint32_t fittest_level(const Tile *tiles, const Segment *s)
{
    uint32_t best = CC_FAILING;
    for (uint32_t slot = 0; slot < s->used; slot++) {
        const uint32_t level = error_level(tiles, slot);
        if ((tiles[slot >> 3].state[slot & 7] & CC_ACTIVE) && level < best) best = level;
    }
    return best;
}

/* For each slot the healthy entity of this error level nearest to it, of two the one before, or -1. */
static void nearest_of_level(const Tile *tiles, const Segment *s, uint32_t level, int16_t donor[CC_SLOTS])
{
    int32_t near = -1;
    for (int32_t slot = s->used - 1; slot >= 0; slot--) {
        donor[slot] = (int16_t)near;
        if ((tiles[slot >> 3].state[slot & 7] & CC_ACTIVE) && error_level(tiles, (uint32_t)slot) == level) near = slot;
    }
    near = -1;
    for (int32_t slot = 0; slot < s->used; slot++) {
        if (near >= 0 && (donor[slot] < 0 || slot - near <= donor[slot] - slot)) donor[slot] = (int16_t)near;
        if ((tiles[slot >> 3].state[slot & 7] & CC_ACTIVE) && error_level(tiles, (uint32_t)slot) == level) near = slot;
    }
}

/* The role of the fittest entity of the owner's other segments with the same function; false where none is healthy. */
static int role_from_afar(const Core *core, const Segment *s, uint32_t *role)
{
    uint32_t best = CC_FAILING;
    for (uint32_t i = 0; i < core->n_segments; i++) {
        const Segment *other = &core->segments[i];
        const Tile *tiles = &core->tiles[(size_t)i * CC_SLAB_TILES];
        if (other == s || other->owner != s->owner || other->function != s->function || !(other->flags & CC_SEG_HEARD)) continue;
        const uint32_t level = fittest_level(tiles, other);
        if (level >= best) continue;
        best = level;
        uint32_t slot = 0;
        while (!(tiles[slot >> 3].state[slot & 7] & CC_ACTIVE) || error_level(tiles, slot) != level) slot++;
        *role = tiles[slot >> 3].role[slot & 7];
    }
    return best < CC_FAILING;
}

/* Whether a failing entity is to be repaired: one that was and has given no good reading since has to wait, and to be heard. */
static int is_due(const Core *core, const Tile *tiles, uint32_t slot, int ordered)
{
    const uint32_t trend = tiles[slot >> 3].trend[slot & 7], state = tiles[slot >> 3].state[slot & 7];
    if (error_level(tiles, slot) < CC_FAILING) return 0;
    if (ordered || !(trend & CC_TRIED)) return 1;
    if (((state >> CC_QUALITY_SHIFT) & CC_QUALITY_MASK) == CC_SILENT) return 0;
    const uint32_t tries = (trend & ~CC_TRIED) >> CC_TRIES_SHIFT, wait = (uint32_t)CC_WAIT_S << (tries - 1);
    return ((core->tick - trend) & CC_TRIED_MASK) >= (wait < CC_WAIT_MOST_S ? wait : CC_WAIT_MOST_S);
}

static void entity_repair(Tile *t, uint32_t j, uint32_t tick)
{
    const uint32_t before = t->trend[j] & CC_TRIED ? (t->trend[j] & ~CC_TRIED) >> CC_TRIES_SHIFT : 0;
    const uint32_t tries = before < CC_TRIES_MOST ? before + 1 : CC_TRIES_MOST;
    const uint32_t seen = t->state[j] >> CC_SEEN_SHIFT, was = (t->state[j] >> CC_QUALITY_SHIFT) & CC_QUALITY_MASK;
    const uint32_t quality = was == CC_SILENT ? CC_SILENT : CC_REPAIRED;    /* its silence is known and alerted */
    const uint32_t fails = t->state[j] & (CC_FAILS_MASK << CC_FAILS_SHIFT);            /* and so is its failure */
    t->state[j] = fails | (quality << CC_QUALITY_SHIFT) | (seen << CC_SEEN_SHIFT);
    t->trend[j] = CC_TRIED | (tries << CC_TRIES_SHIFT) | (tick & CC_TRIED_MASK);   /* its next good reading is a first one */
}

static int any_due(const Core *core, const Tile *tiles, const Segment *s, int ordered)
{
    for (uint32_t slot = 0; slot < s->used; slot++)
        if (is_due(core, tiles, slot, ordered)) return 1;
    return 0;
}

/* Regenerate the failing entities of a segment: they start afresh with the role of the fittest healthy one of
 * it, of several the nearest, or else of its owner's other segments.  ordered: those that have to wait too.
 * The caller saw to attention.  Returns how many. */
size_t cc_repair_segment(Core *core, uint32_t segment, int ordered)
{
    Segment *s = &core->segments[segment];
    Block *b = &core->blocks[s->owner];
    Tile *tiles = &core->tiles[(size_t)segment * CC_SLAB_TILES];
    size_t repaired = 0;
    uint32_t role = 0;
    s->repaired_at = core->tick;
    if (!(s->flags & CC_SEG_HEARD) || !b->failing || !any_due(core, tiles, s, ordered)) return 0;
    const uint32_t level = fittest_level(tiles, s);
    const int near = level < CC_FAILING, afar = !near && role_from_afar(core, s, &role);
    int16_t donor[CC_SLOTS];
    if (near) nearest_of_level(tiles, s, level, donor);
    for (uint32_t slot = 0; slot < s->used; slot++) {
        if (!is_due(core, tiles, slot, ordered)) continue;
        if (near) role = tiles[donor[slot] >> 3].role[donor[slot] & 7];
        if (near || afar) tiles[slot >> 3].role[slot & 7] = role;
        if (role & CC_ROLE_FUNCTION_MASK) s->flags |= CC_SEG_MIXED;
        entity_repair(&tiles[slot >> 3], slot & 7, core->tick);
        s->flags |= CC_SEG_DIRTY;
        repaired++;
    }
    b->failing -= repaired;
    b->repairs += repaired;
    return repaired;
}

/* Move the clock to `now` ms, never back, with what hangs on it. */
void cc_advance(Core *core, int64_t now, int64_t lateness)
{
    if (now <= core->clock) return;
    core->clock = now;
    core->watermark = now - lateness;
    core->tick = (uint32_t)(now / 1000);
    for (uint32_t i = 0; i < core->n_policies; i++) core->policies[i].tick = core->tick >> core->policies[i].tick_shift;
}
