/* From float32 bits to the words that are counted, the extremes of each group of values, and what belongs to the tails. */
#ifndef CALIBRANT_BUCKETIZE_H
#define CALIBRANT_BUCKETIZE_H

#include <stdint.h>

#define BLOCK 256
#define GROUP 128
#define SPARE 16 /* words behind the last one that may be written to */

struct extremes {
    int32_t lowest, highest; /* ordered bits */
};

/* Words of `size` values, returned is how many; one entry of `groups` for every GROUP values begun. All forms but
 * the one for all processors need size == BLOCK. Near zero is less than the key `first_key`. */
typedef int64_t bucketize_function(const int32_t *bits, int64_t size, int32_t first_key, uint32_t *bin_words,
                              struct extremes *groups);

/* Ordered bits beyond a limit, above it if `upper` and below it otherwise, in their order; returned is how many. Only
 * the form for all processors takes any size, the others take GROUP. */
typedef int64_t collect_function(const int32_t *bits, int64_t size, int32_t limit, int upper, int32_t *into);

struct form {
    bucketize_function *bucketize;
    collect_function *collect;
};

extern const struct form anywhere; /* for every processor and every size */
struct form best_form(void);

#endif
