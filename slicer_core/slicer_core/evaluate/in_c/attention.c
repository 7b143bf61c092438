/* Attention by scaled dot products on float32 numbers, without a mask. Sizes and strides are in numbers. */

#include "../native/exponentials.h"

/* Values are taken by whole blocks of their numbers. */
const ptrdiff_t attention_block = BLOCK;

/* Where a sequence of a head lies: from one sequence to the next, from one head to the next and from one token to the
   next. A token's numbers lie side by side. */
typedef struct {
    ptrdiff_t sequence, head, token;
} Place;

/* Numbers of a line of a cache. */
enum { LINE = 16 };

/* Scores, or weighted values: products of some rows with columns that lie in blocks of `height` rows. */
INLINE void multiply(
    const float *rows, ptrdiff_t row_stride, const float *blocks, ptrdiff_t height, ptrdiff_t depth, ptrdiff_t columns,
    float scale, float *to, ptrdiff_t stride, const int count)
{
    for (ptrdiff_t first = 0; first < columns; first += BLOCK, blocks += height * BLOCK) {
        Vector held[ROWS][2];
#pragma GCC unroll 6
        for (int r = 0; r < count; r++)
            held[r][0] = held[r][1] = (Vector){0};
        add_products(rows, row_stride, blocks, depth, held, count);
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
            store(to + r * stride + first, held[r][0] * scale);
            store(to + r * stride + first + LANES, held[r][1] * scale);
        }
    }
}

/* The softmax of the first `seen` scores, and zeros after them up to `end`. There is room for whole vectors. */
INLINE void softmax(float *scores, ptrdiff_t seen, ptrdiff_t end)
{
    const ptrdiff_t filled = (seen + LANES - 1) / LANES * LANES;
    for (ptrdiff_t s = seen; s < filled; s++)
        scores[s] = -__builtin_inff();
    Vector most = load(scores), sums = {0};
    for (ptrdiff_t s = LANES; s < filled; s += LANES) {
        const Vector own = load(scores + s);
        most = select(own > most, own, most);
    }
    float top = most[0], sum = 0;
    for (int lane = 1; lane < LANES; lane++)
        top = most[lane] > top ? most[lane] : top;
    for (ptrdiff_t s = 0; s < filled; s += LANES) {
        const Vector weights = exponential(load(scores + s) - top);
        store(scores + s, weights);
        sums += weights;
    }
    for (int lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    for (ptrdiff_t s = 0; s < filled; s += LANES)
        store(scores + s, load(scores + s) * (1.0f / sum));
    for (ptrdiff_t s = seen; s < end; s++)
        scores[s] = 0;
}

/* Some rows of queries, of which the first is number `first`. */
INLINE void attend(
    const float *queries, ptrdiff_t query_stride, const float *keys, const float *values, ptrdiff_t depth,
    ptrdiff_t size, ptrdiff_t tokens, ptrdiff_t first, int is_causal, float scale, float *scores, float *to,
    ptrdiff_t stride, const int count)
{
    const ptrdiff_t end = is_causal ? smaller(tokens, first + count) : tokens, padded = filled_up(tokens);
    multiply(queries, query_stride, keys, depth, depth, end, scale, scores, padded, count);
    for (int r = 0; r < count; r++)
        softmax(scores + r * padded, is_causal ? smaller(tokens, first + r + 1) : tokens, end);
    multiply(scores, padded, values, tokens, end, size, 1.0f, to, stride, count);
}

/* Of all heads of a sequence, keys of a block of tokens side by side, and values of a block of numbers; see `attention`.
   Queries will be read soon. Read token by token, all heads of a token mostly lie one after another. */
static void lay_out(
    const float *queries, const float *keys, const float *values, const ptrdiff_t sizes[6], const Place places[4],
    float *own_keys, float *own_values)
{
    const ptrdiff_t heads = sizes[1], count = sizes[2], tokens = sizes[3], depth = sizes[4], size = sizes[5];
    for (ptrdiff_t first = 0; first < tokens; first += BLOCK)
        for (ptrdiff_t h = 0; h < heads; h++) {
            const ptrdiff_t some = smaller(BLOCK, tokens - first);
            lay_side_by_side(keys + h * places[1].head + first * places[1].token, places[1].token, 1, some, depth,
                             own_keys + h * filled_up(tokens) * depth + first * depth);
            for (ptrdiff_t t = first; t < first + some; t++)
                for (ptrdiff_t d = 0; d < size; d += LANES)
                    store(own_values + h * tokens * size + d / BLOCK * BLOCK * tokens + t * BLOCK + d % BLOCK,
                          load(values + h * places[2].head + t * places[2].token + d));
        }
    for (ptrdiff_t t = 0; t < count; t++)
        for (ptrdiff_t h = 0; h < heads; h++)
            for (ptrdiff_t d = 0; d < depth; d += LINE)
                __builtin_prefetch(queries + t * places[0].token + h * places[0].head + d);
}

/* `sizes`: sequences, heads, queries, tokens of keys and values, numbers of a query and of a value, which have whole
   blocks. `places`: of queries, keys, values and outputs. There has to be room in `own_keys` for the keys of a sequence,
   tokens filled up to whole blocks, in `own_values` for its values, and in `scores` for ROWS rows of such tokens. */
void attention(
    const float *queries, const float *keys, const float *values, const ptrdiff_t sizes[6], const Place places[4],
    int is_causal, float scale, float *own_keys, float *own_values, float *scores, float *to)
{
    const ptrdiff_t count = sizes[2], tokens = sizes[3], depth = sizes[4], size = sizes[5];
    const ptrdiff_t q_stride = places[0].token, o_stride = places[3].token;
    for (ptrdiff_t n = 0; n < sizes[0]; n++) {
        const float *own_queries = queries + n * places[0].sequence;
        lay_out(own_queries, keys + n * places[1].sequence, values + n * places[2].sequence, sizes, places, own_keys,
                own_values);
        for (ptrdiff_t h = 0; h < sizes[1]; h++) {
            const float *q = own_queries + h * places[0].head, *k = own_keys + h * filled_up(tokens) * depth;
            const float *v = own_values + h * tokens * size;
            float *o = to + n * places[3].sequence + h * places[3].head;
            ptrdiff_t first = 0;
            for (; first + ROWS <= count; first += ROWS)
                attend(q + first * q_stride, q_stride, k, v, depth, size, tokens, first, is_causal, scale, scores,
                       o + first * o_stride, o_stride, ROWS);
            for (; first < count; first++)
                attend(q + first * q_stride, q_stride, k, v, depth, size, tokens, first, is_causal, scale, scores,
                       o + first * o_stride, o_stride, 1);
        }
    }
}
