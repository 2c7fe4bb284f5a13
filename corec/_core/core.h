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
uint32_t cc_attention(const Core *, const Batch *, size_t index);
Window *cc_window_at(Core *, Block *, int64_t time, Sink *);
void cc_advance(Core *, int64_t now, int64_t lateness);
void cc_close_windows(Core *, int64_t until, Sink *);
int cc_sweep_due(Core *, uint32_t segment, uint32_t since);
size_t cc_sweep_segment(Core *, uint32_t segment, uint32_t since, Sink *);
size_t cc_repair_segment(Core *, uint32_t segment, int ordered);

/* Where the entity of a wire id is (segment * 1024 + slot), or CC_NOWHERE. */
static inline uint32_t cc_locate(const Core *core, uint32_t id)
{
    if (id < core->dense)
        return id + (id / CC_SLOTS) * (CC_SLAB_TILES * CC_LANES - CC_SLOTS);
    return cc_locate_sparse(core, id);
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
