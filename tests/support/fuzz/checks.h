/* What must hold in a world, whatever was folded into it. */
#ifndef COREC_CHECKS_H
#define COREC_CHECKS_H
#include "world.h"

static uint64_t rejected(const Ledger *l) { return l->malformed + l->channel + l->id + l->skew + l->repeated; }

static void check_ledger(const World *w)
{
    const Ledger *l = &w->core.ledger;
    CHECK(l->arrived == l->stored + l->filtered + l->late + l->shed + rejected(l), "%s: %llu arrived", w->kernels->name,
          (unsigned long long)l->arrived);
}

static void check_sink(const World *w)
{
    const Sink *s = &w->sink;
    CHECK(s->n_messages <= s->max_messages && s->n_alerts <= s->max_alerts && s->n_rows <= s->max_rows, "%s: %zu %zu %zu",
          w->kernels->name, s->n_messages, s->n_alerts, s->n_rows);
}

/* A row says what a window can; one that amends says nothing of fitness and score. */
static void check_row(World *w, const Row *r)
{
    CHECK(r->block < BLOCKS && r->canal == w->core.blocks[r->block].canal, "block %u", r->block);
    const int amends = isnan(r->fitness);
    CHECK(amends == isnan(r->score) && (amends || (r->fitness >= 0 && r->fitness <= 1)), "block %u: fitness %g", r->block, r->fitness);
    if (!r->count) return;
    const double scale = fabs(r->min) > fabs(r->max) ? fabs(r->min) : fabs(r->max), slack = 1e-6 * scale;
    CHECK(r->min <= r->max && isfinite(r->min) && isfinite(r->max), "%g to %g", r->min, r->max);
    CHECK(r->mean >= r->min - slack && r->mean <= r->max + slack, "%g not in %g to %g", r->mean, r->min, r->max);
    CHECK(r->std >= 0 && r->std <= 2 * scale + slack, "std %g of %g to %g", r->std, r->min, r->max);
    CHECK(amends || (r->score >= 0 && isfinite(r->score)), "score %g", r->score);
}

/* Empty the sink, as the engine does, and remember what was in it. */
static void drain(World *w)
{
    Sink *s = &w->sink;
    check_sink(w);
    for (size_t i = 0; i < s->n_rows; i++) {
        check_row(w, &s->rows[i]);
        w->readings += s->rows[i].count + s->rows[i].errors;
        w->row_messages += s->rows[i].messages;
    }
    w->messages += s->n_messages;
    w->alerts += s->n_alerts;
    w->digest = cc_crc32c(w->digest, (const uint8_t *)s->messages, s->n_messages * sizeof(Message));
    w->digest = cc_crc32c(w->digest, (const uint8_t *)s->alerts, s->n_alerts * sizeof(Alert));
    w->digest = cc_crc32c(w->digest, (const uint8_t *)s->rows, s->n_rows * sizeof(Row));
    s->n_messages = s->n_alerts = s->n_rows = 0;
}

/* Each accepted reading is in one row, and each stored one left as one message: to be called when all is closed. */
static void check_totals(const World *w)
{
    const Ledger *l = &w->core.ledger;
    CHECK(w->messages == l->stored, "%llu messages, %llu stored", (unsigned long long)w->messages, (unsigned long long)l->stored);
    CHECK(w->row_messages == l->stored, "rows have %llu messages", (unsigned long long)w->row_messages);
    CHECK(w->readings == l->stored + l->filtered, "rows have %llu readings", (unsigned long long)w->readings);
}

