/* Sums over the values between edges; what is computed is said in `calibrant.algorithms.kernels_numpy`.
 * Every sum is taken in the same order as there, without fused multiply-add, so that all bits are the same. */
#include <stdlib.h>
#include <string.h>

#include "loops.h"

#define BLOCK 512 /* values, so that what is known of them stays in the first-level cache */
#define EXPONENT INT32_C(0x7F800000)
#define SHIFT 20 /* sign, exponent and three bits of the mantissa remain: an eighth of an octave */
#define BUCKETS (1 << (32 - SHIFT))

struct search {
    const float *edges;     /* and an infinite one for each step */
    int32_t steps;          /* the most edges in one bucket */
    int32_t first[BUCKETS]; /* the number of edges below the lowest value of a bucket */
};

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void fill(struct search *search, int64_t count)
{
    search->steps = 0;
    for (int side = 0; side < 2; side++) {
        int32_t below = 0;
        for (uint32_t place = 0; place < BUCKETS / 2; place++) { /* upwards from 0, or from minus infinity */
            uint32_t bucket = side ? BUCKETS - 1 - place : place;
            float inner = from_bits(bucket << SHIFT), outer = from_bits((bucket + 1) * (1u << SHIFT) - 1);
            float lowest = side ? outer : inner, highest = side ? inner : outer;
            while (below < count && search->edges[below] < lowest)
                below++;
            search->first[bucket] = below;
            int32_t within = below;
            while (within < count && search->edges[within] < highest)
                within++;
            search->steps = within - below > search->steps ? within - below : search->steps;
        }
    }
}

/* The places of the values that are not zero, and the interval of each: the number of edges below it. */
static int64_t find_intervals(const struct search *search, const float *values, int64_t size, int32_t *places,
                              int32_t *intervals)
{
    int64_t count = 0;
    for (int64_t index = 0; index < size; index++) {
        places[count] = (int32_t)index;
        count += values[index] != 0;
    }
    if (search->steps <= 1) {
        for (int64_t index = 0; index < count; index++) {
            float value = values[places[index]];
            int32_t interval = search->first[bits_of(value) >> SHIFT];
            intervals[index] = interval + (search->edges[interval] < value);
        }
        return count;
    }
    for (int64_t index = 0; index < count; index++) {
        float value = values[places[index]];
        int32_t interval = search->first[bits_of(value) >> SHIFT];
        for (int32_t step = 0; step < search->steps; step++)
            interval += search->edges[interval] < value;
        intervals[index] = interval;
    }
    return count;
}

static inline double finite_or_zero(float value)
{
    return (bits_of(value) & EXPONENT) == EXPONENT ? 0.0 : (double)value;
}

static inline void add_to(double *row, float gradient, double value)
{
    double slope = finite_or_zero(gradient);
    row[0] += slope * slope;
    row[1] += slope;
    row[2] += slope * value;
}

/* Two gradients at once: the sums of one do not wait for those of the other. */
int calibrant_sums_between(const float *values, const float *first, const float *second, int64_t samples,
                           int64_t elements, const float *edges, int64_t count, double *sums)
{
    int32_t places[BLOCK], intervals[BLOCK];
    const int64_t row = 3 * (count + 1), length = samples * row;
    struct search *search = malloc(sizeof *search);
    float *padded = malloc((size_t)(2 * count + 1) * sizeof *padded);
    int failed = search == NULL || padded == NULL;
    if (!failed) {
        for (int64_t place = 0; place <= 2 * count; place++)
            padded[place] = place < count ? edges[place] : from_bits(EXPONENT);
        search->edges = padded;
        fill(search, count);
        memset(sums, 0, (size_t)(2 * length) * sizeof *sums);
    }
    for (int64_t sample = 0; sample < samples && !failed; sample++) {
        double *of_first = sums + sample * row, *of_second = of_first + length;
        for (int64_t start = 0; start < elements; start += BLOCK) {
            int64_t size = elements - start < BLOCK ? elements - start : BLOCK, offset = sample * elements + start;
            const float *block = values + offset, *one = first + offset, *other = second + offset;
            int64_t found = find_intervals(search, block, size, places, intervals);
            for (int64_t index = 0; index < found; index++) {
                int32_t place = places[index], interval = 3 * intervals[index];
                add_to(of_first + interval, one[place], block[place]);
                add_to(of_second + interval, other[place], block[place]);
            }
        }
    }
    free(search);
    free(padded);
    return failed;
}
