/* The engine room under arbitrary work: folds, time, silence, native functions, repairs, reloads, segments that
 * sleep or are wanted by a snapshot.  The same work is done once for each instruction set.
 *
 * This file plays the engine: it keeps the promises of engine.py and block.pyx (room, attention, the order of
 * sweeping and closing) and checks those of the kernels.
 */
#include "checks.h"

enum { MOST_READINGS = 300 };

typedef struct {
    uint32_t ids[MOST_READINGS];
    float    values[MOST_READINGS];
    uint8_t  states[MOST_READINGS];
    int8_t   canales[MOST_READINGS];
    int32_t  offsets[MOST_READINGS];
    size_t   n;
    int      columns, has_states, has_offsets;
} Readings;

/* --- what the engine does around kernels -------------------------------------------------------- */

static uint32_t segment_digest(const World *w, uint32_t segment)
{
    return cc_crc32c(0, (const uint8_t *)slab(w, (int)segment), tiles_used((int)segment) * sizeof(Tile));
}

/* A segment sleeps or a snapshot wants it: until it is settled nothing may write to it. */
static void hold(World *w, uint32_t segment, uint8_t flag)
{
    Segment *s = &w->core.segments[segment];
    if (!(s->flags & CC_SEG_HEARD)) return;
    s->flags |= flag;
    w->held[segment] = segment_digest(w, segment);
}

static void settle(World *w, uint32_t segment)
{
    Segment *s = &w->core.segments[segment];
    CHECK(segment < SEGMENTS, "segment %u", segment);
    if (!(s->flags & CC_SEG_ATTENTION)) return;
    CHECK(w->held[segment] == segment_digest(w, segment), "%s: segment %u was written to", w->kernels->name, segment);
    s->flags &= (uint8_t)~CC_SEG_ATTENTION;
}

static void settle_all(World *w)
{
    for (uint32_t s = 0; s < SEGMENTS; s++) settle(w, s);
}

static void sweep_segment(World *w, uint32_t segment, uint32_t since)
{
    const Policy *p = &w->core.policies[w->core.segments[segment].policy];
    if (!cc_sweep_due(&w->core, segment, since)) return;
    settle(w, segment);
    drain(w);
    const size_t silent = cc_sweep_segment(&w->core, segment, since, &w->sink);
    CHECK(silent && w->sink.n_alerts == (p->alert_silence ? silent : 0), "segment %u: %zu fell silent", segment, silent);
    CHECK(!cc_sweep_due(&w->core, segment, since), "segment %u: somebody is silent and was not marked", segment);
}

/* An age is told modulo 8,192 ticks, and no limit reaches that. */
static void check_swept(const World *w, int segment)
{
    const Policy *p = &w->core.policies[w->core.segments[segment].policy];
    for (uint32_t slot = 0; slot < PLACES[segment].used; slot++) {
        const uint32_t state = slab(w, segment)[slot >> 3].state[slot & 7], quality = state >> CC_QUALITY_SHIFT & 15;
        const uint32_t age = (p->tick - (state >> CC_SEEN_SHIFT)) & CC_SEEN_MASK;
        CHECK(quality == CC_NEVER || quality == CC_SILENT || age <= p->silence, "segment %d slot %u: %u ticks", segment, slot, age);
    }
}

static void sweep(World *w)
{
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        const Segment *s = &w->core.segments[i];
        const uint32_t shift = w->core.policies[s->policy].tick_shift;
        if (!(s->flags & CC_SEG_HEARD) || s->flags & CC_SEG_FROZEN) continue;
        if (w->core.tick >> shift == w->swept_at >> shift) continue;
        sweep_segment(w, i, w->swept_at >> shift);
        check_swept(w, (int)i);
    }
    w->swept_at = w->core.tick;
}

static void close_windows(World *w, int64_t until)
{
    drain(w);
    cc_close_windows(&w->core, until, &w->sink);
    for (int b = 0; b < BLOCKS; b++) {
        const Block *block = &w->core.blocks[b];
        CHECK(block->newest.end == 0 || block->newest.end > until, "block %d is open", b);
        CHECK(block->older.end == 0 || (block->older.end > until && block->older.end <= block->newest.start), "block %d", b);
    }
    drain(w);
}

static void advance(World *w, int64_t to)
{
    const uint32_t second = w->core.tick;
    cc_advance(&w->core, to, LATENESS);
    if (w->core.tick != second) sweep(w);
    close_windows(w, w->core.watermark);
}

