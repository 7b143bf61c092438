/* Winograd's F(4x4, 3x3) on float32 images whose channels lie side by side; see __init__.py.

   A group of tiles is transformed, multiplied and transformed back before the next one, so that what lies between stays
   in a cache. A tile's 36 entries lie in planes, the columns before the rows. Sizes and strides are in numbers. */

#include "../native/vectors.h"

/* Channels whose weights are laid out anew at a time. */
enum { DEPTH = 32 };
enum { TILE = 6, STEP = 4, TAPS = 3, PRODUCTS = TILE * TILE };

/* Filters and sums are filled up with zeros to whole blocks of outputs. */
const ptrdiff_t winograd_block = BLOCK;

/* Planes that lie a multiple of 4 KB apart would share few places of a cache. */
INLINE ptrdiff_t plane_of(ptrdiff_t rows, ptrdiff_t columns) { return rows * columns + 16; }

/* B'd */
#define INPUTS(d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5)                                     \
    do {                                                                                            \
        const Vector even4 = (d4) - 4.0f * (d2), odd4 = (d3) - 4.0f * (d1);                         \
        const Vector even = (d4) - (d2), odd = (d3) - (d1);                                         \
        (o0) = even + 4.0f * ((d0) - (d2));                                                         \
        (o1) = even4 + odd4;                                                                        \
        (o2) = even4 - odd4;                                                                        \
        (o3) = even + 2.0f * odd;                                                                   \
        (o4) = even - 2.0f * odd;                                                                   \
        (o5) = ((d5) - (d3)) - 4.0f * odd;                                                          \
    } while (0)

/* A'm */
#define OUTPUTS(m0, m1, m2, m3, m4, m5, o0, o1, o2, o3)                                            \
    do {                                                                                            \
        const Vector near = (m1) + (m2), near_odd = (m1) - (m2);                                    \
        const Vector far = (m3) + (m4), far_odd = (m3) - (m4);                                      \
        (o0) = (m0) + near + far;                                                                   \
        (o1) = near_odd + 2.0f * far_odd;                                                           \
        (o2) = near + 4.0f * far;                                                                   \
        (o3) = near_odd + 8.0f * far_odd + (m5);                                                    \
    } while (0)

/* Gg */
#define FILTERS(g0, g1, g2, o0, o1, o2, o3, o4, o5)                                                \
    do {                                                                                            \
        const Vector ends = (g0) + (g2), near = (g0) * (1.0f / 24) + (g2) * (1.0f / 6);             \
        (o0) = (g0) * 0.25f;                                                                        \
        (o1) = (ends + (g1)) * (-1.0f / 6);                                                         \
        (o2) = (ends - (g1)) * (-1.0f / 6);                                                         \
        (o3) = near + (g1) * (1.0f / 12);                                                           \
        (o4) = near - (g1) * (1.0f / 12);                                                           \
        (o5) = (g2);                                                                                \
    } while (0)

