/* The kernels for avx512. */
#include "core.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512vl,avx512bw,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx2,avx512f,avx512vl,avx512bw,avx512dq")
#endif
#include "kernels.h"
const Kernels cc_kernels_avx512 = {"avx512", fold, step_segment};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
