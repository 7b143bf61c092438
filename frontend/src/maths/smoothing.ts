/** A curve smoothed by a Gaussian whose width is given in points, symmetric so that nothing moves sideways. */
export function smooth(values: Float64Array, width: number): Float64Array {
  if (!(width > 0)) return values;
  const reach = Math.ceil(3 * width);
  const weights = Float64Array.from({ length: reach + 1 }, (_, offset) =>
    Math.exp(-0.5 * (offset / width) ** 2),
  );
  return values.map((value, index) => {
    // A value that is not finite is a result: smoothing must not fill the gap.
    if (!Number.isFinite(value)) return value;
    let [sum, total] = [0, 0];
    for (let offset = -reach; offset <= reach; offset++) {
      const neighbour = values[index + offset];
      if (neighbour === undefined || !Number.isFinite(neighbour)) continue;
      const weight = weights[Math.abs(offset)] as number;
      sum += weight * neighbour;
      total += weight;
    }
    return sum / total;
  });
}