/* GgG' of weights of shape (outputs, channels, 3, 3), of shape (36, blocks of outputs, channels, outputs of a block). */
void winograd_filters(
    const float *weights, ptrdiff_t outputs, ptrdiff_t channels, ptrdiff_t output_stride, ptrdiff_t channel_stride,
    ptrdiff_t row_stride, ptrdiff_t column_stride, float *to)
{
    const ptrdiff_t padded = filled_up(outputs), plane = plane_of(channels, padded);
    for (ptrdiff_t first = 0; first < padded; first += BLOCK)
        for (ptrdiff_t start = 0; start < channels; start += DEPTH) {
            /* The weights, with the outputs of a block side by side. */
            float taps[TAPS][TAPS][DEPTH][BLOCK];
            const ptrdiff_t depth = smaller(DEPTH, channels - start);
            for (ptrdiff_t o = 0; o < BLOCK; o++)
                for (ptrdiff_t c = 0; c < depth; c++) {
                    const float *weight = weights + (first + o) * output_stride + (start + c) * channel_stride;
                    for (int i = 0; i < TAPS; i++)
                        for (int j = 0; j < TAPS; j++)
                            taps[i][j][c][o] = first + o < outputs ? weight[i * row_stride + j * column_stride] : 0;
                }
            for (ptrdiff_t c = 0; c < depth; c++)
                for (int half = 0; half < BLOCK; half += LANES) {
                    Vector g[TAPS], halves[TILE][TAPS], u[TILE];
                    for (int j = 0; j < TAPS; j++) {
                        for (int i = 0; i < TAPS; i++)
                            g[i] = load(taps[i][j][c] + half);
                        FILTERS(g[0], g[1], g[2], halves[0][j], halves[1][j], halves[2][j], halves[3][j], halves[4][j],
                                halves[5][j]);
                    }
                    float *place = to + first * channels + (start + c) * BLOCK + half;
                    for (int i = 0; i < TILE; i++) {
                        FILTERS(halves[i][0], halves[i][1], halves[i][2], u[0], u[1], u[2], u[3], u[4], u[5]);
                        for (int j = 0; j < TILE; j++)
                            store(place + (j * TILE + i) * plane, u[j]);
                    }
                }
        }
}

/* B'dB of a tile whose vectors `AT(j, i)` reads, by column and row. Read column by column, they stay in registers. */
#define TRANSFORM_INPUTS(AT, to, plane)                                                            \
    do {                                                                                            \
        Vector rows_[TILE][TILE], v_[TILE];                                                         \
        for (int j = 0; j < TILE; j++) {                                                            \
            const Vector d0 = AT(j, 0), d1 = AT(j, 1), d2 = AT(j, 2);                               \
            const Vector d3 = AT(j, 3), d4 = AT(j, 4), d5 = AT(j, 5);                               \
            INPUTS(d0, d1, d2, d3, d4, d5, rows_[0][j], rows_[1][j], rows_[2][j], rows_[3][j],      \
                   rows_[4][j], rows_[5][j]);                                                       \
        }                                                                                           \
        for (int i = 0; i < TILE; i++) {                                                            \
            Vector *d = rows_[i];                                                                   \
            INPUTS(d[0], d[1], d[2], d[3], d[4], d[5], v_[0], v_[1], v_[2], v_[3], v_[4], v_[5]);   \
            for (int j = 0; j < TILE; j++)                                                          \
                store((to) + (j * TILE + i) * (plane), v_[j]);                                      \
        }                                                                                           \
    } while (0)

/* A tile whose first row and column, which may be outside, lie at `corner`. */
INLINE void read_tile(
    const float *corner, ptrdiff_t row, ptrdiff_t column, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t row_stride, ptrdiff_t column_stride, float *to, ptrdiff_t plane)
{
    static const float zeros[LANES];
    const float *from[TILE][TILE];
    /* All bits of what lies inside: no channel moves on from the zeros. */
    ptrdiff_t inside[TILE][TILE], first = 0;
    if (row >= 0 && column >= 0 && row + TILE <= height && column + TILE <= width) {
#define INNER(j, i) load(corner + (i) * row_stride + (j) * column_stride + first)
        for (; first + LANES <= channels; first += LANES)
            TRANSFORM_INPUTS(INNER, to + first, plane);
        if (first == channels)
            return;
    }
    for (int j = 0; j < TILE; j++)
        for (int i = 0; i < TILE; i++) {
            const int is_inside = row + i >= 0 && row + i < height && column + j >= 0 && column + j < width;
            from[j][i] = is_inside ? corner + i * row_stride + j * column_stride : zeros;
            inside[j][i] = is_inside ? -1 : 0;
        }
#define WHOLE(j, i) load(from[j][i] + (first & inside[j][i]))
#define SOME(j, i) load_some(from[j][i] + (first & inside[j][i]), channels - first)
    for (; first + LANES <= channels; first += LANES)
        TRANSFORM_INPUTS(WHOLE, to + first, plane);
    if (first < channels)
        TRANSFORM_INPUTS(SOME, to + first, plane);
}

