import { describe, expect, it } from "vitest";
import {
  type LineSeries,
  roomy,
  seriesPaths,
  symbolPoints,
  visibleRange,
} from "@/components/plots/line-paths";
import { scaleOf } from "@/maths/scale";

const HEIGHT = 200;
const x = Float64Array.from([-1, 0, 1]);

function seriesOf(part: Partial<LineSeries>): LineSeries {
  const values = part.values ?? Float64Array.from([3, 1, 5]);
  return { key: "loss", label: "loss", color: "#000", x, values, smoothed: values, stderr: null, ...part };
}

function heightsOf(path: string | null): number[] {
  return [...(path ?? "").matchAll(/[ML]?-?[\d.]+,(-?[\d.]+)/g)].map((match) => Number(match[1]));
}

function drawn(entry: LineSeries, log: boolean) {
  const range = visibleRange([entry], -1, 1, "full", "high", log);
  if (!range) throw new Error("no range");
  const yScale = scaleOf(roomy(range.low, range.high, log), [HEIGHT, 0], log ? "log" : "linear");
  return seriesPaths(entry, scaleOf([-1, 1], [0, 100]), yScale);
}

describe("the vertical range of lines", () => {
  it.each([false, true])("holds the whole band of standard errors (logarithmic: %s)", (log) => {
    const entry = seriesOf({ stderr: Float64Array.from([0.5, 0.4, 4]) });
    const heights = heightsOf(drawn(entry, log).band);
    expect(heights).toHaveLength(6);
    expect(Math.min(...heights)).toBeGreaterThan(0);
    expect(Math.max(...heights)).toBeLessThan(HEIGHT);
  });

  it("holds the whole band of several directions, with their mean", () => {
    const spread = {
      mean: Float64Array.from([4, 1, 6]),
      low: Float64Array.from([3, 0.5, 4]),
      high: Float64Array.from([6, 1, 9]),
    };
    const paths = drawn(seriesOf({ spread }), false);
    const heights = [...heightsOf(paths.spread), ...heightsOf(paths.mean)];
    expect(heights).toHaveLength(9);
    expect(Math.min(...heights)).toBeGreaterThan(0);
    expect(Math.max(...heights)).toBeLessThan(HEIGHT);
  });

  it("ends above where the named lines do when outliers are clipped, and says how far the ghosts reach", () => {
    const named = seriesOf({});
    const ghost = seriesOf({ key: "step 0", values: Float64Array.from([300, 0.5, 7]), ghost: true });
    const ends = { min: 0.5, max: 300 };
    expect(visibleRange([named, ghost], -1, 1, "robust", "high", false)).toMatchObject({
      low: 0.5,
      high: 5,
      ...ends,
    });
    expect(visibleRange([named, ghost], -1, 1, "full", "high", false)).toMatchObject({
      low: 0.5,
      high: 300,
      ...ends,
    });
    expect(visibleRange([ghost], -1, 1, "robust", "both", false)).toMatchObject(ends);
  });

  it("does not count the errors of a ghost, which has no band", () => {
    const entry = seriesOf({ stderr: Float64Array.from([9, 9, 9]), ghost: true });
    expect(visibleRange([entry], -1, 1, "full", "high", false)).toMatchObject({ low: 1, high: 5 });
  });

  it("counts only what is between the two places", () => {
    const entry = seriesOf({ stderr: Float64Array.from([9, 0.5, 0.5]) });
    expect(visibleRange([entry], -0.5, 1, "full", "high", false)).toMatchObject({ low: 0.5, high: 5.5 });
  });
});

describe("the symbols of a line", () => {
  const xScale = scaleOf([-1, 1], [0, 100]);
  const yScale = scaleOf([1, 100], [HEIGHT, 0], "log");

  it("are at each value that can be drawn, and tell lower bounds", () => {
    const values = Float64Array.from([10, 0, 100]);
    const entry = seriesOf({ values, atLeast: Uint8Array.from([0, 1, 1]) });
    expect(symbolPoints(entry, xScale, yScale)).toEqual([
      { index: 0, x: 0, y: HEIGHT / 2, atLeast: false, alone: true },
      { index: 2, x: 100, y: 0, atLeast: true, alone: true },
    ]);
  });

  it("are left out of a long line, but for the lower bounds", () => {
    const places = Float64Array.from({ length: 500 }, (_, index) => index);
    const atLeast = Uint8Array.from(places, (place) => (place === 7 ? 1 : 0));
    const entry = seriesOf({ x: places, values: places.map(() => 10) });
    expect(symbolPoints(entry, xScale, yScale)).toEqual([]);
    expect(symbolPoints({ ...entry, atLeast }, xScale, yScale).map(({ index }) => index)).toEqual([7]);
  });

  it("are at points between gaps, of whatever line", () => {
    const places = Float64Array.from({ length: 500 }, (_, index) => index);
    const gaps = places.map((place) => ([5, 7, 499].includes(place) ? Number.NaN : 10));
    gaps[498] = 20;
    const points = symbolPoints(seriesOf({ x: places, values: gaps }), xScale, yScale);
    expect(points.map(({ index, alone }) => [index, alone])).toEqual([[6, true]]);
  });
});
