/* What the fuzz targets share: the door libFuzzer and driver.c call, checks that stop, and the input as choices. */
#ifndef COREC_FUZZ_H
#define COREC_FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A check stops the process: libFuzzer and driver.c save the input that did it. */
#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: expected %s - ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__); \
            fputc('\n', stderr); \
            abort(); \
        } \
    } while (0)

/* The input as a row of choices; zeros behind its end. */
typedef struct { const uint8_t *at, *end; } Choices;

static inline int choices_left(const Choices *c) { return c->at < c->end; }
static inline uint8_t choose_byte(Choices *c) { return c->at < c->end ? *c->at++ : 0; }
static inline uint32_t choose_below(Choices *c, uint32_t n) { return choose_byte(c) % n; }

static inline uint32_t choose_word(Choices *c)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) word = word << 8 | choose_byte(c);
    return word;
}

/* Memory of exactly this size, so that AddressSanitizer sees one byte too far. */
static inline void *exactly(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    CHECK(memory, "no %zu bytes", bytes);
    return memory;
}
#endif
