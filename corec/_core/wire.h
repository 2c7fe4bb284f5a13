/* Frames and checksums in C: bytes in, columns out. */
#ifndef COREC_WIRE_H
#define COREC_WIRE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "layout.h"

/* Call once; hardware 0 forces the table. */
void cc_crc32c_choose(int hardware);
uint32_t cc_crc32c(uint32_t crc, const uint8_t *p, size_t n);

static inline void cc_frames_decode(const uint8_t *f, size_t n, uint32_t *ids, int8_t *canales, uint32_t *valores, uint8_t *estados)
{
    for (size_t i = 0; i < n; i++, f += CC_FRAME) {
        uint64_t head;
        uint32_t value;
        memcpy(&head, f, 8);
        memcpy(&value, f + 5, 4);       /* unaligned: the value sits at offset 5 */
        ids[i] = __builtin_bswap32((uint32_t)head);
        canales[i] = (int8_t)(head >> 32);
        valores[i] = __builtin_bswap32(value);
        estados[i] = f[9];
    }
}

static inline void cc_frames_encode(uint8_t *f, size_t n, const uint32_t *ids, const int8_t *canales, const uint32_t *valores,
                                    const uint8_t *estados)
{
    for (size_t i = 0; i < n; i++, f += CC_FRAME) {
        const uint32_t id = __builtin_bswap32(ids[i]), value = __builtin_bswap32(valores[i]);
        memcpy(f, &id, 4);
        f[4] = (uint8_t)canales[i];
        memcpy(f + 5, &value, 4);
        f[9] = estados[i] != 0;
    }
}
#endif
