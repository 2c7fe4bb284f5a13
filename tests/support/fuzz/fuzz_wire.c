/* Frames there and back, and the checksum against a bit-by-bit one, at every alignment. */
#include "fuzz.h"
#include "wire.h"

typedef struct { size_t n; uint32_t *ids, *valores; int8_t *canales; uint8_t *estados; } Columns;

static Columns columns_new(size_t n)
{
    return (Columns){n, exactly(n * 4), exactly(n * 4), exactly(n), exactly(n)};
}

static void columns_free(Columns c)
{
    free(c.ids);
    free(c.valores);
    free(c.canales);
    free(c.estados);
}

static Columns decode(const uint8_t *frames, size_t n)
{
    Columns c = columns_new(n);
    cc_frames_decode(frames, n, c.ids, c.canales, c.valores, c.estados);
    return c;
}

/* Field by field, as docs/formats.md says it: big-endian, packed. */
static void check_columns(const uint8_t *frames, Columns c)
{
    for (size_t i = 0; i < c.n; i++) {
        const uint8_t *f = frames + i * 10;
        CHECK(c.ids[i] == ((uint32_t)f[0] << 24 | f[1] << 16 | f[2] << 8 | f[3]), "frame %zu", i);
        CHECK(c.canales[i] == (int8_t)f[4], "frame %zu", i);
        CHECK(c.valores[i] == ((uint32_t)f[5] << 24 | f[6] << 16 | f[7] << 8 | f[8]), "frame %zu", i);
        CHECK(c.estados[i] == f[9], "frame %zu", i);
    }
}

static void check_encoded(const uint8_t *frames, Columns c)
{
    uint8_t *again = exactly(c.n * 10);
    cc_frames_encode(again, c.n, c.ids, c.canales, c.valores, c.estados);
    for (size_t i = 0; i < c.n * 10; i++)
        CHECK(again[i] == (i % 10 == 9 ? frames[i] != 0 : frames[i]), "byte %zu", i);
    free(again);
}

static void check_frames(const uint8_t *data, size_t size)
{
    const size_t n = size / 10;
    uint8_t *frames = exactly(n * 10);
    memcpy(frames, data, n * 10);
    Columns c = decode(frames, n);
    check_columns(frames, c);
    check_encoded(frames, c);
    columns_free(c);
    free(frames);
}

static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

static void check_checksum(const uint8_t *data, size_t size)
{
    const size_t cut = size ? data[0] % (size + 1) : 0;
    const uint32_t start = (uint32_t)size * 0x9e3779b1u, expected = crc_slow(start, data, size);
    for (int hardware = 0; hardware < 2; hardware++) {
        cc_crc32c_choose(hardware);
        CHECK(cc_crc32c(start, data, size) == expected, "hardware %d, %zu bytes", hardware, size);
        const uint32_t head = cc_crc32c(start, data, cut);
        CHECK(cc_crc32c(head, data + cut, size - cut) == expected, "hardware %d, cut at %zu of %zu", hardware, cut, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    uint8_t *copy = exactly(size);
    memcpy(copy, data, size);
    const size_t offset = data[0] % 8 < size ? data[0] % 8 : 0;
    check_checksum(copy + offset, size - offset);
    check_frames(copy, size);
    check_frames(copy + 1, size - 1);
    free(copy);
    return 0;
}
