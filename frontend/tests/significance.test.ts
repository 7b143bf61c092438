import { describe, expect, it } from "vitest";
import { likeCenter, valueAtOrigin } from "@/maths/significance";

describe("points like the center", () => {
  it("are those within two standard errors of the paired difference", () => {
    const values = Float64Array.from([1, 1.2, 1.25, 0.8, 0.75, Number.NaN, Number.POSITIVE_INFINITY, 1.5]);
    const errors = Float64Array.from([0, 0.125, 0.125, 0.125, 0.125, 0.1, 0.1, Number.NaN]);
    expect([...likeCenter(values, errors, 1)]).toEqual([1, 1, 0, 1, 0, 0, 0, 0]);
  });

  it("are none where the center is not finite", () => {
    const errors = Float64Array.from([1, 1]);
    expect([...likeCenter(Float64Array.from([1, 2]), errors, Number.NaN)]).toEqual([0, 0]);
  });

  it("are compared with the value at the origin of a grid that is not square", () => {
    const axes = [Float64Array.from([-1, 0, 1]), Float64Array.from([0, 1])];
    expect(valueAtOrigin(Float64Array.from([1, 2, 3, 4, 5, 6]), axes)).toBe(3);
    expect(valueAtOrigin(Float64Array.from([1, 2]), [Float64Array.from([0.1, 1])])).toBeNull();
  });
});
