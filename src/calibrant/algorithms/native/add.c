/* Values into packed bins; what is computed is said in `calibrant.algorithms.kernels_numpy.add`.
 *
 * Block by block: extremes first, and for every value above the window's lower end one word, its place in the bins above
 * its position inside the bin. What is near zero leaves no word, and counts nowhere: it is what is missing in the total.
 * Then the words are counted. The first part exists for several processors, the second is memory access alone.
 * When much has been collected for a tail, the bins tell a limit that leaves little more than the tail of it. */
#include "loops.h"
#include "bucketize.h"

#define FULL (ROOM - BLOCK)

/* A word is added whole, and the place in it taken out again where bins are read: that saves an instruction of six. */
static void add_words(const uint32_t *bin_words, int64_t count, uint64_t *packed)
{
    int64_t index = 0;
    for (; index + 3 < count; index += 4) {
        uint64_t first = bin_words[index], second = bin_words[index + 1];
        uint64_t third = bin_words[index + 2], fourth = bin_words[index + 3];
        packed[first >> POSITION_BITS] += ONE + first;
        packed[second >> POSITION_BITS] += ONE + second;
        packed[third >> POSITION_BITS] += ONE + third;
        packed[fourth >> POSITION_BITS] += ONE + fourth;
    }
    for (; index < count; index++)
        packed[bin_words[index] >> POSITION_BITS] += ONE + bin_words[index];
}

/* Magnitude bits that at least TAIL counted values of a side reach, as high as the bins tell; -1 if there are fewer. */
static int64_t reached_by_tail(const uint64_t *packed, int64_t side, int32_t first_key)
{
    uint64_t count = 0;
    for (int64_t place = BINS_PER_SIGN - 1; place >= 0; place--) {
        uint64_t bin = side * BINS_PER_SIGN + place;
        count += packed[bin] ? packed[bin] / UNIT(bin) : 0;
        if (count >= TAIL)
            return (first_key + place) << POSITION_BITS;
    }
    return -1;
}

/* Only what is beyond the limit stays; returned is how many. */
static int64_t beyond(int32_t *values, int64_t size, int32_t limit, int upper)
{
    int64_t count = 0;
    for (int64_t index = 0; index < size; index++) {
        int32_t value = values[index];
        values[count] = value;
        count += upper ? value > limit : value < limit;
    }
    return count;
}

/* Where nothing is below zero, a tail of zeros is enough, and they are in no bin. Negative zeros come before them. */
static int64_t up_to_zero(int32_t *values, int64_t size, int32_t *below)
{
    int64_t zeros = 0, count = 0;
    for (int64_t index = 0; index < size; index++)
        zeros += values[index] == 0;
    if (zeros < TAIL)
        return size;
    *below = 0;
    zeros = 0;
    for (int64_t index = 0; index < size; index++) {
        int32_t value = values[index];
        if (value < 0 || (value == 0 && zeros++ < TAIL))
            values[count++] = value;
    }
    return count;
}

struct limits {
    int32_t above, below;
};

/* The limits moved outwards as far as the bins tell, and what is inside of them left out of the lists. */
static void narrow(const uint64_t *packed, int32_t first_key, int two_sides, struct limits *limits, int32_t *top,
                   int64_t *in_top, int32_t *bottom, int64_t *in_bottom)
{
    if (*in_top > TAIL) {
        int64_t reached = reached_by_tail(packed, 0, first_key);
        if (reached > 0 && reached - 1 > limits->above) {
            limits->above = (int32_t)(reached - 1);
            *in_top = beyond(top, *in_top, limits->above, 1);
        }
    }
    if (*in_bottom > TAIL && !two_sides) {
        *in_bottom = up_to_zero(bottom, *in_bottom, &limits->below);
    } else if (*in_bottom > TAIL) {
        int64_t reached = reached_by_tail(packed, 1, first_key);
        if (reached >= 0 && ~reached + 1 < limits->below) {
            limits->below = (int32_t)(~reached + 1);
            *in_bottom = beyond(bottom, *in_bottom, limits->below, 0);
        }
    }
}

/* found: lowest, highest, number in top, number in bottom, above, below; the last two are limits, also when called. top
 * and bottom have room for ROOM + SPARE. */
int64_t calibrant_add(const int32_t *bits, int64_t size, int64_t start, uint64_t *packed, int32_t first_key,
                      int32_t lowest_fitting, int32_t highest_fitting, int32_t *found, int32_t *top,
                      int32_t *bottom)
{
    uint32_t bin_words[BLOCK + SPARE];
    struct extremes groups[BLOCK / GROUP];
    struct limits limits = {found[4], found[5]};
    const struct form best = best_form();
    const int two_sides = lowest_fitting != ~0;
    int32_t lowest = INT32_MAX, highest = INT32_MIN;
    int64_t in_top = 0, in_bottom = 0;
    while (start < size) {
        const int32_t *block = bits + start;
        int64_t here = size - start < BLOCK ? size - start : BLOCK;
        int64_t count = (here == BLOCK ? best : anywhere).bucketize(block, here, first_key, bin_words, groups);
        int64_t top_before = in_top, bottom_before = in_bottom;
        for (int64_t group = 0; group * GROUP < here; group++) {
            const int32_t *values = block + group * GROUP;
            int64_t length = here - group * GROUP < GROUP ? here - group * GROUP : GROUP;
            collect_function *collect = (length == GROUP ? best : anywhere).collect;
            if (groups[group].highest > limits.above)
                in_top += collect(values, length, limits.above, 1, top + in_top);
            if (groups[group].lowest < limits.below)
                in_bottom += collect(values, length, limits.below, 0, bottom + in_bottom);
            highest = groups[group].highest > highest ? groups[group].highest : highest;
            lowest = groups[group].lowest < lowest ? groups[group].lowest : lowest;
        }
        if (highest > highest_fitting || lowest < lowest_fitting) {
            in_top = top_before;
            in_bottom = bottom_before;
            break;
        }
        add_words(bin_words, count, packed);
        start += here;
        if (in_top > FULL || in_bottom > FULL)
            narrow(packed, first_key, two_sides, &limits, top, &in_top, bottom, &in_bottom);
        if (in_top > FULL || in_bottom > FULL)
            break;
    }
    narrow(packed, first_key, two_sides, &limits, top, &in_top, bottom, &in_bottom);
    found[0] = lowest;
    found[1] = highest;
    found[2] = (int32_t)in_top;
    found[3] = (int32_t)in_bottom;
    found[4] = limits.above;
    found[5] = limits.below;
    return start;
}
