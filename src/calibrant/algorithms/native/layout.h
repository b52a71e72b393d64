/* The numbers of `calibrant.algorithms.packed_bins`; kernels_native.py checks that they are the same. */
#ifndef CALIBRANT_LAYOUT_H
#define CALIBRANT_LAYOUT_H

#include <stdint.h>

#define MANTISSA_BITS 10
#define POSITION_BITS (23 - MANTISSA_BITS)
#define OCTAVES 24
#define BINS_PER_SIGN (OCTAVES << MANTISSA_BITS)
#define TAIL 4096
#define COUNT_SHIFT (POSITION_BITS + 25)
#define ROOM (4 * TAIL)
#define ONE (UINT64_C(1) << COUNT_SHIFT)
#define UNIT(place) (ONE + ((uint64_t)(place) << POSITION_BITS)) /* what a packed bin counts in */

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86 1
#else
#define HAS_X86 0
#endif

#endif