static void fold_all(World *w, const Batch *batch, size_t room)
{
    const uint64_t arrived = w->core.ledger.arrived;
    size_t done = 0;
    drain(w);
    sink_narrow(&w->sink, room);
    for (;;) {
        const Progress p = w->kernels->fold(&w->core, &w->sink, batch, done);
        CHECK(p.done >= done && p.done <= batch->n, "%zu of %zu", p.done, batch->n);
        CHECK(w->core.ledger.arrived == arrived + p.done, "%zu done", p.done);
        check_ledger(w);
        check_sink(w);
        done = p.done;
        if (p.stop == CC_DONE) break;
        if (p.stop == CC_ATTENTION) {
            CHECK(w->core.segments[p.segment].flags & CC_SEG_ATTENTION, "segment %u needs none", p.segment);
            settle(w, p.segment);
        } else if (p.stop == CC_EVENTS) {
            CHECK(!w->core.segments[p.segment].events && cc_make_events(&w->core, p.segment), "segment %u has its events", p.segment);
        } else if (w->sink.n_messages + w->sink.n_alerts + w->sink.n_rows) {
            drain(w);
        } else {                                /* how much a fold asks for is its own affair */
            CHECK(room < ROOM, "no room in an empty sink");
            sink_narrow(&w->sink, room *= 2);
        }
    }
    sink_narrow(&w->sink, ROOM);
    CHECK(done == batch->n, "%zu of %zu", done, batch->n);
}

static void step_all(World *w)
{
    for (uint32_t s = 7; s < SEGMENTS; s++) {
        settle(w, s);
        drain(w);
        w->kernels->step_segment(&w->core, &w->sink, s);
        check_ledger(w);
    }
    w->core.steps++;
    w->core.folds++;
    drain(w);
}

static void repair(World *w, uint32_t block, int ordered)
{
    for (uint32_t s = 0; s < SEGMENTS; s++)
        if (w->core.segments[s].owner == block) settle(w, s);
    const uint32_t failing = w->core.blocks[block].failing;
    size_t repaired = 0;
    for (uint32_t i = 0; i < w->core.n_segments; i++)
        if (w->core.segments[i].owner == block) repaired += cc_repair_segment(&w->core, i, ordered);
    CHECK(repaired + w->core.blocks[block].failing == failing && (!ordered || repaired == failing), "block %u: %zu of %u", block, repaired, failing);
}

/* --- readings from the input -------------------------------------------------------------------- */

static uint32_t id_choose(Choices *c, int8_t *canal)
{
    static const uint32_t first[] = {0, 992, 1998, 2490, 10000, 10990, 11200, 20000, 20999, 21010}, policy[] = {0, 0, 0, 0, 1, 1, 1, 3, 3, 3};
    const uint32_t where = choose_below(c, 12), step = choose_byte(c);
    *canal = where < 10 ? CANALES[policy[where]] : CANALES[2];
    if (where < 10) return first[where] + step % 20;
    if (where == 10) return listed_ids[step % LISTED];
    return choose_word(c);
}

