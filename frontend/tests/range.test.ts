import { describe, expect, it } from "vitest";
import { fullRange, padded, quantileOf, robustRange, withBands } from "@/maths/range";

function bowl(size: number): Float64Array {
  return Float64Array.from({ length: size * size }, (_, index) => {
    const [a, b] = [Math.floor(index / size), index % size].map((at) => (2 * at) / (size - 1) - 1) as [
      number,
      number,
    ];
    return 0.5 + a * a + b * b;
  });
}

describe("the robust range", () => {
  it("shows a plain bowl whole, to its corners", () => {
    const values = bowl(51);
    expect(robustRange(values, "high")).toEqual(fullRange(values));
  });

  it("shows a sharp minimum in a plateau whole: the lowest values are the point", () => {
    const values = new Float64Array(2601).fill(2.3).map((value, index) => value + 0.001 * Math.sin(index));
    values.set([0.1, 0.05, 0.1], 1300);
    const range = robustRange(values, "high");
    expect(range?.low).toBe(0.05);
    expect(range?.high).toBeCloseTo(2.301, 3);
  });

  it("clips one corner that explodes, and says how far the values reach", () => {
    const values = bowl(51);
    for (let corner = 0; corner < 130; corner++) values[2600 - corner] = 1e6 + corner;
    const range = robustRange(values, "high");
    expect(range?.low).toBe(0.5);
    expect(range?.high).toBeGreaterThan(2);
    expect(range?.high).toBeLessThan(5);
    expect(range?.max).toBe(1e6 + 129);
  });

  it("clips both ends of a metric whose good side is not known", () => {
    const values = Float64Array.from({ length: 1001 }, (_, index) => index / 1000);
    values.set([-500, 900], 400);
    const range = robustRange(values, "both");
    expect(range?.low).toBeCloseTo(0.02, 1);
    expect(range?.high).toBeCloseTo(0.98, 1);
  });

  it("shows whole a curve that is flat but for rounding and then rises a little", () => {
    const values = Float64Array.from({ length: 21 }, (_, index) => 0.0118519 + 1e-11 * (index % 3));
    values.set([0.01186, 0.0119, 0.01205], 18);
    expect(robustRange(values, "high")).toEqual(fullRange(values));
    expect(robustRange(values, "both")).toEqual(fullRange(values));
  });

  it("counts what is not finite and leaves it out", () => {
    const range = robustRange([Number.NaN, 1, Number.POSITIVE_INFINITY, 3, Number.NEGATIVE_INFINITY], "high");
    expect(range).toEqual({ low: 1, high: 3, min: 1, max: 3, finite: 2, nonfinite: 3 });
  });

  it("is null where nothing is finite, and a point where all values are alike", () => {
    expect(robustRange([Number.NaN], "high")).toBeNull();
    expect(robustRange([], "both")).toBeNull();
    expect(robustRange([0.7, 0.7, 0.7], "both")).toMatchObject({ low: 0.7, high: 0.7 });
  });
});

describe("a range with bands", () => {
  const values = Float64Array.from([1, 2, 4]);
  const range = fullRange(values) as NonNullable<ReturnType<typeof fullRange>>;

  it("holds the bands of the values in it, and says the same of the values", () => {
    const found = withBands(range, values, [0.5, 3, 1], false);
    expect(found).toEqual({ ...range, low: -1, high: 5 });
  });

  it("leaves out bands of clipped values, and errors that are not finite", () => {
    const clipped = { ...range, high: 2 };
    expect(withBands(clipped, values, [Number.NaN, 0.25, 4], false)).toEqual({ ...clipped, high: 2.25 });
    expect(withBands(range, values, [Number.POSITIVE_INFINITY, 0, 0], false)).toEqual(range);
  });

  it("stays above zero on a logarithmic axis, a decade below the values at most", () => {
    expect(withBands(range, values, [1, 0, 0], true).low).toBe(0.1);
    expect(withBands(range, values, [0.5, 0, 0], true).low).toBe(0.5);
    const negative = { ...range, low: -1, min: -1 };
    expect(withBands(negative, [-1], [2], true).low).toBe(-3);
  });
});

describe("values that are too far apart for a number", () => {
  const far = [-1.7e308, 1, 2, 3, 1.7e308];

  it("are clipped, and their reach is said", () => {
    for (const found of [fullRange(far), robustRange(far, "both"), robustRange(far, "high")]) {
      expect(found).toMatchObject({ min: -1.7e308, max: 1.7e308 });
      const [low, high] = padded(found?.low ?? 0, found?.high ?? 0);
      expect(Number.isFinite(high - low)).toBe(true);
      expect(low < 1 && high > 3).toBe(true);
    }
  });

  it("leave a range that a number can measure, wherever it is", () => {
    expect(fullRange([-Number.MAX_VALUE, -1e308])).toMatchObject({ low: -Number.MAX_VALUE, high: -1e308 });
    expect(fullRange([0, 1e308])).toMatchObject({ low: 0, high: 1e308 });
    expect(padded(Number.MAX_VALUE, Number.MAX_VALUE)[1]).toBe(Number.MAX_VALUE);
  });

  it("have no bands that end beyond all numbers", () => {
    const range = { low: 0, high: 1.7e308, min: 0, max: 1.7e308, finite: 2, nonfinite: 0 };
    expect(withBands(range, [1.7e308, 0], [1.7e308, 0], false).high).toBeLessThan(Number.MAX_VALUE);
  });
});

describe("quantiles", () => {
  it("interpolate between the two nearest values", () => {
    const sorted = Float64Array.from([1, 2, 4, 8]);
    expect([0, 1 / 3, 0.5, 1].map((share) => quantileOf(sorted, share))).toEqual([1, 2, 3, 8]);
  });
});

describe("a padded range", () => {
  it("is never empty", () => {
    for (const value of [0, 1, -3, 1e-20, 1e20]) {
      const [low, high] = padded(value, value);
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
    }
  });

  it("leaves room at both ends", () => {
    expect(padded(0, 10, 0.1)).toEqual([-1, 11]);
  });
});
