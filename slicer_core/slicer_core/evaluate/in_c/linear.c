/* Linear layers on float32 numbers. Sizes and strides are in numbers. */

#include "../native/vectors.h"

/* Inputs whose products are summed up at a time: a block of their weights fits a core's first cache. */
enum { DEPTH = 512 };
/* What is done to outputs. */
enum { NOTHING, RELU, GELU };

/* Weights are filled up with zeros to whole blocks of outputs. */
const ptrdiff_t linear_block = BLOCK;

/* A weight of shape (outputs, inputs), of shape (blocks of outputs, inputs, outputs of a block). */
void linear_weights(
    const float *weights, ptrdiff_t outputs, ptrdiff_t inputs, ptrdiff_t output_stride, ptrdiff_t input_stride,
    float *to)
{
    for (ptrdiff_t first = 0; first < outputs; first += BLOCK, to += inputs * BLOCK) {
        const float *from = weights + first * output_stride;
        const ptrdiff_t count = smaller(BLOCK, outputs - first);
        if (count < BLOCK)
            memset(to, 0, (size_t)(inputs * BLOCK) * sizeof(float));
        if (output_stride == 1)
            for (ptrdiff_t c = 0; c < inputs; c++)
                memcpy(to + c * BLOCK, from + c * input_stride, (size_t)count * sizeof(float));
        else
            lay_side_by_side(from, output_stride, input_stride, count, inputs, to);
    }
}

/* What is not below zero; NaN stays. */
INLINE Vector relu(Vector x) { return (Vector)((Bits)x & ~(Bits)(x <= 0.0f)); }

/* x times the normal distribution's cumulative function, half of 1 + erf(x / sqrt 2). The latter is x times a quotient of
   two polynomials in x^2, fitted to it for the least largest relative error up to 5.6 (2e-8 before rounding), from where
   on it is 1 in float32. */
INLINE Vector gelu(Vector x)
{
    const float end = 5.6f;
    const Vector u = x * x;
    const Vector over =
        ((((4.45949055e-8f * u + 1.25794686e-5f) * u + 3.37853155e-4f) * u + 9.35466867e-3f) * u + 6.78575858e-2f) * u +
        7.97884524e-1f;
    const Vector under =
        ((((1.17965487e-6f * u + 7.33432025e-5f) * u + 1.8854771e-3f) * u + 2.8677417e-2f) * u + 2.51713187e-1f) * u +
        1.0f;
    Vector share = 0.5f * x * over / under + 0.5f;
    share = select(x > end, every(1.0f), share);
    return x * select(x < -end, every(0.0f), share);
}

INLINE Vector activated(Vector x, int activation)
{
    return activation == RELU ? relu(x) : activation == GELU ? gelu(x) : x;
}

/* Some rows of a block of outputs: what they begin with, or where there is nothing, what lies there, plus products. */
INLINE void write_rows(
    const float *inputs, ptrdiff_t input_stride, const float *weights, ptrdiff_t depth, const Vector *begin, float *to,
    ptrdiff_t stride, const int rows)
{
    Vector held[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++)
            held[r][half] = begin ? begin[half] : load(to + r * stride + half * LANES);
    add_products(inputs, input_stride, weights, depth, held, rows);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++)
            store(to + r * stride + half * LANES, held[r][half]);
}

/* All rows of a block of outputs. */
static void write_block(
    const float *inputs, ptrdiff_t input_stride, const float *weights, ptrdiff_t depth, const Vector *begin, float *to,
    ptrdiff_t stride, ptrdiff_t rows)
{
    for (; rows >= ROWS; rows -= ROWS, inputs += ROWS * input_stride, to += ROWS * stride)
        write_rows(inputs, input_stride, weights, depth, begin, to, stride, ROWS);
    switch (rows) {
    case 1: write_rows(inputs, input_stride, weights, depth, begin, to, stride, 1); break;
    case 2: write_rows(inputs, input_stride, weights, depth, begin, to, stride, 2); break;
    case 3: write_rows(inputs, input_stride, weights, depth, begin, to, stride, 3); break;
    case 4: write_rows(inputs, input_stride, weights, depth, begin, to, stride, 4); break;
    case 5: write_rows(inputs, input_stride, weights, depth, begin, to, stride, 5); break;
    default: break;
    }
}

