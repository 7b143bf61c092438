import { describe, expect, it } from "vitest";
import { axisOf, rangeOfSlices } from "@/lib/shared-range";
import type { Series } from "@/lib/slice";

const FULL = { mode: "full", band: null } as const;

function series(name: string, split: string, values: number[], part: Partial<Series> = {}): Series {
  return {
    ...{ name, split, values: Float64Array.from(values) },
    ...{ stderr: null, differenceStderr: null, count: null, interpolated: null },
    ...part,
  };
}

describe("the range that slices share", () => {
  const both = { series: [series("loss", "train", [1, 2]), series("loss", "test", [3, 9])] as const };
  const other = {
    series: [series("loss", "train", [0.5, 4]), series("accuracy", "train", [-7, 80])] as const,
  };

  it("holds each split that is drawn on the axis, and no other metric", () => {
    const range = rangeOfSlices([both, other], axisOf(both), FULL);
    expect(range).toMatchObject({ low: 0.5, high: 9, finite: 6 });
    expect(rangeOfSlices([both, other], axisOf(other), FULL)).toMatchObject({ low: 0.5, high: 4 });
  });

  it("holds the bands of standard errors and of several directions", () => {
    const stderr = Float64Array.of(0.25, 0.5);
    const spread = {
      mean: Float64Array.of(1, 2),
      low: Float64Array.of(0, 1),
      high: Float64Array.of(2, 6),
    };
    const banded = { series: [series("loss", "train", [1, 2], { stderr, spread })] as const };
    expect(rangeOfSlices([banded], axisOf(banded), FULL)).toMatchObject({ low: 0, high: 6 });
    const alone = { series: [series("loss", "train", [1, 2], { stderr })] as const };
    const range = rangeOfSlices([alone], axisOf(alone), { mode: "full", band: "linear" });
    expect(range).toMatchObject({ low: 0.75, high: 2.5, min: 1, max: 2 });
  });

  it("has a width that a number can be, however far apart the slices are", () => {
    const [low, high] = [-1.7e308, 1.7e308].map((value) => ({
      series: [series("loss", "train", [value])] as const,
    }));
    const range = rangeOfSlices([low, high] as never, axisOf(low as never), FULL);
    expect(range).toMatchObject({ min: -1.7e308, max: 1.7e308 });
    expect(Number.isFinite((range?.high ?? 0) - (range?.low ?? 0))).toBe(true);
  });

  it("is none where nothing is finite", () => {
    const nothing = { series: [series("loss", "train", [Number.NaN])] as const };
    expect(rangeOfSlices([nothing], axisOf(nothing), FULL)).toBeNull();
  });
});
