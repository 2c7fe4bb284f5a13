/* The kernels for avx2. */
#include "core.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#include "kernels.h"
const Kernels cc_kernels_avx2 = {"avx2", fold, step_segment};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
