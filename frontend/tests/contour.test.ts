import { describe, expect, it } from "vitest";
import { contourLevels, isolines, type Point, parseLevels } from "@/maths/contour";
import { axisTicks } from "@/maths/ticks";

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

  it("keep the high corners of a saddle apart", () => {
    const [line] = isolines(Float64Array.from([1, 0, 0, 1]), 2, 2, [0.5]);
    const middles = line?.lines.map((points) => points.reduce((sum, [x, y]) => sum + x + y, 0) / 2);
    // Each of the two lines runs around a corner that is high: (0, 0) or (1, 1).
    expect(middles?.sort()).toEqual([0.5, 1.5]);
  });

  it("lie between values whose difference is no number", () => {
    const huge = field(2, 2, (i) => (i === 0 ? -1.5e308 : 1.5e308));
    expect(
      isolines(huge, 2, 2, [0])[0]
        ?.lines.flat()
        .map(([x]) => x),
    ).toEqual([0.5, 0.5]);
  });

  it("are the same for each level whatever other levels there are", () => {
    const bumpy = field(31, 23, (i, j) => Math.sin(i / 3) + Math.cos(j / 2) + 0.1 * ((i * j) % 7));
    const levels = [-1.5, -0.25, 0, 0.4, 0.4000001, 1.9, 3];
    const together = isolines(bumpy, 31, 23, levels);
    expect(together.map((line) => line.level)).toEqual(levels);
    expect(together.filter((line) => line.lines.length > 0).length).toBeGreaterThan(4);
    expect(together).toEqual(levels.flatMap((level) => isolines(bumpy, 31, 23, [level])));
  });

  it("need two points in each direction", () => {
    expect(isolines(Float64Array.from([1, 2, 3]), 3, 1, [1.5])).toEqual([]);
  });

  it("survive a grid without a finite value", () => {
    expect(isolines(new Float64Array(12).fill(Number.NaN), 4, 3, [1])[0]?.lines).toEqual([]);
  });
});

/** Plain marching squares: for each cell with four finite corners, where its edges cross the level. */
function crossings(values: Float64Array, n0: number, n1: number, level: number): Map<string, Point[]> {
  const found = new Map<string, Point[]>();
  const at = (i: number, j: number) => values[i * n1 + j] as number;
  for (let i = 0; i + 1 < n0; i++) {
    for (let j = 0; j + 1 < n1; j++) {
      const corners = [
        [i, j],
        [i + 1, j],
        [i + 1, j + 1],
        [i, j + 1],
      ] as const;
      if (!corners.every(([a, b]) => Number.isFinite(at(a, b)))) continue;
      const points = corners.flatMap(([a, b], edge): Point[] => {
        const [c, d] = corners[(edge + 1) % 4] as readonly [number, number];
        const [from, to] = [at(a, b), at(c, d)];
        if (from >= level === to >= level) return [];
        const share = (level - from) / (to - from);
        return [[a + share * (c - a), b + share * (d - b)]];
      });
      if (points.length > 0) found.set(`${i},${j}`, points);
    }
  }
  return found;
}

describe("isolines against marching squares cell by cell", () => {
  const key = ([x, y]: Point) => `${x.toFixed(9)} ${y.toFixed(9)}`;

  it.each([
    [9, 13, 0],
    [14, 6, 0.1],
    [2, 2, 0],
    [23, 17, 0.3],
  ])("%i × %i with a share %f of cells not finite", (n0, n1, share) => {
    let state = 17 * n0 + n1;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    for (let round = 0; round < 8; round++) {
      const values = field(n0, n1, () => (random() < share ? Number.NaN : random()));
      const level = 0.2 + 0.6 * random();
      const expected = crossings(values, n0, n1, level);
      const lines = isolines(values, n0, n1, [level])[0]?.lines ?? [];
      // Every crossing is on a line, every point of a line is a crossing.
      const wanted = new Set([...expected.values()].flat().map(key));
      expect(new Set(lines.flat().map(key))).toEqual(wanted);
      // And every piece joins two crossings of one cell: as many pieces as cells have pairs.
      const pieces = lines.flatMap((line) =>
        line.slice(1).map((end, index) => [line[index] as Point, end] as const),
      );
      for (const [a, b] of pieces) {
        const cell = `${Math.floor((a[0] + b[0]) / 2)},${Math.floor((a[1] + b[1]) / 2)}`;
        const own = (expected.get(cell) ?? []).map(key);
        expect(own).toContain(key(a));
        expect(own).toContain(key(b));
      }
      expect(pieces).toHaveLength([...expected.values()].reduce((sum, points) => sum + points.length / 2, 0));
    }
  });
});

describe("contour levels", () => {
  const even = { at: [], spacing: "even" } as const;

  it("are round numbers inside the range", () => {
    expect(contourLevels(0.13, 3.8, { ...even, count: 7 })).toEqual([0.5, 1, 1.5, 2, 2.5, 3, 3.5]);
  });

  it("have equal ratios where that is asked for and the range is above zero", () => {
    const levels = contourLevels(0.01, 100, { at: [], spacing: "ratio", count: 3 });
    expect(levels.map((level) => Number(level.toPrecision(6)))).toEqual([0.1, 1, 10]);
    expect(contourLevels(-1, 1, { at: [], spacing: "ratio", count: 3 })).toEqual([-0.5, 0, 0.5]);
  });

  it("have equal ratios also where the ratio of the ends is more than a number can be", () => {
    const levels = contourLevels(1e-300, 1e300, { at: [], spacing: "ratio", count: 5 });
    expect(levels.map((level) => Math.round(Math.log10(level)))).toEqual([-200, -100, 0, 100, 200]);
  });

  it("are the given numbers that lie inside, in order and once", () => {
    expect(contourLevels(0, 1, { at: [0.7, -1, 0.2, 0.7, 1], spacing: "even", count: 9 })).toEqual([
      0.2, 0.7,
    ]);
  });

  it("are read from text with any separators, or refused", () => {
    expect(parseLevels(" 0.1, 2e-3;\u22125  7")).toEqual([0.1, 0.002, -5, 7]);
    expect(parseLevels("")).toEqual([]);
    expect(parseLevels("0.1, x")).toBeNull();
  });

  it("are none for none, and none for a constant", () => {
    expect(contourLevels(0, 1, { ...even, count: 0 })).toEqual([]);
    expect(contourLevels(1, 1, { ...even, count: 5 })).toEqual([]);
  });

  it("are none where the range is too narrow for round numbers", () => {
    const even = { count: 10, at: [], spacing: "even" } as const;
    expect(contourLevels(2.3e-310, 5.9e-310, even)).toEqual([]);
    expect(axisTicks(2.3e-310, 5.9e-310, 6)).toHaveLength(1);
    expect(contourLevels(2.3e-290, 5.9e-290, even).length).toBeGreaterThan(5);
  });
});
