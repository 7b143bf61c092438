import { describe, expect, it } from "vitest";
import { profile, valueAt } from "@/maths/cut";

const X = Float64Array.from([-1, -0.4, 0, 1]);
const Y = Float64Array.from([0, 0.5, 2]);

function sampled(value: (x: number, y: number) => number): Float64Array {
  return Float64Array.from([...X].flatMap((x) => [...Y].map((y) => value(x, y))));
}

describe("a cut through a grid", () => {
  it("gives a bilinear function exactly within each cell, and any function at the points", () => {
    const bilinear = (x: number, y: number) => 2 + 3 * x - y + 0.5 * x * y;
    const cut = profile(X, Y, sampled(bilinear), [-1, 0, 1, 2]);
    expect(cut).not.toBeNull();
    for (let index = 0; index < (cut?.share.length ?? 0); index++) {
      const [x, y] = [cut?.x[index] as number, cut?.y[index] as number];
      expect(cut?.values[index]).toBeCloseTo(bilinear(x, y), 12);
    }
    const wild = sampled((x, y) => Math.sin(9 * x) + y ** 3);
    for (const x of X)
      for (const y of Y) expect(valueAt(X, Y, wild, x, y)).toBeCloseTo(Math.sin(9 * x) + y ** 3, 12);
  });

  it("ends where the line leaves the grid", () => {
    const cut = profile(
      X,
      Y,
      sampled((x) => x),
      [-3, 1, 1, 1],
    );
    expect(cut?.share[0]).toBe(0.5);
    expect(cut?.x[0]).toBe(-1);
    expect(cut?.share.at(-1)).toBe(1);
    expect(
      profile(
        X,
        Y,
        sampled((x) => x),
        [-3, 3, 1, 3],
      ),
    ).toBeNull();
    expect(
      profile(
        X,
        Y,
        sampled((x) => x),
        [-3, 0, -2, 2],
      ),
    ).toBeNull();
  });

  it("has no value beside a point that is not finite, and its own on the grid line next to it", () => {
    const values = sampled((x) => x);
    values[1 * Y.length + 1] = Number.NaN;
    expect(valueAt(X, Y, values, -0.2, 0.7)).toBeNaN();
    expect(valueAt(X, Y, values, 0, 0.7)).toBe(0);
    expect(valueAt(X, Y, values, 0.4, 0.7)).toBeCloseTo(0.4, 12);
  });
});
