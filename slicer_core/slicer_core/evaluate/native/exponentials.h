/* Exponentials and logarithms of vectors, by the polynomials of Cephes' expf and logf. */

#include "vectors.h"

/* So far below zero, it is taken for nothing: beside the largest of some, which is one, it is none, and numbers that small
   take long. */
static const float LEAST = -80.0f;

/* e to the x, for x up to 0, to within a few of float32's steps, and 0 far below; NaN stays. */
INLINE Vector exponential(Vector x)
{
    /* Adding it leaves the nearest whole number in the last bits. */
    const float shift = 12582912.0f;
    const Bits is_nothing = x < LEAST;
    const Vector bounded = select(is_nothing, every(LEAST), x);
    const Vector shifted = bounded * 1.44269504088896341f + shift, whole = shifted - shift;
    /* The logarithm of two in two parts, of which the first has few bits. */
    const Vector rest = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
    const Vector powers =
        ((((1.9875691500e-4f * rest + 1.3981999507e-3f) * rest + 8.3334519073e-3f) * rest + 4.1665795894e-2f) * rest +
         1.6666665459e-1f) * rest + 5.0000001201e-1f;
    const Vector value = powers * (rest * rest) + rest + 1.0f;
    const Vector scaled = (Vector)((Bits)value + (((Bits)shifted - (Bits)every(shift)) << 23));
    return select(x == x, select(is_nothing, every(0), scaled), x);
}

/* The natural logarithm of x, from one on, to within a few of float32's steps; NaN stays. */
INLINE Vector logarithm(Vector x)
{
    const Bits one = (Bits)every(1.0f);
    const Vector fraction = (Vector)(((Bits)x & 0x7fffff) | one);
    const Bits is_large = fraction > 1.41421356f;
    const Vector power = __builtin_convertvector((((Bits)x - one) >> 23) - is_large, Vector);
    const Vector y = select(is_large, 0.5f * fraction, fraction) - 1.0f, u = y * y;
    const Vector powers =
        (((((((7.0376836292e-2f * y - 1.1514610310e-1f) * y + 1.1676998740e-1f) * y - 1.2420140846e-1f) * y +
            1.4249322787e-1f) * y - 1.6668057665e-1f) * y + 2.0000714765e-1f) * y - 2.4999993993e-1f) * y +
        3.3333331174e-1f;
    /* The logarithm of two in two parts, as above. */
    const Vector rest = y * u * powers - 2.12194440e-4f * power - 0.5f * u;
    return select(x == x, y + rest + 0.693359375f * power, x);
}
