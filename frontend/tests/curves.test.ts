import { describe, expect, it } from "vitest";
import {
  boundedIndices,
  curvatureAtCenter,
  curveDomain,
  descending,
  familyMembers,
  reachOf,
} from "@/maths/family";
import { smooth } from "@/maths/smoothing";

describe("a family of curves", () => {
  const x = Float64Array.from([-1, -0.5, 0, 0.5, 1]);

  it("is cut to the points around the center", () => {
    expect(boundedIndices(x, 1)).toEqual([0, 5]);
    expect(boundedIndices(x, 0.5)).toEqual([1, 4]);
    expect(boundedIndices(Float64Array.from([2, 3, 4, 5, 6]), 0.5)).toEqual([1, 4]);
  });

  it("keeps all points rather than one", () => {
    expect(boundedIndices(x, 0.1)).toEqual([0, 5]);
  });

  it("has values[k, i] at curve k and point i", () => {
    const values = Float64Array.from([0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
    expect(familyMembers(values, 5, [1, 3]).map((curve) => [...curve])).toEqual([
      [1, 2],
      [11, 12],
    ]);
  });

  it("gives each curve its own height, or the shared one", () => {
    const lines = [{ values: Float64Array.from([1, 3]) }];
    const how = { scale: "linear", range: "full" } as const;
    expect(curveDomain(lines, how, "high", null)).toMatchObject({ low: 1, high: 3, clipped: false });
    const shared = { low: 0, high: 9, min: 0, max: 20, finite: 5, nonfinite: 0 };
    expect(curveDomain(lines, how, "high", shared)).toMatchObject({ low: 0, high: 9, clipped: true });
  });

  it("has a height even where nothing is finite", () => {
    const how = { scale: "log", range: "robust" } as const;
    expect(curveDomain([{ values: Float64Array.from([Number.NaN]) }], how, "high", null).bounds).toEqual([
      0, 1,
    ]);
  });
});

describe("the order of a family", () => {
  it("has the curvature of a parabola, whatever the spacing", () => {
    const x = Float64Array.from([-1, -0.3, 0, 0.1, 2]);
    const parabola = x.map((place) => 3 - 2 * place + 2.5 * place ** 2);
    expect(curvatureAtCenter(x, parabola)).toBeCloseTo(5, 10);
    expect(curvatureAtCenter(Float64Array.from([0, 1, 3]), Float64Array.from([0, 1, 9]))).toBeCloseTo(2, 10);
    expect(curvatureAtCenter(x.subarray(0, 2), parabola)).toBeNaN();
  });

  it("has the reach of finite values", () => {
    expect(reachOf(Float64Array.from([1, Number.POSITIVE_INFINITY, -2, Number.NaN]))).toBe(3);
    expect(reachOf(Float64Array.from([Number.NaN]))).toBeNaN();
  });

  it("puts the greatest first, what has none last, and leaves equal ones alone", () => {
    const keys = [1, Number.NaN, 3, 1, 7];
    expect(descending([0, 1, 2, 3, 4], (index) => keys[index] as number)).toEqual([4, 2, 0, 3, 1]);
  });
});

describe("smoothing", () => {
  it("is the weighted mean by a Gaussian, over what is there", () => {
    const values = Float64Array.from([3, 1, 4, 1, 5, 9, 2, 6]);
    const found = smooth(values, 1.5);
    for (let index = 0; index < values.length; index++) {
      const weights = [...values.keys()].map((other) =>
        Math.abs(other - index) <= 5 ? Math.exp(-((other - index) ** 2) / (2 * 1.5 ** 2)) : 0,
      );
      const sum = weights.reduce((total, weight, other) => total + weight * (values[other] as number), 0);
      expect(found[index]).toBeCloseTo(sum / weights.reduce((total, weight) => total + weight, 0), 12);
    }
  });

  it("does nothing at width zero", () => {
    const values = Float64Array.from([1, 5, 2]);
    expect(smooth(values, 0)).toBe(values);
  });

  it("keeps constants and moves nothing sideways", () => {
    expect([...smooth(new Float64Array(9).fill(4), 2)]).toEqual(Array(9).fill(4));
    const bump = smooth(Float64Array.from([0, 0, 0, 1, 0, 0, 0]), 1);
    expect([...bump]).toEqual([...bump].reverse());
  });

  it("does not fill gaps", () => {
    const found = smooth(Float64Array.from([1, Number.NaN, 3]), 1);
    expect(found[1]).toBeNaN();
    expect(found[0]).toBeGreaterThan(1);
  });
});
