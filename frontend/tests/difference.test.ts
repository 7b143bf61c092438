import { describe, expect, it } from "vitest";
import { curveDifference, gridDifference, symmetricRange } from "@/maths/difference";

const grid = (x: number[], y: number[], value: (x: number, y: number) => number) => ({
  axes: [Float64Array.from(x), Float64Array.from(y)] as const,
  values: Float64Array.from(x.flatMap((a) => y.map((b) => value(a, b)))),
});

describe("the difference of two slices", () => {
  it("is the second minus the first, point by point of equal grids", () => {
    const first = grid([0, 1, 2], [0, 1], (x, y) => x + 10 * y);
    const second = grid([0, 1, 2], [0, 1], (x, y) => 3 * x + 10 * y - 1);
    const found = gridDifference(first, second);
    expect([...found.values]).toEqual([-1, -1, 1, 1, 3, 3]);
    expect(found.interpolated).toBe(false);
  });

  it("reads another grid between its points, and not beyond them", () => {
    const first = grid([-1, 0.5, 1], [0, 1], () => 1);
    const second = grid([0, 1, 4], [0, 2], (x, y) => 2 * x - y);
    const found = gridDifference(first, second);
    expect(found.interpolated).toBe(true);
    expect([...found.values]).toEqual([Number.NaN, Number.NaN, 0, -1, 1, 0]);
  });

  it("is there at a point of the second curve beside one that is not finite", () => {
    const first = { x: Float64Array.of(0, 1, 1.5, 2), values: Float64Array.of(1, 1, 1, 1) };
    const second = { x: Float64Array.of(0, 1, 2), values: Float64Array.of(3, 4, Number.POSITIVE_INFINITY) };
    expect([...curveDifference(first, second).values].slice(0, 2)).toEqual([2, 3]);
    expect(curveDifference(first, second).values[2]).toBe(Number.POSITIVE_INFINITY);
  });

  it("has the error of both where both have one at the same points", () => {
    const first = grid([0, 1], [0, 1], () => 1);
    const stderr = Float64Array.of(3, 0, 1, Number.NaN);
    const errors = gridDifference(
      { ...first, stderr },
      { ...first, stderr: Float64Array.of(4, 2, 0, 1) },
    ).stderr;
    expect([...(errors ?? [])]).toEqual([5, 2, 1, Number.NaN]);
    expect(gridDifference({ ...first, stderr }, first).stderr).toBeNull();
    const elsewhere = { ...grid([0, 2], [0, 1], () => 1), stderr };
    expect(gridDifference({ ...first, stderr }, elsewhere).stderr).toBeNull();
  });

  it("does the same for curves", () => {
    const x = Float64Array.from([0, 1, 2]);
    const values = Float64Array.from([5, 5, 5]);
    expect([
      ...curveDifference({ x, values }, { x, values: values.map((value) => value + 2) }).values,
    ]).toEqual([2, 2, 2]);
    const other = { x: Float64Array.from([0.5, 1.5]), values: Float64Array.from([5, 7]) };
    const found = curveDifference({ x, values }, other);
    expect([...found.values]).toEqual([Number.NaN, 1, Number.NaN]);
    expect(found.interpolated).toBe(true);
  });

  it("has one range for all, with zero in its middle", () => {
    const range = symmetricRange([Float64Array.from([-1, 2]), Float64Array.from([Number.NaN, 0.5])]);
    expect(range).toMatchObject({ low: -2, high: 2, min: -1, max: 2 });
    expect(symmetricRange([Float64Array.from([Number.NaN])])).toBeNull();
  });
});
