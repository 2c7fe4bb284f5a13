/* The windows that blocks have open: two in each block, further ones in a pool that all blocks share. */
#include "core.h"
#include <math.h>
#include <string.h>

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }
static int holds(const Window *w, int64_t time) { return w->end && time >= w->start && time < w->end; }
static uint32_t index_of(const Core *core, const Block *b) { return (uint32_t)(b - core->blocks); }

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

/* --- closing -------------------------------------------------------------------------------------- */

/* fitness = good / (good + failed) of the window, times the share of heard entities that do not fail. */
static float fitness_of(const Block *b, const Window *w)
{
    const double readings = (double)w->count + w->errors;
    const double good = readings > 0 ? w->count / readings : 1.0;
    const double healthy = b->heard ? 1.0 - (double)b->failing / b->heard : 1.0;
    return (float)(good * healthy);
}

/* The row of a window.  One that amends says nothing of its block's fitness and score: NaN marks it. */
static void row_put(const Core *core, const Block *b, const Window *w, float fitness, float score, Sink *sink)
{
    const double n = w->count, mean = w->sum / n, var = w->squares / n - mean * mean;
    sink->rows[sink->n_rows++] = (Row){
        .block = index_of(core, b), .canal = b->canal, .window = w->start, .count = w->count,
        .mean = w->count ? w->origin + mean : NAN, .min = w->count ? w->min : NAN, .max = w->count ? w->max : NAN,
        .std = w->count ? sqrt(var > 0.0 ? var : 0.0) : NAN,
        .errors = w->errors, .messages = w->messages, .fitness = fitness, .score = score};
}

static void window_close(const Core *core, Block *b, Window *w, Sink *sink)
{
    b->fitness = fitness_of(b, w);
    row_put(core, b, w, b->fitness, w->score, sink);
    b->closed_until = later(b->closed_until, w->end);
    w->start = w->end = 0;
}

/* --- the pool ------------------------------------------------------------------------------------- */

/* Where the index of a window stands in the list of its block. */
static uint32_t *link_of(const Core *core, uint32_t i)
{
    uint32_t *link = &core->pools[core->pool[i].block];
    while (*link != i) link = &core->pool[*link].next;
    return link;
}

static void pool_free(Core *core, uint32_t i)
{
    PoolWindow *p = &core->pool[i];
    *link_of(core, i) = p->next;
    *(p->before == CC_NOWHERE ? &core->pool_first : &core->pool[p->before].after) = p->after;
    *(p->after == CC_NOWHERE ? &core->pool_last : &core->pool[p->after].before) = p->before;
    p->next = core->pool_free;
    core->pool_free = i;
}

static void pool_close(Core *core, uint32_t i, Sink *sink)
{
    PoolWindow *p = &core->pool[i];
    Block *b = &core->blocks[p->block];
    if (p->amends) row_put(core, b, &p->window, NAN, NAN, sink);
    else window_close(core, b, &p->window, sink);
    pool_free(core, i);
}

/* How many windows a block has in the pool. */
static uint32_t pool_count(const Core *core, uint32_t block)
{
    uint32_t n = 0;
    for (uint32_t i = core->pools[block]; i != CC_NOWHERE; i = core->pool[i].next) n++;
    return n;
}

/* A place in the pool for a window of a block, at the end of the order and in the block's list. */
static PoolWindow *pool_put(Core *core, uint32_t block, const Window *w, int64_t closes, uint32_t amends)
{
    const uint32_t fresh = core->pool_free == CC_NOWHERE, i = fresh ? core->pool_used++ : core->pool_free;
    PoolWindow *p = &core->pool[i];
    if (!fresh) core->pool_free = p->next;
    uint32_t *link = &core->pools[block];
    while (*link != CC_NOWHERE && core->pool[*link].window.start < w->start) link = &core->pool[*link].next;
    *p = (PoolWindow){.window = *w, .closes = closes, .block = block, .amends = amends, .next = *link,
                      .before = core->pool_last, .after = CC_NOWHERE};
    *link = i;
    *(p->before == CC_NOWHERE ? &core->pool_first : &core->pool[p->before].after) = i;
    core->pool_last = i;
    if (amends) core->next_close = sooner(core->next_close, closes);
    return p;
}

/* See to it that the pool takes one more window of a block: what has to make room closes before its time. */
static void pool_make_room(Core *core, uint32_t block, Sink *sink)
{
    if (pool_count(core, block) >= CC_BLOCK_WINDOWS) pool_close(core, core->pools[block], sink);
    if (core->pool_free == CC_NOWHERE && core->pool_used == CC_POOL_WINDOWS) pool_close(core, core->pool_first, sink);
}

void cc_pool_clear(Core *core)
{
    memset(core->pools, 0xff, core->n_blocks * sizeof *core->pools);
    core->pool_free = core->pool_first = core->pool_last = CC_NOWHERE;
    core->pool_used = 0;
    core->next_close = INT64_MAX;
}