/* The product of some tiles' inputs with a block of filters. */
INLINE void multiply_tiles(
    const float *inputs, ptrdiff_t input_stride, const float *filters, ptrdiff_t channels, float *sums,
    ptrdiff_t sum_stride, const int tiles)
{
    Vector held[ROWS][2];
#pragma GCC unroll 6
    for (int t = 0; t < tiles; t++)
        held[t][0] = held[t][1] = (Vector){0};
    add_products(inputs, input_stride, filters, channels, held, tiles);
#pragma GCC unroll 6
    for (int t = 0; t < tiles; t++) {
        store(sums + t * sum_stride, held[t][0]);
        store(sums + t * sum_stride + LANES, held[t][1]);
    }
}

/* That of all tiles of a group with all filters, of one plane. */
static void multiply(
    const float *inputs, ptrdiff_t input_stride, const float *filters, ptrdiff_t channels, float *sums,
    ptrdiff_t padded, ptrdiff_t tiles)
{
    for (ptrdiff_t first = 0; first < padded; first += BLOCK, filters += channels * BLOCK) {
        ptrdiff_t t = 0;
        for (; t + ROWS <= tiles; t += ROWS)
            multiply_tiles(inputs + t * input_stride, input_stride, filters, channels, sums + t * padded + first,
                           padded, ROWS);
        const float *rest = inputs + t * input_stride;
        float *to = sums + t * padded + first;
        switch (tiles - t) {
        case 1: multiply_tiles(rest, input_stride, filters, channels, to, padded, 1); break;
        case 2: multiply_tiles(rest, input_stride, filters, channels, to, padded, 2); break;
        case 3: multiply_tiles(rest, input_stride, filters, channels, to, padded, 3); break;
        case 4: multiply_tiles(rest, input_stride, filters, channels, to, padded, 4); break;
        case 5: multiply_tiles(rest, input_stride, filters, channels, to, padded, 5); break;
        default: break;
        }
    }
}

/* A'mA of a tile's sums, plus the bias and what is to be added, if not below zero where `is_relu`, to what of the tile is
   in the image. Returns `lost` plus what is 0 where all that is finite, and else NaN. */
INLINE Vector transform_sums(
    const float *from, ptrdiff_t plane, Vector bias, const float *added, int is_relu, float *to, ptrdiff_t row_stride,
    ptrdiff_t column_stride, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t count, Vector lost)
{
    Vector halves[STEP][TILE], outputs[STEP];
    for (int j = 0; j < TILE; j++) {
        Vector m[TILE];
        for (int i = 0; i < TILE; i++)
            m[i] = load(from + (j * TILE + i) * plane);
        OUTPUTS(m[0], m[1], m[2], m[3], m[4], m[5], halves[0][j], halves[1][j], halves[2][j], halves[3][j]);
    }
    for (int i = 0; i < rows; i++) {
        Vector *m = halves[i];
        OUTPUTS(m[0], m[1], m[2], m[3], m[4], m[5], outputs[0], outputs[1], outputs[2], outputs[3]);
        for (int j = 0; j < columns; j++) {
            const ptrdiff_t place = i * row_stride + j * column_stride;
            Vector output = outputs[j] + bias;
            if (added)
                output += count == LANES ? load(added + place) : load_some(added + place, count);
            lost += output * 0.0f;
            if (is_relu)
                output = (Vector)((Bits)output & (Bits)(output > 0.0f));
            if (count == LANES)
                store(to + place, output);
            else
                memcpy(to + place, &output, (size_t)count * sizeof(float));
        }
    }
    return lost;
}

