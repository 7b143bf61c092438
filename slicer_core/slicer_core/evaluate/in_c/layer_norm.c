/* Layer normalization of float32 numbers, row by row. Sizes are in numbers. */

#include "../native/vectors.h"

INLINE float sum_of(Vector values)
{
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += values[lane];
    return sum;
}

/* Of rows of `size` numbers without gaps: less their mean, over the root of their variance plus epsilon, times the
   weight and plus the bias, where there are any. */
void layer_norm(
    const float *from, ptrdiff_t rows, ptrdiff_t size, const float *weight, const float *bias, double epsilon, float *to)
{
    for (; rows > 0; rows--, from += size, to += size) {
        Vector left = {0}, right = {0};
        ptrdiff_t c = 0;
        float rest = 0;
        for (; c + BLOCK <= size; c += BLOCK) {
            left += load(from + c);
            right += load(from + c + LANES);
        }
        for (; c < size; c++)
            rest += from[c];
        const float mean = (sum_of(left + right) + rest) / (float)size;
        left = right = (Vector){0};
        rest = 0;
        for (c = 0; c + BLOCK <= size; c += BLOCK) {
            const Vector one = load(from + c) - mean, other = load(from + c + LANES) - mean;
            left += one * one;
            right += other * other;
        }
        for (; c < size; c++)
            rest += (from[c] - mean) * (from[c] - mean);
        const double variance = (double)(sum_of(left + right) + rest) / (double)size;
        const float scale = (float)(1 / __builtin_sqrt(variance + epsilon));
        for (c = 0; c + LANES <= size; c += LANES) {
            Vector values = (load(from + c) - mean) * scale;
            if (weight)
                values *= load(weight + c);
            if (bias)
                values += load(bias + c);
            store(to + c, values);
        }
        for (; c < size; c++)
            to[c] = (from[c] - mean) * scale * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
    }
}