/* What follows a layer, on all rows of a block that has been written. */
static void finish(float *to, const float *added, ptrdiff_t stride, ptrdiff_t rows, int activation)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        for (int half = 0; half < BLOCK; half += LANES) {
            const ptrdiff_t place = r * stride + half;
            Vector values = load(to + place);
            if (added)
                values += load(added + place);
            store(to + place, activated(values, activation));
        }
}

/* Inputs of a point: `base` plus a coefficient times `moving`, and an activation. */
static void combine(
    const float *base, const float *moving, float coefficient, ptrdiff_t count, int activation, float *to)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        store(to + i, activated(load(base + i) + coefficient * load(moving + i), activation));
    if (i < count) {
        const Vector rest = load_some(base + i, count - i) + coefficient * load_some(moving + i, count - i);
        const Vector values = activated(rest, activation);
        memcpy(to + i, &values, (size_t)(count - i) * sizeof(float));
    }
}

/* Of `rows` rows of `depth` inputs, `group` rows at a time. Where something is `moving`, the inputs have no gaps, and it
   is added to them times the coefficient and `before` is done to that, for which `combined` has room for a group's rows.
   What is `added` to the outputs, if anything, lies like them, with the outputs of a row side by side; `activation` is
   what is done then. Outputs that lie otherwise have DEPTH inputs at most. `narrow` and `narrow_added` have room for a
   group's rows of a block. */
void linear_layer(
    const float *inputs, ptrdiff_t rows, ptrdiff_t depth, ptrdiff_t input_stride, const float *moving,
    float coefficient, int before, float *combined, const float *weights, const float *bias, const float *added,
    int activation, float *to, ptrdiff_t outputs, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t group,
    float *narrow, float *narrow_added)
{
    const int has_tail = added || activation != NOTHING;
    for (ptrdiff_t r = 0; r < rows; r += group) {
        const ptrdiff_t some = smaller(group, rows - r);
        const float *from = inputs + r * input_stride;
        if (moving) {
            combine(from, moving + r * depth, coefficient, some * depth, before, combined);
            from = combined;
        }
        for (ptrdiff_t start = 0; start < depth; start += DEPTH)
            for (ptrdiff_t o = 0; o < outputs; o += BLOCK) {
                const ptrdiff_t count = smaller(BLOCK, outputs - o), left = smaller(LANES, count);
                const Vector begin[2] = {bias ? load_some(bias + o, left) : (Vector){0},
                                         bias ? load_some(bias + o + left, count - left) : (Vector){0}};
                /* The last outputs may be no whole block. */
                const int is_whole = count == BLOCK && column_stride == 1, is_last = start + DEPTH >= depth;
                float *place = to + r * row_stride + o * column_stride, *whole = is_whole ? place : narrow;
                const float *more = added ? added + r * row_stride + o : NULL;
                const ptrdiff_t stride = is_whole ? row_stride : BLOCK;
                write_block(from + start, moving ? depth : input_stride, weights + o * depth + start * BLOCK,
                            smaller(DEPTH, depth - start), start ? NULL : begin, whole, stride, some);
                if (!is_last)
                    continue;
                if (more && !is_whole)
                    for (ptrdiff_t i = 0; i < some; i++)
                        memcpy(narrow_added + i * BLOCK, more + i * row_stride, (size_t)count * sizeof(float));
                if (has_tail)
                    finish(whole, more && !is_whole ? narrow_added : more, stride, some, activation);
                if (is_whole)
                    continue;
                if (column_stride == 1)
                    for (ptrdiff_t i = 0; i < some; i++)
                        memcpy(place + i * row_stride, narrow + i * BLOCK, (size_t)count * sizeof(float));
                else
                    for (ptrdiff_t c = 0; c < count; c++)
                        for (ptrdiff_t i = 0; i < some; i++)
                            place[i * row_stride + c * column_stride] = narrow[i * BLOCK + c];
            }
    }
}