/* Whether all outputs of the tile are finite. */
INLINE int write_tile(
    const float *from, ptrdiff_t plane, const float *bias, const float *added, int is_relu, ptrdiff_t outputs,
    float *to, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t rows, ptrdiff_t columns)
{
    Vector lost = {0};
    ptrdiff_t first = 0;
    if (rows == STEP && columns == STEP)
        for (; first + LANES <= outputs; first += LANES)
            lost = transform_sums(from + first, plane, bias ? load(bias + first) : (Vector){0},
                                  added ? added + first : NULL, is_relu, to + first, row_stride, column_stride, STEP,
                                  STEP, LANES, lost);
    for (; first < outputs; first += LANES) {
        const ptrdiff_t count = smaller(LANES, outputs - first);
        lost = transform_sums(from + first, plane, bias ? load_some(bias + first, count) : (Vector){0},
                              added ? added + first : NULL, is_relu, to + first, row_stride, column_stride, rows,
                              columns, count, lost);
    }
    float total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += lost[lane];
    return total == 0;
}

/* `inputs` and `sums` have room for a group's planes, their channels and outputs filled up to whole vectors and blocks.
   `top` and `left` are the zeros around an image. What is `added` to the outputs, if anything, lies like them. An image
   some of whose outputs are not finite becomes NaN. */
void winograd_convolve(
    const float *images, ptrdiff_t count, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t image_stride, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t top, ptrdiff_t left,
    const float *filters, const float *bias, const float *added, int is_relu, float *to, ptrdiff_t out_height,
    ptrdiff_t out_width, ptrdiff_t outputs, ptrdiff_t to_image_stride, ptrdiff_t to_row_stride,
    ptrdiff_t to_column_stride, ptrdiff_t group, float *inputs, float *sums)
{
    const ptrdiff_t high = (out_height + STEP - 1) / STEP, wide = (out_width + STEP - 1) / STEP;
    const ptrdiff_t all = count * high * wide, padded = filled_up(outputs);
    const ptrdiff_t depth = (channels + LANES - 1) / LANES * LANES;
    const ptrdiff_t input_plane = plane_of(group, depth), sum_plane = plane_of(group, padded);
    const ptrdiff_t filter_plane = plane_of(channels, padded);
    for (ptrdiff_t start = 0; start < all; start += group) {
        const ptrdiff_t tiles = smaller(group, all - start);
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t n = (start + t) / (high * wide), y = (start + t) / wide % high, x = (start + t) % wide;
            const ptrdiff_t row = STEP * y - top, column = STEP * x - left;
            read_tile(images + n * image_stride + row * row_stride + column * column_stride, row, column, height, width,
                      channels, row_stride, column_stride, inputs + t * depth, input_plane);
        }
        for (int p = 0; p < PRODUCTS; p++)
            multiply(inputs + p * input_plane, depth, filters + p * filter_plane, channels, sums + p * sum_plane,
                     padded, tiles);
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t n = (start + t) / (high * wide), y = (start + t) / wide % high, x = (start + t) % wide;
            float *image = to + n * to_image_stride;
            const ptrdiff_t place = STEP * y * to_row_stride + STEP * x * to_column_stride;
            const float *more = added ? added + n * to_image_stride + place : NULL;
            const ptrdiff_t rows = smaller(STEP, out_height - STEP * y), columns = smaller(STEP, out_width - STEP * x);
            const int is_finite = write_tile(sums + t * padded, sum_plane, bias, more, is_relu, outputs, image + place,
                                             to_row_stride, to_column_stride, rows, columns);
            /* An image's first tile has been written by now, so this stays. */
            if (!is_finite)
                *image = __builtin_nanf("");
        }
    }
    for (ptrdiff_t n = 0; n < count; n++) {
        float *image = to + n * to_image_stride;
        if (*image == *image)
            continue;
        for (ptrdiff_t y = 0; y < out_height; y++)
            for (ptrdiff_t x = 0; x < out_width; x++)
                for (ptrdiff_t c = 0; c < outputs; c++)
                    image[y * to_row_stride + x * to_column_stride + c] = __builtin_nanf("");
    }
}
