/* What is asked of the library as a whole. */
#include "layout.h"

EXPORTED const int32_t *calibrant_layout(void)
{
    static const int32_t layout[] = {MANTISSA_BITS, OCTAVES, TAIL, COUNT_SHIFT};
    return layout;
}

/* What Python looks for in an extension module. It is not one: kernels_native.py opens it as a plain library. */
EXPORTED void *PyInit__native(void)
{
    return 0;
}
