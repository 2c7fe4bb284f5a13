/* The kernels for base. */
#include "core.h"
#include <stdbool.h>
#include <string.h>
#include "kernels.h"
const Kernels cc_kernels_base = {"base", fold, step_segment};
