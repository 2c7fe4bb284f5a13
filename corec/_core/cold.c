/* Silence, repair, the clock, readings out of order and the lookup of sparse ids: what runs once a second, or seldom. */
#include "core.h"
#include <stdlib.h>
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
    for (uint32_t k = cc_device_home(id, core->device_mask);; k++) {
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

/* Why a fold stopped before reading `index`, and the segment that has to be seen to. */
Progress cc_why_stopped(const Core *core, const Batch *b, size_t index)
{
    const uint32_t loc = cc_locate(core, cc_batch_id(b, index)), segment = loc >> 10;
    if (loc == CC_NOWHERE) return (Progress){index, CC_ROOM, 0};
    if (core->segments[segment].flags & CC_SEG_ATTENTION) return (Progress){index, CC_ATTENTION, segment};
    if (cc_needs_events(core, &core->segments[segment], cc_batch_time(b, index))) return (Progress){index, CC_EVENTS, segment};
    return (Progress){index, CC_ROOM, 0};
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
    const uint32_t tries = (trend & ~CC_TRIED) >> CC_TRIES_SHIFT, wait = (uint32_t)CC_WAIT_S << ((tries - 1) & 15);
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

/* --- tiles that come from outside ---------------------------------------------------------------- */

/* Whether a lane has no function and no quality that is not there.  Any other bits are numbers, which lead nowhere. */
static int lane_fits(const Tile *t, int j, uint32_t functions)
{
    const uint32_t quality = (t->state[j] >> CC_QUALITY_SHIFT) & CC_QUALITY_MASK;
    return (t->role[j] & CC_ROLE_FUNCTION_MASK) < functions && quality <= CC_REPAIRED;
}

/* Look through the tiles of a segment with `used` entities, as bytes, aligned or not: how many were heard, how many are failing.
 * Returns the first slot that does not fit, the rest of the last tile included, or CC_NOWHERE. */
uint32_t cc_examine(const uint8_t *tiles, uint32_t used, uint32_t functions, uint32_t *heard, uint32_t *failing)
{
    *heard = *failing = 0;
    for (uint32_t slot = 0; slot < used; slot += CC_LANES) {
        Tile t;
        memcpy(&t, tiles + (size_t)(slot / CC_LANES) * sizeof t, sizeof t);
        for (uint32_t j = 0; j < CC_LANES; j++) {
            if (!lane_fits(&t, (int)j, functions) || (slot + j >= used && t.state[j])) return slot + j;
            *heard += ((t.state[j] >> CC_QUALITY_SHIFT) & CC_QUALITY_MASK) != CC_NEVER;
            *failing += ((t.state[j] >> CC_ERRORS_SHIFT) & CC_ERRORS_MASK) >= CC_FAILING;
        }
    }
    return CC_NOWHERE;
}

/* --- readings that are older than the newest of their entity ------------------------------------- */

#define LONG_AGO 0x40000000u    /* 10 ms: 124 days */

static uint32_t hundredths(int64_t ms) { return (uint32_t)(ms / 10); }

/* Event times of a segment's entities, from the seconds in which they were heard.  Returns 0 where there is no memory. */
int cc_make_events(Core *core, uint32_t segment)
{
    Segment *s = &core->segments[segment];
    const Policy *p = &core->policies[s->policy];
    const Tile *tiles = &core->tiles[(size_t)segment * CC_SLAB_TILES];
    if (s->events) return 1;
    s->events = calloc(1, sizeof *s->events);
    if (!s->events) return 0;
    const int64_t second = core->clock - (core->clock - core->skipped) % 1000;
    for (uint32_t slot = 0; slot < s->used; slot++) {
        const uint32_t state = tiles[slot >> 3].state[slot & 7];
        const int64_t age = (int64_t)((p->tick - (state >> CC_SEEN_SHIFT)) & CC_SEEN_MASK) << p->tick_shift;
        const int silent = ((state >> CC_QUALITY_SHIFT) & 15) == CC_SILENT;     /* for how long is not known */
        s->events->last[slot] = silent ? hundredths(second) - LONG_AGO : hundredths(second - 1000 * age);
    }
    return 1;
}

/* Note the event time of a reading; returns 1 where it is older than the newest one of its entity. */
int cc_is_older(Segment *s, uint32_t slot, uint32_t state, int64_t time)
{
    const uint32_t now = hundredths(time);
    if ((state & (15u << CC_QUALITY_SHIFT)) && (int32_t)(now - s->events->last[slot]) < 0) return 1;
    s->events->last[slot] = now;
    return 0;
}

/* After a whole pass: every entity was heard now. */
void cc_note_events(const Core *core, Segment *s)
{
    for (uint32_t slot = 0; slot < s->used; slot++) s->events->last[slot] = hundredths(core->clock);
}

/* A limit that was exceeded, told once for each entity and window. */
static void late_alert(Sink *sink, const Segment *s, const Policy *p, uint32_t slot, uint32_t id, float x, int64_t time, const Window *w)
{
    const float high = s->high ? s->high[slot] : p->high, low = s->low ? s->low[slot] : p->low;
    const uint32_t window = hundredths(w->start);
    if (!p->limited || !(x > high || x < low) || s->events->alerted[slot] == window) return;
    s->events->alerted[slot] = window;
    sink->alerts[sink->n_alerts++] = (Alert){time, id, s->owner, s->canal, CC_ALERT_LATE, x, x > high ? high : low};
}

/* Fold a reading that is older than the newest of its entity: it counts in its window, is held against the limits and is
 * sent on; what the entity has learnt stays as it is. */
void cc_fold_older(Core *core, Sink *sink, uint32_t loc, uint32_t id, float x, int good, int64_t time, Window *w)
{
    const Segment *s = &core->segments[loc >> 10];
    const Policy *p = &core->policies[s->policy];
    Tile *t = &core->tiles[loc >> 3];
    const uint32_t state = t->state[loc & 7];
    if (((state >> CC_QUALITY_SHIFT) & 15) != CC_SILENT)        /* it was heard now, whatever it says of then */
        t->state[loc & 7] = (state & ((1u << CC_SEEN_SHIFT) - 1)) | p->tick << CC_SEEN_SHIFT;
    if (good) {
        cc_window_add(w, x, 0.0f, 1);
        late_alert(sink, s, p, loc & 1023, id, x, time, w);
    } else {
        w->errors++;
        w->messages++;
    }
    core->ledger.stored++;
    sink->messages[sink->n_messages++] = (Message){id, s->canal, good ? x : t->value[loc & 7], (uint8_t)good, time};
}

/* --- time ---------------------------------------------------------------------------------------- */

/* Move the clock to `now` ms, never back, with what hangs on it. */
void cc_advance(Core *core, int64_t now, int64_t lateness)
{
    if (now <= core->clock) return;
    core->clock = now;
    core->watermark = now - lateness;
    core->tick = (uint32_t)((now - core->skipped) / 1000);
    for (uint32_t i = 0; i < core->n_policies; i++) core->policies[i].tick = core->tick >> core->policies[i].tick_shift;
}

/* Set the clock to `now` ms, also back; ticks stay what they are.  The caller closed what is open where time goes back. */
void cc_set_clock(Core *core, int64_t now)
{
    const int64_t lateness = cc_lateness(core);
    if (now < core->clock)
        for (uint32_t i = 0; i < core->n_blocks; i++) core->blocks[i].closed_until = 0;
    core->skipped += now - core->clock;
    core->clock = now;
    core->watermark = now - lateness;
}
