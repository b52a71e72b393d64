/* The numbers of `calibrant.algorithms.kernels`; kernels_native.py checks that they are the same. */
#ifndef CALIBRANT_LAYOUT_H
#define CALIBRANT_LAYOUT_H

#include <stdint.h>

#define MANTISSA_BITS 10
#define POSITION_BITS (23 - MANTISSA_BITS)
#define OCTAVES 24
#define WINDOW (OCTAVES << MANTISSA_BITS)
#define TAIL 4096
#define COUNT_SHIFT (POSITION_BITS + 25)
#define ROOM (4 * TAIL)

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86 1
#else
#define HAS_X86 0
#endif

#endif
