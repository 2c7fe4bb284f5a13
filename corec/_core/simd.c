/* Which kernels this processor runs: our own CPUID test, for compilers whose built-in one answers no. */
#include "core.h"
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned long long xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

/* 0 baseline, 1 AVX2, 2 AVX-512 F/BW/DQ/VL; the operating system must save the registers too. */
static int level(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    const unsigned long long saved = xcr0();
    if ((saved & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return 0;
    const unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return (saved & 0xe6) == 0xe6 && (b & wide) == wide ? 2 : 1;
}

static const Kernels *const all[] = {&cc_kernels_base, &cc_kernels_avx2, &cc_kernels_avx512};
#else
static int level(void) { return 0; }
static const Kernels *const all[] = {&cc_kernels_base};
#endif

const Kernels *cc_kernels(const char *name)
{
    const int best = level();
    if (!name) return all[best];
    for (int i = 0; i <= best; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    return NULL;
}
