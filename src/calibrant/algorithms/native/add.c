/* Values into packed bins; what is computed is said in `calibrant.algorithms.kernels_numpy.add`.
 *
 * Block by block: extremes first, and for every value above the window's lower end one word, its place in the bins above
 * its position inside the bin. What is near zero leaves no word, and counts nowhere: it is what is missing in the total.
 * Then the words are counted. The first part exists for several processors, the second is memory access alone.
 * When much has been collected for a tail, the bins tell a limit that leaves little more than the tail of it. */
#include <string.h>

#include "layout.h"
#include "sift.h"

#define POSITION ((UINT32_C(1) << POSITION_BITS) - 1)
#define ONE (UINT64_C(1) << COUNT_SHIFT)

/* Two words at a time: reading them is a quarter of the work. */
static void count(const uint32_t *words, int64_t many, uint64_t *packed)
{
    int64_t index = 0;
    for (; index + 1 < many; index += 2) {
        uint64_t both;
        memcpy(&both, words + index, sizeof both);
        uint32_t one = (uint32_t)both, other = (uint32_t)(both >> 32);
        packed[one >> POSITION_BITS] += ONE | (one & POSITION);
        packed[other >> POSITION_BITS] += ONE | (other & POSITION);
    }
    if (index < many)
        packed[words[index] >> POSITION_BITS] += ONE | (words[index] & POSITION);
}

/* Magnitude bits that at least TAIL counted values of a side reach, as high as the bins tell; -1 if there are fewer. */
static int64_t reached_by_tail(const uint64_t *side, int32_t first_key)
{
    uint64_t many = 0;
    for (int64_t place = WINDOW - 1; place >= 0; place--) {
        many += side[place] >> COUNT_SHIFT;
        if (many >= TAIL)
            return (first_key + place) << POSITION_BITS;
    }
    return -1;
}

/* Only what is beyond the limit stays; returned is how many. */
static int64_t narrowed(int32_t *values, int64_t size, int32_t limit, int upper)
{
    int64_t many = 0;
    for (int64_t index = 0; index < size; index++) {
        int32_t value = values[index];
        values[many] = value;
        many += upper ? value > limit : value < limit;
    }
    return many;
}

/* found: lowest, highest, number in top, number in bottom; top and bottom have room for ROOM + SPARE. */
EXPORTED int64_t calibrant_add(const int32_t *bits, int64_t size, int64_t start, uint64_t *packed, int32_t first_key,
                               int32_t lowest_fitting, int32_t highest_fitting, int32_t above, int32_t below,
                               int32_t *found, int32_t *top, int32_t *bottom)
{
    uint32_t words[BLOCK + SPARE];
    struct extremes groups[BLOCK / GROUP];
    const struct form best = best_form();
    const int two_sides = lowest_fitting != ~0;
    int32_t lowest = INT32_MAX, highest = INT32_MIN;
    int64_t in_top = 0, in_bottom = 0;
    while (start < size) {
        const int32_t *block = bits + start;
        int64_t here = size - start < BLOCK ? size - start : BLOCK;
        int64_t many = (here == BLOCK ? best : anywhere).sift(block, here, first_key, words, groups);
        int64_t top_before = in_top, bottom_before = in_bottom;
        for (int64_t group = 0; group * GROUP < here; group++) {
            const int32_t *values = block + group * GROUP;
            int64_t length = here - group * GROUP < GROUP ? here - group * GROUP : GROUP;
            collect_function *collect = (length == GROUP ? best : anywhere).collect;
            if (groups[group].highest > above)
                in_top += collect(values, length, above, 1, top + in_top);
            if (groups[group].lowest < below)
                in_bottom += collect(values, length, below, 0, bottom + in_bottom);
            highest = groups[group].highest > highest ? groups[group].highest : highest;
            lowest = groups[group].lowest < lowest ? groups[group].lowest : lowest;
        }
        if (highest > highest_fitting || lowest < lowest_fitting) {
            in_top = top_before;
            in_bottom = bottom_before;
            break;
        }
        count(words, many, packed);
        start += here;
        if (in_top > ROOM - BLOCK) {
            int64_t reached = reached_by_tail(packed, first_key);
            above = reached > 0 && reached - 1 > above ? (int32_t)(reached - 1) : above;
            in_top = narrowed(top, in_top, above, 1);
        }
        if (in_bottom > ROOM - BLOCK && two_sides) {
            int64_t reached = reached_by_tail(packed + WINDOW, first_key);
            below = reached >= 0 && ~reached + 1 < below ? (int32_t)(~reached + 1) : below;
            in_bottom = narrowed(bottom, in_bottom, below, 0);
        }
        if ((in_top > in_bottom ? in_top : in_bottom) > ROOM - BLOCK)
            break;
    }
    found[0] = lowest;
    found[1] = highest;
    found[2] = (int32_t)in_top;
    found[3] = (int32_t)in_bottom;
    return start;
}
