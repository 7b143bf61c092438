import { describe, expect, it } from "vitest";
import {
  digitsAmong,
  formatCount,
  formatEnds,
  formatNumber,
  formatTicks,
  formatWithError,
  plural,
} from "@/maths/format";
import { curveSummary, familySummary, gridSummary, lowerBoundsText, summaries } from "@/maths/summary";
import { axisTicks, countTicks } from "@/maths/ticks";

describe("a number as text", () => {
  it.each([
    [0, "0"],
    [2.103585093, "2.103585"],
    [0.1, "0.1"],
    [-1.5, "−1.5"],
    [1234567, "1234567"],
    [123456789, "1.234568e8"],
    [0.00001234, "1.234e−5"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "−∞"],
  ])("%d is %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  it.each([0, 7, 999, 1000, 12_345, 123_456, 1_234_567, -1000, -999, 2 ** 53 - 1])(
    "counts %d in groups",
    (value) => {
      expect(formatCount(value)).toBe(value.toLocaleString("en-US").replace("-", "−"));
    },
  );

  it("has as many digits as asked for", () => {
    expect(formatNumber(123.456, 2)).toBe("120");
    expect(formatNumber(0.0123456, 2)).toBe("0.012");
  });

  it("has its standard error with two digits, where there is one", () => {
    expect(formatWithError(2.103585, 0.012345)).toBe("2.103585 ± 0.012");
    expect(formatWithError(2.3, null)).toBe("2.3");
    expect(formatWithError(2.3, Number.NaN)).toBe("2.3");
  });

  it("counts in the singular and the plural", () => {
    expect([plural(1, "point"), plural(2601, "point")]).toEqual(["1 point", "2,601 points"]);
  });
});

describe("the ends of a range", () => {
  it("are told apart, however close they are", () => {
    expect(formatEnds(0.2, 6.58123)).toEqual(["0.2", "6.58"]);
    expect(formatEnds(0.00113041, 0.00113052)).toEqual(["0.00113041", "0.00113052"]);
    expect(formatEnds(-1, 1)).toEqual(["−1", "1"]);
    expect(formatEnds(2, 2)).toEqual(["2", "2"]);
    expect(formatEnds(0, 0)).toEqual(["0", "0"]);
    expect(formatEnds(2.312585093, 2.3125850934)).toEqual(["2.312585093", "2.3125850934"]);
  });
});

describe("a value among others", () => {
  it("has the digits that tell it from them", () => {
    const flat = Float64Array.from([
      2.312585093,
      Number.NaN,
      2.312585094,
      2.3125850932,
      Number.POSITIVE_INFINITY,
    ]);
    expect(formatNumber(flat[3] as number, digitsAmong(flat))).toBe("2.3125850932");
    expect(formatNumber(1_000_000.0003, digitsAmong([1e6, 1_000_000.001]))).toBe("1000000.0003");
    expect(digitsAmong([0.2, 6.58])).toBe(7);
    expect(digitsAmong([3, 3])).toBe(7);
    expect(digitsAmong([0, 0, Number.NaN], 5)).toBe(5);
    expect(digitsAmong([1, 1 + Number.EPSILON])).toBe(15);
  });
});

describe("ticks", () => {
  it("have the same decimals, as many as they need", () => {
    expect(formatTicks([0, 0.5, 1])).toEqual(["0.0", "0.5", "1.0"]);
    expect(formatTicks([-20, 0, 20])).toEqual(["−20", "0", "20"]);
    expect(formatTicks([0, 5e29, 1e30, 1.5e30])).toEqual(["0", "5.0e29", "1.0e30", "1.5e30"]);
    expect(formatTicks([0, 1e-7, 2e-7])).toEqual(["0", "1e−7", "2e−7"]);
  });

  it("are whole numbers where that is shorter than powers", () => {
    expect(formatTicks([1e6, 1_000_000.0005, 1_000_000.001])).toEqual([
      "1000000.0000",
      "1000000.0005",
      "1000000.0010",
    ]);
    expect(formatTicks([1e9, 1e9 + 1])).toEqual(["1000000000", "1000000001"]);
    expect(formatTicks([0, 1e5, 2e5])).toEqual(["0", "1e5", "2e5"]);
  });

  it("tell neighbours apart at any size", () => {
    for (const [low, high] of [
      [1.00001, 1.00003],
      [-1e-9, 1e-9],
      [1e12, 1.00001e12],
      [0, 3e7],
      [2.3, 2.3 + 2e-12],
      [2.3, 2.3 + 4e-14],
      [0.0012, 0.0012 + 1e-14],
    ] as const) {
      const labels = axisTicks(low, high, 5).map((tick) => tick.label);
      expect(new Set(labels).size).toBe(labels.length);
      expect(labels.length).toBeGreaterThan(2);
    }
  });

  it("are powers where a logarithmic axis spans many", () => {
    expect(axisTicks(0.01, 1000, 6, "log").map((tick) => tick.label)).toEqual([
      "0.01",
      "0.1",
      "1",
      "10",
      "100",
      "1000",
    ]);
  });

  it("are one where the axis is a point", () => {
    expect(axisTicks(2, 2, 5)).toEqual([{ value: 2, label: "2" }]);
  });

  it("are two at least, however little room there is: one alone says nothing of the scale", () => {
    expect(axisTicks(0.1332, 3.8127, 2.4).map((tick) => tick.label)).toEqual(["1", "2", "3"]);
    for (let place = 0; place < 400; place++) {
      const low = 10 ** ((place % 20) / 3 - 3);
      const high = low * (1 + 0.02 * (1 + place));
      for (const scale of ["linear", "log"] as const)
        expect(axisTicks(low, high, 2, scale).length).toBeGreaterThan(1);
    }
  });

  it.each([
    [0, 3, "linear", [0, 1, 2, 3]],
    [-0.03, 2.03, "linear", [0, 1, 2]],
    [9.2, 10.7, "linear", [10]],
    [9.2, 9.8, "linear", []],
    [0, 1000, "linear", [0, 200, 400, 600, 800, 1000]],
    [0.9, 2.2, "log", [1, 2]],
    [0.2, 3000, "log", [1, 10, 100, 1000]],
  ] as const)("are whole numbers where the axis counts (%d to %d, %s)", (low, high, scale, values) => {
    const ticks = countTicks(low, high, 5, scale);
    expect(ticks.map(({ value }) => value)).toEqual(values);
    expect(ticks.map(({ label }) => label)).toEqual(values.map(String));
  });
});

