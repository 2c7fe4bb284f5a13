/* What the kernels of one instruction set and the cold code offer each other. */
#ifndef COREC_CORE_H
#define COREC_CORE_H
#include "layout.h"

#include <string.h>

typedef struct {
    const char *name;
    Progress (*fold)(Core *, Sink *, const Batch *, size_t from);
    void (*step_segment)(Core *, Sink *, uint32_t segment);
} Kernels;

extern const Kernels cc_kernels_base;
#if defined(__x86_64__)
extern const Kernels cc_kernels_avx2, cc_kernels_avx512;
#endif

/* The kernels for this processor, or those named; NULL when that name cannot run here. */
const Kernels *cc_kernels(const char *name);

/* cold.c: what is not in a loop over readings */
uint32_t cc_locate_sparse(const Core *, uint32_t id);
Progress cc_why_stopped(const Core *, const Batch *, size_t index);
int cc_make_events(Core *, uint32_t segment);
int cc_is_older(Segment *, uint32_t slot, uint32_t state, int64_t time);
void cc_note_events(const Core *, Segment *);
void cc_fold_older(Core *, Sink *, uint32_t loc, uint32_t id, float x, int good, int64_t time, Window *);
void cc_advance(Core *, int64_t now, int64_t lateness);
void cc_set_clock(Core *, int64_t now);
int cc_sweep_due(Core *, uint32_t segment, uint32_t since);
size_t cc_sweep_segment(Core *, uint32_t segment, uint32_t since, Sink *);
uint32_t cc_examine(const uint8_t *tiles, uint32_t used, uint32_t functions, uint32_t *heard, uint32_t *failing);
size_t cc_repair_segment(Core *, uint32_t segment, int ordered);

/* Where the search for a wire id begins in a table of `mask` + 1 slots: the high bits of a product, which hang on all bits of the id. */
static inline uint32_t cc_device_home(uint32_t id, uint32_t mask)
{
    id = (id ^ id >> 16) * 0x7feb352du;
    id = (id ^ id >> 15) * 0x9e3779b1u;
    return (uint32_t)(((uint64_t)id * ((uint64_t)mask + 1)) >> 32);
}

/* Where the entity of a wire id is (segment * 1024 + slot), or CC_NOWHERE. */
static inline uint32_t cc_locate(const Core *core, uint32_t id)
{
    if (id < core->dense)
        return id + (id / CC_SLOTS) * (CC_SLAB_TILES * CC_LANES - CC_SLOTS);
    return cc_locate_sparse(core, id);
}

/* windows.c: the windows that a block has open */
Window *cc_find_window(const Core *, Block *, int64_t time);
Window *cc_window_at(Core *, Block *, int64_t time, Sink *);
void cc_close_windows(Core *, int64_t until, Sink *);
void cc_pool_clear(Core *);
int cc_pool_restore(Core *, const PoolWindow *);
void cc_pool_forget_closed(Core *);

/* score.c: the anomaly score of blocks */
size_t cc_score_rows(BlockScore *, Row *, size_t n, const uint32_t *ids, double half_life, double least, int stored, Alert *);

/* From the end of a window to its closing, ms. */
static inline int64_t cc_lateness(const Core *core) { return core->clock - core->watermark; }

/* The time of reading `i` of a batch, ms. */
static inline int64_t cc_batch_time(const Batch *b, size_t i)
{
    return b->offsets ? b->time + b->offsets[i] : b->time;
}

/* Whether the order of a segment's readings can no longer be told from when they came: this one's time is far from its arrival. */
static inline int cc_needs_events(const Core *core, const Segment *s, int64_t time)
{
    return !s->events && !core->two_windows && (uint64_t)(time - core->watermark) > (uint64_t)(2 * cc_lateness(core));
}

/* One good reading into its window. */
static inline void cc_window_add(Window *w, float x, float z, uint32_t message)
{
    if (!w->count) w->origin = x;
    const double d = (double)x - w->origin;
    w->sum += d;
    w->squares += d * d;
    w->min = x < w->min ? x : w->min;
    w->max = x > w->max ? x : w->max;
    w->score = z > w->score ? z : w->score;
    w->count++;
    w->messages += message;
}

/* The wire id of reading `i` of a batch. */
static inline uint32_t cc_batch_id(const Batch *b, size_t i)
{
    uint32_t id;
    if (!b->frames) return b->ids[i];
    memcpy(&id, b->frames + i * CC_FRAME, 4);
    return __builtin_bswap32(id);
}

#endif
