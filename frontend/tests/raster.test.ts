import { describe, expect, it } from "vitest";
import { colorMap, placement } from "@/maths/color";
import { type RasterInput, rasterize } from "@/maths/raster";

const GROUND = [1, 2, 3] as const;
const STRIPE = [4, 5, 6] as const;

/** A picture with one pixel for each point of a 3 × 2 grid: columns are axis 0, rows are axis 1. */
function picture(values: readonly number[], change: Partial<RasterInput> = {}) {
  const pixels = rasterize({
    values: Float64Array.from(values),
    n1: 2,
    columns: Float64Array.from([0, 1, 2]),
    rows: Float64Array.from([0, 1]),
    map: colorMap("greys"),
    place: placement(0, 1, "linear"),
    interpolate: false,
    shaded: null,
    hatch: [GROUND, STRIPE],
    period: 4,
    ...change,
  });
  return (x: number, y: number) => [...pixels.slice((y * 3 + x) * 4, (y * 3 + x) * 4 + 4)];
}

describe("a grid as pixels", () => {
  it("has values[i, j] at column i and row j", () => {
    const at = picture([0, 0, 0, 1, 0, 0]);
    const bright = [0, 1, 2].flatMap((x) =>
      [0, 1].filter((y) => (at(x, y)[0] ?? 0) > 200).map((y) => [x, y]),
    );
    expect(bright).toEqual([[1, 1]]);
  });

  it("hatches what is not finite, whatever the kind", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const at = picture([bad, 0, bad, 0, 0, 0]);
      expect(at(0, 0)).toEqual([...STRIPE, 255]);
      expect(at(1, 0)).toEqual([...GROUND, 255]);
    }
  });

  it("crosses shaded cells with lines that let the colour through, and no others", () => {
    const shaded = Uint8Array.from([1, 0, 1, 0, 1, 0]);
    const plain = picture([1, 1, 1, 1, 1, 1]);
    const at = picture([1, 1, 1, 1, 1, 1], { shaded });
    const [lit] = plain(0, 0) as [number];
    expect([at(0, 0)[0], at(1, 0)[0], at(2, 0)[0]]).toEqual([Math.ceil(lit / 2), lit, lit]);
    expect([0, 1, 2].map((x) => at(x, 1))).toEqual([0, 1, 2].map((x) => plain(x, 1)));
    const dark = picture([0, 0, 0, 0, 0, 0], { shaded });
    expect(dark(0, 0)[0]).toBeGreaterThan(120);
  });

  it("is transparent outside the grid", () => {
    const at = picture([0, 0, 0, 0, 0, 0], { columns: Float64Array.from([Number.NaN, 0, 1]) });
    expect(at(0, 0)).toEqual([0, 0, 0, 0]);
    expect(at(1, 0)[3]).toBe(255);
  });

  it("interpolates between points, but never into a gap", () => {
    const values = [0, 0, 1, 1, Number.NaN, Number.NaN];
    const at = picture(values, { interpolate: true, columns: Float64Array.from([0.5, 1.4, 1.6]) });
    const table = colorMap("greys").table;
    const middle = at(0, 0)[0] ?? 0;
    expect(middle).toBeGreaterThan(table[0] ?? 0);
    expect(middle).toBeLessThan(table[255 * 3] ?? 0);
    expect(at(1, 0)[0]).toBe(table[255 * 3]);
    expect([GROUND[0], STRIPE[0]]).toContain(at(2, 0)[0]);
  });
});

describe("the place of a value on the colour scale", () => {
  it("is clamped to the ends", () => {
    const place = placement(1, 3, "linear");
    expect([0, 1, 2, 3, 99].map(place)).toEqual([0, 0, 0.5, 1, 1]);
  });

  it("is logarithmic where asked and possible", () => {
    expect(placement(1, 100, "log")(10)).toBeCloseTo(0.5);
    expect(placement(1, 100, "log")(-5)).toBe(0);
    expect(placement(-1, 1, "log")(0)).toBe(0.5);
  });

  it("is the middle where all values are alike", () => {
    expect(placement(2, 2, "linear")(2)).toBe(0.5);
  });
});

describe("colour maps", () => {
  it("begin and end with viridis' own colours", () => {
    const { table } = colorMap("viridis");
    expect([...table.slice(0, 3)]).toEqual([68, 1, 84]);
    expect([...table.slice(-3)]).toEqual([253, 231, 37]);
  });
});