describe("a picture in words", () => {
  const x = Float64Array.from([-1, 0, 1]);

  it("names the range, the lowest point and what is not finite", () => {
    expect(curveSummary("loss (train)", "α", x, Float64Array.from([3, 1, Number.NaN]))).toBe(
      "Loss (train): 1 to 3 over 3 points, lowest at α = 0. 1 value is not finite.",
    );
  });

  it("says what the center has, in as many digits as tell it from the ends", () => {
    const values = Float64Array.from([2.00003, 2.00001, 2.00002]);
    expect(curveSummary("loss", "α", x, values, 2.00001)).toBe(
      "Loss: 2.00001 to 2.00003 over 3 points, lowest at α = 0; 2.00001 at the center.",
    );
    const grid = gridSummary("loss", ["a", "b"], x, Float64Array.of(0), values, 2.00002);
    expect(grid).toBe(
      "Loss: 2.00001 to 2.00003 on 3 × 1 points, lowest at a = 0, b = 0; 2.00002 at the center.",
    );
  });

  it("has as many digits as tell the ends of the range apart", () => {
    const range = (...values: number[]) => curveSummary("loss", "α", x, Float64Array.from(values));
    expect(range(-123456.75, -123454.5, -123455)).toContain(": −123456.8 to −123454.5 over");
    expect(range(0.4931471805, 0.4931471811, 0.493147181)).toContain(": 0.4931471805 to 0.4931471811 over");
    expect(range(123456.75, 123456.75, 123456.75)).toContain(": 123456.8 over");
    expect(range(0.00012, 4.26612, 1)).toContain(": 0.00012 to 4.266 over");
  });

  it("stops after some lines, and says how many there are", () => {
    const lines = Array.from({ length: 40 }, (_, index) => `Line ${index}.`);
    expect(summaries(lines.slice(0, 8))).toBe(lines.slice(0, 8).join(" "));
    expect(summaries(lines)).toBe(`${lines.slice(0, 7).join(" ")} And 33 more lines.`);
    expect(summaries(["One."])).toBe("One.");
  });

  it("counts the values that are lower bounds", () => {
    expect(lowerBoundsText(Uint8Array.from([0, 1, 1]))).toBe(
      " 2 of 3 values may be greater: open triangles.",
    );
    expect(lowerBoundsText(new Uint8Array(3))).toBe("");
  });

  it("names no lowest point where all are the same", () => {
    const same = Float64Array.from([0.7, 0.7, 0.7]);
    expect(curveSummary("loss", "α", x, same)).toBe("Loss: 0.7 over 3 points.");
    expect(gridSummary("loss", ["a", "b"], x, Float64Array.of(0), same)).toBe("Loss: 0.7 on 3 × 1 points.");
  });

  it("finds the lowest point of a grid by column and row", () => {
    const y = Float64Array.from([10, 20]);
    const text = gridSummary("loss", ["a", "b"], x, y, Float64Array.from([5, 6, 7, 8, 9, 4]));
    expect(text).toBe("Loss: 4 to 9 on 3 × 2 points, lowest at a = 1, b = 20.");
  });

  it("says when there is nothing to see", () => {
    const nothing = Float64Array.from([Number.NaN, Number.NaN]);
    expect(familySummary("loss", 2, 1, nothing)).toBe("Loss: 2 curves of 1 point, none of them finite.");
    expect(gridSummary("loss", ["a", "b"], x, x, nothing)).toContain("none of the 3 × 3 points is finite");
  });
});
