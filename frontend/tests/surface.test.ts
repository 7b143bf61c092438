import { describe, expect, it } from "vitest";
import { colorMap, placement } from "@/maths/color";
import { isolines } from "@/maths/contour";
import { extentOf, surfaceLines, surfaceMesh } from "@/maths/surface";

const X = Float64Array.from([-1, 0, 3]);
const Y = Float64Array.from([0, 2]);
const VALUES = Float64Array.from([0, 1, 2, 3, 4, 5]);
const MAP = colorMap("viridis");

describe("a surface", () => {
  it("has each value at its own place, the second axis away from the reader", () => {
    const mesh = surfaceMesh({ x: X, y: Y, values: VALUES, map: MAP, place: placement(0, 5, "linear") });
    const point = (i: number, j: number) => [
      ...mesh.positions.subarray((i * 2 + j) * 3, (i * 2 + j) * 3 + 3),
    ];
    expect(point(0, 0)).toEqual([-0.5, 0, 0.25]);
    expect(point(1, 0)[0]).toBeCloseTo(-0.25, 6);
    expect(point(2, 1)).toEqual([0.5, 1, -0.25]);
    expect(point(1, 1)[1]).toBeCloseTo(0.6, 6);
    expect(mesh.indices).toHaveLength(2 * 2 * 3);
  });

  it("has triangles that face up", () => {
    const { positions, indices } = surfaceMesh({
      ...{ x: X, y: Y, values: VALUES, map: MAP },
      place: () => 0,
    });
    for (let index = 0; index < indices.length; index += 3) {
      const [a, b, c] = [0, 1, 2].map((corner) => {
        const at = (indices[index + corner] as number) * 3;
        return [positions[at] as number, positions[at + 2] as number] as const;
      }) as [readonly [number, number], readonly [number, number], readonly [number, number]];
      const up = (b[1] - a[1]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[1] - a[1]);
      expect(up).toBeGreaterThan(0);
    }
  });

  it("leaves out cells with a corner that is not finite", () => {
    const values = VALUES.with(0, Number.NaN);
    const { indices } = surfaceMesh({ x: X, y: Y, values, map: MAP, place: placement(0, 5, "linear") });
    expect([...new Set(indices)].sort()).toEqual([2, 3, 4, 5]);
  });

  it("carries contour lines at the height of their level", () => {
    const place = placement(0, 5, "linear");
    const ends = surfaceLines(isolines(VALUES, 3, 2, [2.5]), X, Y, place);
    expect(ends.length).toBeGreaterThan(0);
    for (let at = 1; at < ends.length; at += 3) expect(ends[at]).toBeCloseTo(0.502, 5);
    const extent = extentOf(X, Y);
    for (let at = 0; at < ends.length; at += 3)
      expect(Math.abs(ends[at] as number)).toBeLessThanOrEqual(extent.x(3));
  });
});
