#include "bucketize.h"

#include "loops.h"

#if HAS_X86
#include <immintrin.h>
#endif

#define MAGNITUDE INT32_C(0x7FFFFFFF)
#define AHEAD 2048 /* values; the processor itself fetches ahead only up to the end of a page, and four blocks are one */
#define NEGATIVE_SIDE (BINS_PER_SIGN << POSITION_BITS)

static int32_t smallest_kept(int32_t first_key)
{
    return first_key > 0 ? first_key << POSITION_BITS : 1;
}

static int64_t bucketize_anywhere(const int32_t *bits, int64_t size, int32_t first_key, uint32_t *bin_words,
                                  struct extremes *groups)
{
    const int32_t base = first_key << POSITION_BITS, smallest = smallest_kept(first_key);
    int64_t count = 0;
    for (int64_t first = 0; first < size; first += GROUP) {
        int64_t end = size - first < GROUP ? size : first + GROUP;
        int32_t lowest = INT32_MAX, highest = INT32_MIN;
        for (int64_t index = first; index < end; index++) {
            int32_t value = bits[index], magnitude = value & MAGNITUDE;
            int32_t ordered = value ^ ((value >> 31) & MAGNITUDE);
            highest = ordered > highest ? ordered : highest;
            lowest = ordered < lowest ? ordered : lowest;
            bin_words[count] = (uint32_t)(magnitude - base) + (value < 0 ? NEGATIVE_SIDE : 0);
            count += magnitude >= smallest;
        }
        groups[first / GROUP].lowest = lowest;
        groups[first / GROUP].highest = highest;
    }
    return count;
}

static int64_t collect_anywhere(const int32_t *bits, int64_t size, int32_t limit, int upper, int32_t *into)
{
    int64_t count = 0;
    for (int64_t index = 0; index < size; index++) {
        int32_t ordered = bits[index] ^ ((bits[index] >> 31) & MAGNITUDE);
        into[count] = ordered;
        count += upper ? ordered > limit : ordered < limit;
    }
    return count;
}

const struct form anywhere = {bucketize_anywhere, collect_anywhere};

#if HAS_X86

__attribute__((target("avx512f,avx512dq,popcnt"))) static int64_t bucketize_avx512(const int32_t *bits, int64_t size,
                                                                             int32_t first_key, uint32_t *bin_words,
                                                                             struct extremes *groups)
{
    const __m512i mask = _mm512_set1_epi32(MAGNITUDE), smallest = _mm512_set1_epi32(smallest_kept(first_key));
    const __m512i base = _mm512_set1_epi32(first_key << POSITION_BITS), side = _mm512_set1_epi32(NEGATIVE_SIDE);
    int64_t count = 0;
    for (int64_t first = 0; first < size; first += GROUP) {
        __m512i highest = _mm512_set1_epi32(INT32_MIN), lowest = _mm512_set1_epi32(INT32_MAX);
        for (int64_t index = first; index < first + GROUP; index += 16) {
            _mm_prefetch((const char *)(bits + index + AHEAD), _MM_HINT_T0);
            __m512i value = _mm512_loadu_si512(bits + index);
            __m512i magnitude = _mm512_and_si512(value, mask);
            __m512i ordered = _mm512_xor_si512(value, _mm512_and_si512(_mm512_srai_epi32(value, 31), mask));
            __mmask16 kept = _mm512_cmpge_epi32_mask(magnitude, smallest);
            __m512i word = _mm512_sub_epi32(magnitude, base);
            word = _mm512_mask_add_epi32(word, _mm512_movepi32_mask(value), word, side);
            _mm512_storeu_si512(bin_words + count, _mm512_maskz_compress_epi32(kept, word));
            count += _mm_popcnt_u32(kept);
            highest = _mm512_max_epi32(highest, ordered);
            lowest = _mm512_min_epi32(lowest, ordered);
        }
        groups[first / GROUP].highest = _mm512_reduce_max_epi32(highest);
        groups[first / GROUP].lowest = _mm512_reduce_min_epi32(lowest);
    }
    return count;
}

__attribute__((target("avx512f,popcnt"))) static int64_t collect_avx512(const int32_t *bits, int64_t size,
                                                                       int32_t limit, int upper, int32_t *into)
{
    const __m512i mask = _mm512_set1_epi32(MAGNITUDE), limits = _mm512_set1_epi32(limit);
    int64_t count = 0;
    for (int64_t index = 0; index < size; index += 16) {
        __m512i value = _mm512_loadu_si512(bits + index);
        __m512i ordered = _mm512_xor_si512(value, _mm512_and_si512(_mm512_srai_epi32(value, 31), mask));
        __mmask16 kept = upper ? _mm512_cmpgt_epi32_mask(ordered, limits) : _mm512_cmplt_epi32_mask(ordered, limits);
        _mm512_storeu_si512(into + count, _mm512_maskz_compress_epi32(kept, ordered));
        count += _mm_popcnt_u32(kept);
    }
    return count;
}

