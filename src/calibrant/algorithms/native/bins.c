/* Reading the bins of a histogram; what is computed is said in `calibrant.algorithms.kernels_numpy`. */
#include <float.h>
#include <string.h>

#include "loops.h"

/* packed: size numbers, or 0; totals: size counts and size sums of positions, or 0. Returned is how filled were filled. */
int64_t calibrant_filled(const uint64_t *packed, const int64_t *totals, int64_t size, int64_t first_key,
                         int64_t *codes, int64_t *counts, int64_t *sums, double *means)
{
    int64_t filled = 0, negative = size - BINS_PER_SIGN;
    for (int64_t index = 0; index < size; index++) {
        int64_t place = index < negative ? size - 1 - index : index - negative;
        uint64_t word = packed ? packed[place] : 0;
        int64_t count = totals ? totals[place] : 0;
        if (!word && !count)
            continue;
        uint64_t added = word / UNIT(place);
        int64_t sum = (int64_t)(word - added * UNIT(place)) + (totals ? totals[size + place] : 0);
        count += (int64_t)added;
        int64_t key = first_key + place % BINS_PER_SIGN, exponent = key >> MANTISSA_BITS;
        int64_t mantissa = (key & ((1 << MANTISSA_BITS) - 1)) << POSITION_BITS;
        int64_t step_bits = ((exponent > 0 ? exponent : 1) + (1023 - 150)) << 52;
        double step;
        memcpy(&step, &step_bits, sizeof step);
        if (exponent > 0)
            mantissa += 1 << 23;
        double mean = ((double)mantissa + (double)sum / (double)count) * step;
        codes[filled] = index < negative ? -1 - key : key;
        counts[filled] = count;
        sums[filled] = sum;
        means[filled] = index < negative ? -mean : mean;
        filled++;
    }
    return filled;
}

/* table: BINS_PER_SIGN + 2 rows of count and sum, zero before. */
void calibrant_sums_outwards(const int64_t *codes, const int64_t *counts, const double *means, int64_t filled,
                             int32_t negative, int64_t first_key, int64_t start, double *table)
{
    double count = 0.0, sum = 0.0;
    int64_t row = -1;
    for (int64_t index = 0; index < filled; index++) {
        int64_t from_outside = negative ? index : filled - 1 - index, code = codes[from_outside];
        if ((code < 0) != negative)
            break;
        int64_t place = (negative ? -1 - code : code) - first_key;
        if (row < 0)
            row = place;
        for (; row > place && row >= start; row--) {
            table[2 * row] = count;
            table[2 * row + 1] = sum;
        }
        if (row < start)
            return;
        count += (double)counts[from_outside];
        sum += (double)counts[from_outside] * (negative ? -means[from_outside] : means[from_outside]);
    }
    for (; row >= start; row--) {
        table[2 * row] = count;
        table[2 * row + 1] = sum;
    }
}

static double edge(int64_t key)
{
    if (key >> MANTISSA_BITS == 0)
        return (double)key * 0x1p-136;
    int64_t bits = (key << (52 - MANTISSA_BITS)) + ((int64_t)(1023 - 127) << 52);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* points ascend; below: as filled numbers as points. There are values. */
void calibrant_spread_below(const int64_t *codes, const int64_t *counts, const double *means, int64_t filled,
                            int64_t zeros, double minimum, double maximum, const double *points,
                            int64_t size, double *below)
{
    int64_t total = 0, index = 0, last = filled + (zeros > 0), positive = 0;
    double place = -DBL_MAX, held = 0.0; /* the last place that has been passed, and what lies below it */
    int64_t point = 0;
    while (positive < filled && codes[positive] < 0)
        positive++;
    for (int64_t step = 0; step < last; step++) {
        double low = 0.0, high = 0.0, mean = 0.0;
        int64_t count = zeros;
        if (zeros == 0 || step != positive) {
            int64_t code = codes[index], key = code < 0 ? -1 - code : code;
            double inner = edge(key), outer = edge(key + 1);
            low = code < 0 ? -outer : inner;
            high = code < 0 ? -inner : outer;
            mean = means[index];
            count = counts[index++];
        }
        low = low > minimum ? low : minimum;
        high = high < maximum ? high : maximum;
        double reach = mean - low < high - mean ? mean - low : high - mean;
        reach = reach > 0.0 ? reach : 0.0;
        for (int half = 0; half < 2; half++) {
            double next = half ? mean + reach : mean - reach;
            total += half ? count : 0;
            double slope = ((double)total - held) / (next - place);
            for (; point < size && points[point] < next; point++)
                below[point] = points[point] == place ? held : slope * (points[point] - place) + held;
            place = next;
            held = (double)total;
        }
    }
    for (; point < size; point++)
        below[point] = held;
}
