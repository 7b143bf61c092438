import { describe, expect, it } from "vitest";
import { contourLevels, isolines } from "@/maths/contour";

/** `values[i * n1 + j]` at column i and row j. */
function field(n0: number, n1: number, value: (i: number, j: number) => number): Float64Array {
  return Float64Array.from({ length: n0 * n1 }, (_, at) => value(Math.floor(at / n1), at % n1));
}

describe("isolines", () => {
  it("put axis 0 across and axis 1 up, on a grid that is not square", () => {
    const [line] = isolines(
      field(7, 4, (i) => i),
      7,
      4,
      [2.5],
    );
    expect(line?.lines).toHaveLength(1);
    const points = line?.lines[0] ?? [];
    expect(points.map(([x]) => x)).toEqual(points.map(() => 2.5));
    expect([...points.map(([, y]) => y)].sort()).toEqual([0, 1, 2, 3]);
  });

  it("lie where a plane has the level, to rounding", () => {
    const plane = (x: number, y: number) => 0.3 * x + 0.7 * y;
    const [line] = isolines(field(9, 6, plane), 9, 6, [2]);
    for (const [x, y] of line?.lines.flat() ?? []) expect(plane(x, y)).toBeCloseTo(2, 12);
    expect(line?.lines.flat().length).toBeGreaterThan(4);
  });

  it("close around a minimum inside", () => {
    const [line] = isolines(
      field(21, 15, (i, j) => (i - 10) ** 2 + (j - 7) ** 2),
      21,
      15,
      [9.5],
    );
    expect(line?.lines).toHaveLength(1);
    const ring = line?.lines[0] ?? [];
    expect(ring[0]).toEqual(ring.at(-1));
  });

  it("do not follow the border, nor run around what is not finite", () => {
    const hole = field(11, 9, (i, j) => (Math.hypot(i - 5, j - 4) < 2 ? Number.NaN : 10));
    expect(isolines(hole, 11, 9, [5]).flatMap((line) => line.lines)).toEqual([]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "stop at a cell with %s",
    (bad) => {
      const values = field(11, 5, (_, j) => j);
      values[5 * 5 + 2] = bad;
      const points = isolines(values, 11, 5, [2.5])[0]?.lines ?? [];
      expect(points).toHaveLength(2);
      for (const [x] of points.flat()) expect(x <= 4 || x >= 6).toBe(true);
    },
  );

  it("need two points in each direction", () => {
    expect(isolines(Float64Array.from([1, 2, 3]), 3, 1, [1.5])).toEqual([]);
  });

  it("survive a grid without a finite value", () => {
    expect(isolines(new Float64Array(12).fill(Number.NaN), 4, 3, [1])[0]?.lines).toEqual([]);
  });
});

describe("contour levels", () => {
  it("are round numbers inside the range", () => {
    expect(contourLevels(0.13, 3.8, 7, "linear")).toEqual([0.5, 1, 1.5, 2, 2.5, 3, 3.5]);
  });

  it("have equal ratios on a logarithmic scale", () => {
    const levels = contourLevels(0.01, 100, 3, "log");
    expect(levels.map((level) => Number(level.toPrecision(6)))).toEqual([0.1, 1, 10]);
  });

  it("are none for none, and none for a constant", () => {
    expect(contourLevels(0, 1, 0, "linear")).toEqual([]);
    expect(contourLevels(1, 1, 5, "linear")).toEqual([]);
  });
});
