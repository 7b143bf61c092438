/* Cross-entropy over few classes of float32 scores. Strides are in numbers. */

#include <stdint.h>

#include "../native/exponentials.h"

enum { MOST_CLASSES = 64 };

const ptrdiff_t cross_entropy_classes = MOST_CLASSES;

/* The losses of a vector's rows, whose scores of the targets' classes are `own`. Scores of a class lie side by side, and
   `stride` numbers from those of the next. */
INLINE Vector losses_of(const float *scores, ptrdiff_t stride, ptrdiff_t classes, Vector own)
{
    Vector most = load(scores), sum = {0};
    for (ptrdiff_t c = 1; c < classes; c++) {
        const Vector other = load(scores + c * stride);
        most = select(other > most, other, most);
    }
    for (ptrdiff_t c = 0; c < classes; c++)
        sum += exponential(load(scores + c * stride) - most);
    return logarithm(sum) + (most - own);
}

/* Of each row, less the logarithm of the softmax of its scores at the class of its target. */
void cross_entropy(
    const float *scores, ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t row_stride, ptrdiff_t class_stride,
    const int64_t *targets, float *to)
{
    float laid_out[MOST_CLASSES * BLOCK];
    for (ptrdiff_t first = 0; first < rows; first += BLOCK) {
        const ptrdiff_t count = smaller(BLOCK, rows - first);
        const float *block = scores + first * row_stride;
        ptrdiff_t stride = class_stride;
        if (row_stride != 1 || count < BLOCK) {
            if (count < BLOCK)
                memset(laid_out, 0, sizeof laid_out);
            lay_side_by_side(block, row_stride, class_stride, count, classes, laid_out);
            block = laid_out, stride = BLOCK;
        }
        float own[BLOCK] = {0}, losses[BLOCK];
        for (ptrdiff_t r = 0; r < count; r++)
            own[r] = block[targets[first + r] * stride + r];
        for (ptrdiff_t r = 0; r < BLOCK; r += LANES)
            store(losses + r, losses_of(block + r, stride, classes, load(own + r)));
        memcpy(to + first, losses, (size_t)count * sizeof(float));
    }
}
