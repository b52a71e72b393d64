/* Sums over rows and over levels; what is computed is said in `calibrant.algorithms.kernels_numpy`.
 * Every sum is taken in the same order as there, without fused multiply-add, so that all bits are the same. */
#include <string.h>

#include "loops.h"

#define STRIP 1024 /* columns, so that their sums stay in the first-level cache */

void calibrant_add_rows(const float *rows, int64_t count, int64_t columns, double *sums)
{
    for (int64_t start = 0; start < columns; start += STRIP) {
        int64_t width = columns - start < STRIP ? columns - start : STRIP;
        double *strip = sums + start;
        for (int64_t row = 0; row < count; row++) {
            const float *values = rows + row * columns + start;
            for (int64_t column = 0; column < width; column++)
                strip[column] += (double)values[column];
        }
    }
}

/* Adds to sum what the values exceed a threshold by, all together; 0 where it lies beyond the window.
 * table: BINS_PER_SIGN + 2 rows of count and sum. */
static inline int add_beyond(double threshold, const double *table, int64_t first_key, double *sum)
{
    float rounded = (float)threshold;
    int32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    int64_t key = (bits >> POSITION_BITS) - first_key;
    if (key >= BINS_PER_SIGN)
        return 0;
    const double *row = table + 2 * (key < 0 ? 0 : key);
    double with_bin = row[1] - threshold * row[0], without = row[3] - threshold * row[2];
    *sum += with_bin > without ? with_bin : without;
    return 1;
}

void calibrant_gains(int64_t candidates, const double *scales, const int64_t *levels, const double *table,
                     int64_t first_key, double *gains)
{
    for (int64_t candidate = 0; candidate < candidates; candidate++) {
        double scale = scales[candidate], total = 0.0;
        for (int64_t level = 0; level < levels[candidate]; level++)
            if (!add_beyond(((double)level + 0.5) * scale, table, first_key, &total))
                break;
        gains[candidate] = 2.0 * scale * total;
    }
}

/* sums: as many rows as scales, of levels + 1 numbers. */
void calibrant_excess(int64_t count, const double *scales, int64_t levels, const double *table, int64_t first_key,
                      double *sums)
{
    for (int64_t row = 0; row < count; row++, sums += levels + 1) {
        double total = 0.0;
        int64_t level = 0;
        do
            sums[level] = total;
        while (level < levels && add_beyond(((double)level++ + 0.5) * scales[row], table, first_key, &total));
        for (; level <= levels; level++)
            sums[level] = total;
    }
}

/* table: bins + 1 rows of count and sum. */
void calibrant_gains_of_uniform_bins(int64_t candidates, const double *scales, const int64_t *levels,
                                     const double *table, int64_t bins, double low, double width,
                                     double *gains)
{
    for (int64_t candidate = 0; candidate < candidates; candidate++) {
        double scale = scales[candidate], total = 0.0;
        for (int64_t level = 0; level < levels[candidate]; level++) {
            double threshold = ((double)level + 0.5) * scale, place = (threshold - low) / width;
            if (place >= (double)bins)
                break;
            if (place < 0.0) {
                total += table[1] - threshold * table[0];
                continue;
            }
            int64_t index = (int64_t)place;
            const double *row = table + 2 * index;
            double rest = (double)(index + 1) - place;
            double inside = (row[0] - row[2]) * width * rest * rest * 0.5;
            total += row[3] - threshold * row[2] + inside;
        }
        gains[candidate] = 2.0 * scale * total;
    }
}