static void check_lane(const World *w, int segment, uint32_t slot)
{
    const Tile *t = &slab(w, segment)[slot >> 3];
    const uint32_t j = slot & 7, quality = t->state[j] >> CC_QUALITY_SHIFT & 15;
    CHECK(t->state[j] != 0xffffffffu && quality <= CC_REPAIRED, "segment %d slot %u: state %#x", segment, slot, t->state[j]);
    CHECK(fabsf(t->value[j]) <= 1e18f && fabsf(t->emitted[j]) <= 1e18f, "segment %d slot %u: %g", segment, slot, t->value[j]);
    CHECK(fabsf(t->slow[j]) <= 1.1e18f && fabsf(t->fast[j]) <= 1.1e18f, "segment %d slot %u: %g", segment, slot, t->slow[j]);
    CHECK(t->var[j] >= 0 && isfinite(t->var[j]), "segment %d slot %u: variance %g", segment, slot, t->var[j]);
    if (t->trend[j] & CC_TRIED)
        CHECK((t->state[j] >> CC_WARM_SHIFT & 63) == 0 && (t->trend[j] & ~CC_TRIED) >> CC_TRIES_SHIFT <= CC_TRIES_MOST,
              "segment %d slot %u: trend %#x, state %#x", segment, slot, t->trend[j], t->state[j]);
    else
        CHECK((t->trend[j] & 0x8000u) == 0, "segment %d slot %u: trend %#x", segment, slot, t->trend[j]);
}

static void count_lane(uint32_t state, uint32_t *heard, uint32_t *failing)
{
    *heard += (state >> CC_QUALITY_SHIFT & 15) != CC_NEVER;
    *failing += (state >> CC_ERRORS_SHIFT & 63) >= CC_FAILING;
}

/* Every lane holds what a lane may, and the headers count them right. */
static void check_entities(const World *w)
{
    uint32_t heard[BLOCKS] = {0}, failing[BLOCKS] = {0};
    for (int s = 0; s < SEGMENTS; s++) {
        const uint32_t owner = w->core.segments[s].owner;
        for (uint32_t slot = 0; slot < tiles_used(s) * 8; slot++) {
            const uint32_t state = slab(w, s)[slot >> 3].state[slot & 7];
            CHECK(slot < PLACES[s].used || state == 0, "segment %d: slot %u is no entity", s, slot);
            if (!state) continue;
            check_lane(w, s, slot);
            count_lane(state, &heard[owner], &failing[owner]);
        }
    }
    for (int b = 0; b < BLOCKS; b++) {
        const Block *block = &w->core.blocks[b];
        CHECK(block->heard == heard[b] && heard[b] <= block->entities, "block %d: %u heard, found %u", b, block->heard, heard[b]);
        CHECK(block->failing == failing[b], "block %d: %u failing, found %u", b, block->failing, failing[b]);
    }
}

/* All of a segment but where its event column lies. */
static int segment_differs(const Segment *x, const Segment *y)
{
    Segment a = *x, b = *y;
    a.events = b.events = NULL;
    if (!x->events != !y->events || memcmp(&a, &b, sizeof a)) return 1;
    return x->events && memcmp(x->events, y->events, sizeof *x->events);
}

/* Every instruction set got to the same bits as the first. */
static void check_same(const World *a, const World *b)
{
    const Core *x = &a->core, *y = &b->core;
    const char *name = b->kernels->name;
    for (int s = 0; s < SEGMENTS; s++)
        CHECK(!memcmp(slab(a, s), slab(b, s), tiles_used(s) * sizeof(Tile)), "%s: tiles of segment %d", name, s);
    for (int s = 0; s < SEGMENTS; s++)
        CHECK(!segment_differs(&x->segments[s], &y->segments[s]), "%s: segment %d", name, s);
    CHECK(!memcmp(x->blocks, y->blocks, sizeof(Block) * BLOCKS), "%s", name);
    CHECK(!memcmp(&x->ledger, &y->ledger, sizeof(Ledger)), "%s", name);
    CHECK(x->folds == y->folds && x->steps == y->steps && x->restarts == y->restarts && x->clock == y->clock, "%s", name);
    CHECK(a->digest == b->digest && a->messages == b->messages && a->alerts == b->alerts, "%s: other results", name);
}
#endif
