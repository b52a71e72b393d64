/* The greedy walk over a histogram; what is computed is said in `calibrant.algorithms.kernels_numpy.greedy_walk`. */
#include "loops.h"

/* The first place in [low, high) whose value is at least `wanted`, else high; values ascend. */
static int64_t first_at_least(const double *values, double wanted, int64_t low, int64_t high)
{
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (values[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first place in [low, high) whose value is more than `wanted`, else high. */
static int64_t first_above(const double *values, double wanted, int64_t low, int64_t high)
{
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (wanted < values[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ranges: room for `bins` pairs; returned is how many. */
int64_t calibrant_greedy_walk(const double *cumulated, int64_t bins, double part, int64_t *ranges)
{
    int64_t start = 0, end = bins, count = 1;
    ranges[0] = start;
    ranges[1] = end;
    while (4 * (end - start) > bins && end - start > 1) {
        int64_t left = first_at_least(cumulated, cumulated[start] + part, start + 1, end);
        int64_t right = first_above(cumulated, cumulated[end] - part, start, end) - 1;
        left = left < end - 1 ? left : end - 1;
        right = right > start + 1 ? right : start + 1;
        double kept_left = cumulated[left] - cumulated[start], kept_right = cumulated[end] - cumulated[right];
        if (left - start > end - right || (left - start == end - right && kept_left < kept_right))
            start = left;
        else
            end = right;
        ranges[2 * count] = start;
        ranges[2 * count + 1] = end;
        count++;
    }
    return count;
}