static float value_choose(Choices *c)
{
    static const float odd[] = {0, -0.0f, 1e18f, -1e18f, 1.1e18f, 1e-45f, 1e-38f, NAN, -NAN, INFINITY, -INFINITY, 101325, 3.4e38f, 10, 1e-7f, 1};
    const uint32_t kind = choose_byte(c);
    if (kind < 0xc0) return (float)kind - 64;
    if (kind < 0xf0) return odd[kind & 15];
    const uint32_t bits = choose_word(c);
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void reading_put(Readings *r, uint32_t id, int8_t canal, float value, uint32_t odd, int32_t offset)
{
    const size_t i = r->n++;
    r->ids[i] = id;
    r->values[i] = value;
    r->states[i] = odd & 0x40 ? (uint8_t)(odd & 3) : 1;
    r->canales[i] = odd & 0x80 ? (int8_t)(odd & 7) : canal;
    r->offsets[i] = offset;
}

static int32_t offset_choose(uint32_t odd)
{
    static const int32_t offsets[] = {0, -1, -999, -1500, -2001, -4000, -3600001, INT32_MIN / 2};
    return offsets[odd >> 2 & 7];
}

/* One by one: four bytes a reading. */
static void readings_list(Readings *r, Choices *c)
{
    for (uint32_t n = 1 + choose_below(c, 80); n && choices_left(c); n--) {
        int8_t canal;
        const uint32_t id = id_choose(c, &canal), odd = choose_byte(c);
        reading_put(r, id, canal, value_choose(c), odd, offset_choose(odd));
    }
}

/* Many from a few bytes: neighbours, in strides, whole tiles, again and again. */
static void readings_run(Readings *r, Choices *c)
{
    int8_t canal;
    const uint32_t id = id_choose(c, &canal), stride = choose_below(c, 9), odd = choose_byte(c);
    const float value = value_choose(c), slope = (float)choose_below(c, 16);
    const uint32_t aligned = odd & 1 ? id & ~7u : id, again = (const uint32_t[]){256, 8, 16, 11}[choose_below(c, 4)];
    for (uint32_t i = 0, n = 1 + choose_byte(c); i < n; i++) {
        const int32_t offset = odd & 2 ? ((int32_t)i - (int32_t)n) * 100 : offset_choose(odd + (i & 28));
        reading_put(r, aligned + i % again * stride, canal, value + slope * (float)(i % 32), odd, offset);
    }
}

static uint8_t *frames_of(const Readings *r)
{
    uint8_t *frames = exactly(r->n * CC_FRAME);
    uint32_t bits[MOST_READINGS];
    memcpy(bits, r->values, r->n * 4);
    cc_frames_encode(frames, r->n, r->ids, r->canales, bits, r->states);
    for (size_t i = 0; i < r->n; i++) frames[i * CC_FRAME + 9] = r->states[i];
    return frames;
}

static void *column(const void *from, size_t bytes) { return memcpy(exactly(bytes), from, bytes); }

static void readings_fold(const Readings *r, int64_t time, size_t room)
{
    Batch batch = {.n = r->n, .time = time, .canal = r->canales[0]};
    if (r->columns) {
        batch.ids = column(r->ids, r->n * 4);
        batch.values = column(r->values, r->n * 4);
        batch.states = r->has_states ? column(r->states, r->n) : NULL;
    } else
        batch.frames = frames_of(r);
    batch.offsets = r->has_offsets ? column(r->offsets, r->n * 4) : NULL;
    for (int i = 0; i < n_worlds; i++) fold_all(&worlds[i], &batch, room);
    free((void *)batch.frames);
    free((void *)batch.ids);
    free((void *)batch.values);
    free((void *)batch.states);
    free((void *)batch.offsets);
}

static void op_fold(Choices *c)
{
    Readings r = {0};
    const uint32_t how = choose_byte(c);
    r.columns = how & 1;
    r.has_states = how >> 1 & 1;
    r.has_offsets = how >> 2 & 1;
    if (how & 8) readings_run(&r, c); else readings_list(&r, c);
    if (r.n) readings_fold(&r, worlds[0].core.clock - (how & 16 ? how * 16 : 0), LEAST_ROOM << (how >> 5));
}

/* Any bytes as frames. */
static void op_fold_raw(Choices *c)
{
    const size_t most = choose_byte(c), left = (size_t)(c->end - c->at) / CC_FRAME, n = most < left ? most : left;
    Batch batch = {.n = n, .frames = column(c->at, n * CC_FRAME), .time = worlds[0].core.clock};
    c->at += n * CC_FRAME;
    for (int i = 0; i < n_worlds; i++) fold_all(&worlds[i], &batch, ROOM);
    free((void *)batch.frames);
}

/* --- the other work --------------------------------------------------------------------------- */

static void op_advance(Choices *c)
{
    static const int64_t spans[] = {1, 50, 999, 1000, 2500, 61000, 600000, 8191000, 8192000, 3600000, 86400000, 10000000000};
    const int64_t to = worlds[0].core.clock + spans[choose_below(c, 12)];
    for (int i = 0; i < n_worlds; i++) advance(&worlds[i], to);
}

static void op_step(Choices *c)
{
    const uint32_t phase = choose_word(c);
    for (int i = 0; i < n_worlds; i++) {
        worlds[i].core.functions[2].phase = phase;
        step_all(&worlds[i]);
    }
}

static void op_repair(Choices *c)
{
    const uint32_t block = choose_below(c, BLOCKS), ordered = choose_below(c, 2);
    for (int i = 0; i < n_worlds; i++) repair(&worlds[i], block, (int)ordered);
}

static void op_hold(Choices *c)
{
    const uint32_t how = choose_byte(c);
    for (int i = 0; i < n_worlds; i++) hold(&worlds[i], how % SEGMENTS, how & 0x80 ? CC_SEG_FROZEN : CC_SEG_PENDING);
}

static void op_snapshot(Choices *c)
{
    (void)c;
    for (int i = 0; i < n_worlds; i++)
        for (int s = 0; s < SEGMENTS; s++) worlds[i].core.segments[s].flags &= (uint8_t)~CC_SEG_DIRTY;
}

static void op_reload(Choices *c)
{
    const uint32_t index = choose_below(c, POLICIES);
    Choices start = *c;
    for (int i = 0; i < n_worlds; i++) {
        *c = start;
        policy_choose(&worlds[i].core.policies[index], c, (int)index);
        for (int s = 0; s < SEGMENTS; s++)
            if (worlds[i].core.segments[s].policy == index) worlds[i].core.segments[s].sweep_at = 0;
    }
}

static void op_close_all(Choices *c)
{
    (void)c;
    for (int i = 0; i < n_worlds; i++) close_windows(&worlds[i], INT64_C(1) << 53);
}

static void worlds_finish(void)
{
    for (int i = 0; i < n_worlds; i++) {
        settle_all(&worlds[i]);
        close_windows(&worlds[i], INT64_MAX);
        check_ledger(&worlds[i]);
        check_totals(&worlds[i]);
        if (i) check_same(&worlds[0], &worlds[i]);
    }
    check_entities(&worlds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ops[])(Choices *) = {op_fold, op_fold, op_fold, op_fold, op_advance, op_advance, op_fold_raw, op_step,
                                             op_repair, op_hold, op_hold, op_reload, op_snapshot, op_close_all};
    if (!size) return 0;
    if (!n_worlds) worlds_make();
    Choices c = worlds_reset((Choices){data, data + size});
    while (choices_left(&c)) ops[choose_below(&c, sizeof ops / sizeof *ops)](&c);
    worlds_finish();
    return 0;
}
