/* What the loops offer to the extension module. */
#ifndef CALIBRANT_LOOPS_H
#define CALIBRANT_LOOPS_H

#include "layout.h"

int64_t calibrant_add(const int32_t *bits, int64_t size, int64_t start, uint64_t *packed, int32_t first_key,
                      int32_t lowest_fitting, int32_t highest_fitting, int32_t *found, int32_t *top, int32_t *bottom);
int64_t calibrant_filled(const uint64_t *packed, const int64_t *totals, int64_t size, int64_t first_key,
                         int64_t *codes, int64_t *counts, int64_t *sums, double *means);
void calibrant_sums_outwards(const int64_t *codes, const int64_t *counts, const double *means, int64_t filled,
                             int32_t negative, int64_t first_key, int64_t start, double *table);
void calibrant_spread_below(const int64_t *codes, const int64_t *counts, const double *means, int64_t filled,
                            int64_t zeros, double minimum, double maximum, const double *points, int64_t size,
                            double *below);
int calibrant_limit_forms(int places);
void calibrant_add_rows(const float *rows, int64_t count, int64_t columns, double *sums);
int calibrant_sums_between(const float *values, const float *first, const float *second, int64_t samples,
                           int64_t elements, const float *edges, int64_t count, double *sums);
void calibrant_excess(int64_t count, const double *scales, int64_t levels, const double *table, int64_t first_key,
                      double *sums);
void calibrant_gains(int64_t candidates, const double *scales, const int64_t *levels, const double *table,
                     int64_t first_key, double *gains);
void calibrant_gains_of_uniform_bins(int64_t candidates, const double *scales, const int64_t *levels,
                                     const double *table, int64_t bins, double low, double width, double *gains);
int64_t calibrant_greedy_walk(const double *cumulated, int64_t bins, double part, int64_t *ranges);

#endif
