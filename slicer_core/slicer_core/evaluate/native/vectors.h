/* Vectors of float32 numbers as wide as the processor's, and matrix products of a few rows held in them.

   Weights lie in blocks: BLOCK outputs side by side, for one input after another, filled up with zeros. */

#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

/* Of a product's sums, so many rows by so many outputs are held in registers at a time: with their factors, all of
   AVX2's sixteen. */
enum { ROWS = 6, BLOCK = 2 * LANES };

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int Bits __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE Vector load(const float *from) { return *(const Unaligned *)from; }

INLINE void store(float *to, Vector values) { *(Unaligned *)to = values; }

/* The first `count` of a vector's numbers, and zeros. */
INLINE Vector load_some(const float *from, ptrdiff_t count)
{
    Vector values = {0};
    memcpy(&values, from, (size_t)count * sizeof(float));
    return values;
}

INLINE Vector every(float number)
{
    Vector values;
    for (int lane = 0; lane < LANES; lane++)
        values[lane] = number;
    return values;
}

INLINE Vector select(Bits where, Vector left, Vector right)
{
    return (Vector)((where & (Bits)left) | (~where & (Bits)right));
}

INLINE ptrdiff_t smaller(ptrdiff_t left, ptrdiff_t right) { return left < right ? left : right; }

/* To whole blocks. */
INLINE ptrdiff_t filled_up(ptrdiff_t outputs) { return (outputs + BLOCK - 1) / BLOCK * BLOCK; }

/* Adds the product of some rows of inputs with a block of weights to what is held. */
INLINE void add_products(
    const float *inputs, ptrdiff_t input_stride, const float *weights, ptrdiff_t depth, Vector held[ROWS][2],
    const int rows)
{
    for (ptrdiff_t c = 0; c < depth; c++) {
        const Vector left = load(weights + c * BLOCK), right = load(weights + c * BLOCK + LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const float input = inputs[r * input_stride + c];
            held[r][0] += input * left;
            held[r][1] += input * right;
        }
    }
}

/* Numbers of some rows side by side in a block: `to[c * BLOCK + r]` of row r's number c. */
INLINE void lay_side_by_side(
    const float *rows, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t count, ptrdiff_t columns, float *to)
{
    typedef float Four __attribute__((vector_size(16)));
    typedef int Places __attribute__((vector_size(16)));
    typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));
    const Places low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, last = {2, 3, 6, 7};
    ptrdiff_t r = 0;
    for (; r + 4 <= count && column_stride == 1; r += 4) {
        const float *from = rows + r * row_stride;
        ptrdiff_t c = 0;
        for (; c + 4 <= columns; c += 4) {
            Four given[4];
            for (int i = 0; i < 4; i++)
                given[i] = *(const UnalignedFour *)(from + i * row_stride + c);
            const Four left = __builtin_shuffle(given[0], given[1], low), right = __builtin_shuffle(given[2], given[3], low);
            const Four left_end = __builtin_shuffle(given[0], given[1], high);
            const Four right_end = __builtin_shuffle(given[2], given[3], high);
            const Four turned[4] = {__builtin_shuffle(left, right, first), __builtin_shuffle(left, right, last),
                                    __builtin_shuffle(left_end, right_end, first),
                                    __builtin_shuffle(left_end, right_end, last)};
            for (int i = 0; i < 4; i++)
                *(UnalignedFour *)(to + (c + i) * BLOCK + r) = turned[i];
        }
        for (; c < columns; c++)
            for (int i = 0; i < 4; i++)
                to[c * BLOCK + r + i] = from[i * row_stride + c];
    }
    for (; r < count; r++)
        for (ptrdiff_t c = 0; c < columns; c++)
            to[c * BLOCK + r] = rows[r * row_stride + c * column_stride];
}