/* Which lanes move to the front: for each of the 256 sets of lanes, theirs in order. Filled once, before any thread. */
static int32_t front[256][8];

__attribute__((constructor)) static void fill_front(void)
{
    for (int set = 0; set < 256; set++)
        for (int lane = 0, count = 0; lane < 8; lane++)
            if (set >> lane & 1)
                front[set][count++] = lane;
}

__attribute__((target("avx2,popcnt"))) static int64_t bucketize_avx2(const int32_t *bits, int64_t size, int32_t first_key,
                                                               uint32_t *bin_words, struct extremes *groups)
{
    const __m256i mask = _mm256_set1_epi32(MAGNITUDE), below = _mm256_set1_epi32(smallest_kept(first_key) - 1);
    const __m256i base = _mm256_set1_epi32(first_key << POSITION_BITS), side = _mm256_set1_epi32(NEGATIVE_SIDE);
    int64_t count = 0;
    for (int64_t first = 0; first < size; first += GROUP) {
        __m256i highest = _mm256_set1_epi32(INT32_MIN), lowest = _mm256_set1_epi32(INT32_MAX);
        for (int64_t index = first; index < first + GROUP; index += 8) {
            _mm_prefetch((const char *)(bits + index + AHEAD), _MM_HINT_T0);
            __m256i value = _mm256_loadu_si256((const __m256i *)(bits + index));
            __m256i magnitude = _mm256_and_si256(value, mask), sign = _mm256_srai_epi32(value, 31);
            __m256i ordered = _mm256_xor_si256(value, _mm256_and_si256(sign, mask));
            __m256i word = _mm256_add_epi32(_mm256_sub_epi32(magnitude, base), _mm256_and_si256(sign, side));
            int kept = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(magnitude, below)));
            __m256i lanes = _mm256_loadu_si256((const __m256i *)front[kept]);
            _mm256_storeu_si256((__m256i *)(bin_words + count), _mm256_permutevar8x32_epi32(word, lanes));
            count += _mm_popcnt_u32((unsigned)kept);
            highest = _mm256_max_epi32(highest, ordered);
            lowest = _mm256_min_epi32(lowest, ordered);
        }
        int32_t high[8], low[8];
        _mm256_storeu_si256((__m256i *)high, highest);
        _mm256_storeu_si256((__m256i *)low, lowest);
        struct extremes *group = groups + first / GROUP;
        group->highest = high[0];
        group->lowest = low[0];
        for (int lane = 1; lane < 8; lane++) {
            group->highest = high[lane] > group->highest ? high[lane] : group->highest;
            group->lowest = low[lane] < group->lowest ? low[lane] : group->lowest;
        }
    }
    return count;
}

__attribute__((target("avx2,popcnt"))) static int64_t collect_avx2(const int32_t *bits, int64_t size, int32_t limit,
                                                                  int upper, int32_t *into)
{
    const __m256i mask = _mm256_set1_epi32(MAGNITUDE), limits = _mm256_set1_epi32(limit);
    int64_t count = 0;
    for (int64_t index = 0; index < size; index += 8) {
        __m256i value = _mm256_loadu_si256((const __m256i *)(bits + index));
        __m256i ordered = _mm256_xor_si256(value, _mm256_and_si256(_mm256_srai_epi32(value, 31), mask));
        __m256i beyond = upper ? _mm256_cmpgt_epi32(ordered, limits) : _mm256_cmpgt_epi32(limits, ordered);
        int kept = _mm256_movemask_ps(_mm256_castsi256_ps(beyond));
        __m256i lanes = _mm256_loadu_si256((const __m256i *)front[kept]);
        _mm256_storeu_si256((__m256i *)(into + count), _mm256_permutevar8x32_epi32(ordered, lanes));
        count += _mm_popcnt_u32((unsigned)kept);
    }
    return count;
}

#endif

/* The forms this processor can run, the best one last. */
static int forms(struct form found[3])
{
    int count = 0;
    found[count++] = anywhere;
#if HAS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
        found[count++] = (struct form){bucketize_avx2, collect_avx2};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        found[count++] = (struct form){bucketize_avx512, collect_avx512};
#endif
    return count;
}

static int least = 3; /* a form further down than this place is not used; for tests of all of them */

int calibrant_limit_forms(int places)
{
    struct form found[3];
    least = places;
    return forms(found);
}

struct form best_form(void)
{
    struct form found[3];
    int count = forms(found);
    return found[(count < least ? count : least) - 1];
}
