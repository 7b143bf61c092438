/* Transforms of Winograd's F(4x4, 3x3) over images whose channels lie side by side; see __init__.py.

   A tile's 36 entries lie in planes, the columns before the rows, `plane` numbers apart. */

#include <stddef.h>

enum { TILE = 6, STEP = 4, BLOCK = 16 };

static const float ZEROS[BLOCK];

/* B'd */
#define INPUTS(d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5)              \
    do {                                                                     \
        const float even4 = (d4) - 4 * (d2), odd4 = (d3) - 4 * (d1);         \
        const float even = (d4) - (d2), odd = 2 * ((d3) - (d1));             \
        (o0) = 4 * ((d0) - (d2)) + even;                                     \
        (o1) = even4 + odd4;                                                 \
        (o2) = even4 - odd4;                                                 \
        (o3) = even + odd;                                                   \
        (o4) = even - odd;                                                   \
        (o5) = ((d5) - (d3)) + 4 * ((d1) - (d3));                            \
    } while (0)

/* A'm */
#define OUTPUTS(m0, m1, m2, m3, m4, m5, o0, o1, o2, o3)                      \
    do {                                                                     \
        const float near = (m1) + (m2), near_odd = (m1) - (m2);              \
        const float far = (m3) + (m4), far_odd = (m3) - (m4);                \
        (o0) = (m0) + near + far;                                            \
        (o1) = near_odd + 2 * far_odd;                                       \
        (o2) = near + 4 * far;                                               \
        (o3) = near_odd + 8 * far_odd + (m5);                                \
    } while (0)

static inline __attribute__((always_inline)) void inputs_of_block(
    const float *const from[TILE][TILE], float *to, ptrdiff_t plane, int width)
{
    float columns[TILE][TILE][BLOCK];
    for (int j = 0; j < TILE; j++) {
        const float *const *d = from[j];
        for (int c = 0; c < width; c++)
            INPUTS(d[0][c], d[1][c], d[2][c], d[3][c], d[4][c], d[5][c],
                   columns[0][j][c], columns[1][j][c], columns[2][j][c],
                   columns[3][j][c], columns[4][j][c], columns[5][j][c]);
    }
    for (int i = 0; i < TILE; i++) {
        float (*d)[BLOCK] = columns[i], *o = to + i * plane;
        const ptrdiff_t next = TILE * plane;
        for (int c = 0; c < width; c++)
            INPUTS(d[0][c], d[1][c], d[2][c], d[3][c], d[4][c], d[5][c],
                   o[c], o[next + c], o[2 * next + c], o[3 * next + c], o[4 * next + c], o[5 * next + c]);
    }
}

/* Strides are in numbers; `top` and `left` are the zeros around an image. */
void winograd_inputs(
    const float *images, ptrdiff_t count, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t image_stride, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t top, ptrdiff_t left,
    ptrdiff_t high, ptrdiff_t wide, float *to, ptrdiff_t plane)
{
    for (ptrdiff_t n = 0; n < count; n++)
        for (ptrdiff_t y = 0; y < high; y++)
            for (ptrdiff_t x = 0; x < wide; x++, to += channels)
                for (ptrdiff_t first = 0; first < channels; first += BLOCK) {
                    const float *from[TILE][TILE];
                    for (int j = 0; j < TILE; j++)
                        for (int i = 0; i < TILE; i++) {
                            const ptrdiff_t row = STEP * y + i - top, column = STEP * x + j - left;
                            const int inside = row >= 0 && row < height && column >= 0 && column < width;
                            from[j][i] = inside ? images + n * image_stride + row * row_stride
                                                      + column * column_stride + first
                                                : ZEROS;
                        }
                    if (channels - first >= BLOCK)
                        inputs_of_block(from, to + first, plane, BLOCK);
                    else
                        inputs_of_block(from, to + first, plane, (int)(channels - first));
                }
}

/* Adds to `lost` what is 0 where all outputs are finite, and else NaN. */
static inline __attribute__((always_inline)) void outputs_of_block(
    const float *from, ptrdiff_t plane, const float *bias, float *to, ptrdiff_t row_stride, ptrdiff_t column_stride,
    int rows, int columns, int width, float *lost)
{
    float halves[STEP][TILE][BLOCK], outputs[STEP][BLOCK];
    for (int j = 0; j < TILE; j++) {
        const float *m = from + j * TILE * plane;
        for (int c = 0; c < width; c++)
            OUTPUTS(m[c], m[plane + c], m[2 * plane + c], m[3 * plane + c], m[4 * plane + c], m[5 * plane + c],
                    halves[0][j][c], halves[1][j][c], halves[2][j][c], halves[3][j][c]);
    }
    for (int i = 0; i < rows; i++) {
        float (*m)[BLOCK] = halves[i];
        for (int c = 0; c < width; c++)
            OUTPUTS(m[0][c], m[1][c], m[2][c], m[3][c], m[4][c], m[5][c],
                    outputs[0][c], outputs[1][c], outputs[2][c], outputs[3][c]);
        for (int j = 0; j < columns; j++)
            for (int c = 0; c < width; c++) {
                const float output = outputs[j][c] + bias[c];
                to[i * row_stride + j * column_stride + c] = output;
                lost[c] += output - output;
            }
    }
}

/* An image some of whose outputs are not finite becomes NaN. */
void winograd_outputs(
    const float *from, ptrdiff_t plane, ptrdiff_t count, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t high, ptrdiff_t wide, const float *bias, float *images, ptrdiff_t image_stride, ptrdiff_t row_stride,
    ptrdiff_t column_stride)
{
    for (ptrdiff_t n = 0; n < count; n++) {
        float lost[BLOCK] = {0}, total = 0;
        for (ptrdiff_t y = 0; y < high; y++)
            for (ptrdiff_t x = 0; x < wide; x++, from += channels)
                for (ptrdiff_t first = 0; first < channels; first += BLOCK) {
                    float *to = images + n * image_stride + STEP * y * row_stride + STEP * x * column_stride + first;
                    const int rows = height - STEP * y < STEP ? (int)(height - STEP * y) : STEP;
                    const int columns = width - STEP * x < STEP ? (int)(width - STEP * x) : STEP;
                    const float *added = bias ? bias + first : ZEROS;
                    if (channels - first >= BLOCK)
                        outputs_of_block(from + first, plane, added, to, row_stride, column_stride, rows, columns,
                                         BLOCK, lost);
                    else
                        outputs_of_block(from + first, plane, added, to, row_stride, column_stride, rows, columns,
                                         (int)(channels - first), lost);
                }
        for (int c = 0; c < BLOCK; c++)
            total += lost[c];
        if (total == 0)
            continue;
        for (ptrdiff_t y = 0; y < height; y++)
            for (ptrdiff_t x = 0; x < width; x++)
                for (ptrdiff_t c = 0; c < channels; c++)
                    images[n * image_stride + y * row_stride + x * column_stride + c] = total;
    }
}
