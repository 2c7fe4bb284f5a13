/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): by instruction where the processor has it, else by table. */
#include "wire.h"
#include <string.h>

static uint32_t table[8][256];
static uint32_t (*chosen)(uint32_t, const uint8_t *, size_t);

static uint32_t crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + 4, 4);
        a ^= crc;
        crc = table[7][a & 255] ^ table[6][(a >> 8) & 255] ^ table[5][(a >> 16) & 255] ^ table[4][a >> 24]
            ^ table[3][b & 255] ^ table[2][(b >> 8) & 255] ^ table[1][(b >> 16) & 255] ^ table[0][b >> 24];
    }
    while (n--) crc = table[0][(crc ^ *p++) & 255] ^ (crc >> 8);
    return crc;
}

static void table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++) table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255];
}

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__clang__)
#define CRC_TARGET "crc32"      /* clang counts the instruction apart from SSE 4.2 */
#else
#define CRC_TARGET "sse4.2"
#endif
__attribute__((target(CRC_TARGET)))
static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t wide = crc, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (n--) crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

static int has_hardware(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
}
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
__attribute__((target("+crc")))
static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    while (n--) crc = __crc32cb(crc, *p++);
    return crc;
}

static int has_hardware(void) { return (getauxval(AT_HWCAP) >> 7) & 1; }
#else
#define crc_hardware crc_table
static int has_hardware(void) { return 0; }
#endif

void cc_crc32c_choose(int hardware)
{
    table_fill();
    chosen = hardware && has_hardware() ? crc_hardware : crc_table;
}

uint32_t cc_crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    return ~chosen(~crc, p, n);
}
