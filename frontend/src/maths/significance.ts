/** Which points of a slice can be told from its center, by the error of the paired difference. */

export const STANDARD_ERRORS = 2;

/**
 * 1 where |value − center| is less than two standard errors of the difference, else 0. What is not finite, and a
 * point without an error, is never called the same as the center; the center itself, whose error is 0, is.
 */
export function likeCenter(values: Float64Array, differenceStderr: Float64Array, center: number): Uint8Array {
  return Uint8Array.from(values, (value, index) => {
    const difference = Math.abs(value - center);
    const bound = STANDARD_ERRORS * (differenceStderr[index] as number);
    return difference < bound || (difference === 0 && bound === 0) ? 1 : 0;
  });
}

/** The value of the point at the origin of all axes; null where no point is there. */
export function valueAtOrigin(values: Float64Array, axes: readonly Float64Array[]): number | null {
  let at = 0;
  for (const axis of axes) {
    const index = axis.indexOf(0);
    if (index < 0) return null;
    at = at * axis.length + index;
  }
  return values[at] ?? null;
}