/* Put a window back, in the order in which they came; returns 0 where there is no place for it. */
int cc_pool_restore(Core *core, const PoolWindow *p)
{
    if (p->block >= core->n_blocks || core->pool_used == CC_POOL_WINDOWS || pool_count(core, p->block) == CC_BLOCK_WINDOWS) return 0;
    pool_put(core, p->block, &p->window, p->closes, p->amends);
    return 1;
}

/* Forget the windows whose rows were given elsewhere: those that end by `closed_until` of their block and amend nothing. */
void cc_pool_forget_closed(Core *core)
{
    for (uint32_t i = core->pool_first, after; i != CC_NOWHERE; i = after) {
        after = core->pool[i].after;
        if (!core->pool[i].amends && core->pool[i].window.end <= core->blocks[core->pool[i].block].closed_until) pool_free(core, i);
    }
}

/* --- opening -------------------------------------------------------------------------------------- */

/* The open window for `time`, or NULL. */
Window *cc_find_window(const Core *core, Block *b, int64_t time)
{
    if (holds(&b->newest, time)) return &b->newest;
    if (holds(&b->older, time)) return &b->older;
    for (uint32_t i = core->pools[index_of(core, b)]; i != CC_NOWHERE; i = core->pool[i].next)
        if (holds(&core->pool[i].window, time)) return &core->pool[i].window;
    return NULL;
}

/* Let [start, end), which holds `time`, give way to an open window. */
static void give_way(const Window *w, int64_t time, int64_t *start, int64_t *end)
{
    if (!w->end) return;
    if (w->end <= time) *start = later(*start, w->end);
    else *end = sooner(*end, w->start);
}

/* The same by the rules of before, under which turns of an earlier CoreC are folded again. */
static Window *window_of_two(Core *core, Block *b, int64_t time, Sink *sink)
{
    const int64_t length = core->policies[b->policy].window_ms, start = window_start(time, length), end = start + length;
    if (time < b->closed_until || end <= core->watermark) return NULL;
    if (b->newest.end && time < b->newest.end) {
        if (b->older.end) return NULL;
        window_open(&b->older, later(start, b->closed_until), sooner(end, b->newest.start));
        return &b->older;
    }
    if (b->newest.end) {
        if (b->older.end) window_close(core, b, &b->older, sink);
        b->older = b->newest;
    }
    window_open(&b->newest, later(start, b->older.end ? b->older.end : b->closed_until), end);
    return &b->newest;
}

/* The window for `time`, opened where none is; NULL when the time is too old for any.  Windows never overlap, whatever lengths
 * reloads gave them.  The caller gave room for four rows. */
Window *cc_window_at(Core *core, Block *b, int64_t time, Sink *sink)
{
    Window *open = cc_find_window(core, b, time), fresh;
    if (open) return open;
    if (core->two_windows) return window_of_two(core, b, time, sink);
    if (core->keep && time < core->clock - core->keep) return NULL;
    const int64_t length = core->policies[b->policy].window_ms, wait = later(cc_lateness(core), 1000);
    int64_t start = window_start(time, length), end = start + length;
    const int amends = end <= core->watermark || time < b->closed_until;
    give_way(&b->newest, time, &start, &end);
    give_way(&b->older, time, &start, &end);
    const uint32_t block = index_of(core, b);
    for (uint32_t i = core->pools[block]; i != CC_NOWHERE; i = core->pool[i].next)
        give_way(&core->pool[i].window, time, &start, &end);
    if (time < b->closed_until) end = sooner(end, b->closed_until);
    else start = later(start, b->closed_until);
    if (!amends && (!b->newest.end || time >= b->newest.end)) {
        if (b->older.end) {
            pool_make_room(core, block, sink);
            pool_put(core, block, &b->older, 0, 0);
        }
        b->older = b->newest;
        window_open(&b->newest, start, end);
        return &b->newest;
    }
    if (!amends && !b->older.end) {
        window_open(&b->older, start, end);
        return &b->older;
    }
    pool_make_room(core, block, sink);
    window_open(&fresh, start, end);
    return &pool_put(core, block, &fresh, later(core->clock + wait, end + cc_lateness(core)), (uint32_t)amends)->window;
}

/* Close, block by block, every window that ends by `until`, and amended ones whose time has come by then; the caller gave room
 * for all there are. */
void cc_close_windows(Core *core, int64_t until, Sink *sink)
{
    for (uint32_t block = 0; block < core->n_blocks; block++) {
        Block *b = &core->blocks[block];
        for (uint32_t i = core->pools[block], next; i != CC_NOWHERE; i = next) {
            const PoolWindow *p = &core->pool[i];
            next = p->next;
            if (p->amends ? p->closes - cc_lateness(core) <= until : p->window.end <= until) pool_close(core, i, sink);
        }
        if (b->older.end && b->older.end <= until) window_close(core, b, &b->older, sink);
        if (b->newest.end && b->newest.end <= until) window_close(core, b, &b->newest, sink);
    }
    core->next_close = INT64_MAX;
    for (uint32_t i = core->pool_first; i != CC_NOWHERE; i = core->pool[i].after)
        if (core->pool[i].amends) core->next_close = sooner(core->next_close, core->pool[i].closes);
}
