import { describe, expect, it } from "vitest";
import { leftOutText, linearCurvesText, linearText, scaleOf } from "@/maths/scale";

describe("an axis that can't be logarithmic", () => {
  it("is linear, and says so", () => {
    expect(scaleOf([0, 10], [0, 100], "log")(5)).toBe(50);
    expect(linearText("log", 0)).toBe("Linear, not logarithmic: not all values are above zero.");
    expect(linearText("log", -3)).toBe(linearText("log", 0));
  });

  it("says nothing where it is what was asked for, or where nothing is drawn", () => {
    expect([linearText("log", 1e-9), linearText("linear", -1), linearText("log", undefined)]).toEqual([
      "",
      "",
      "",
    ]);
  });

  it("is counted among many", () => {
    const lows = [0.1, 0, -2, Number.NaN];
    expect(linearCurvesText("log", lows)).toBe(
      "2 curves have a linear axis: not all of the values are above zero.",
    );
    expect([linearCurvesText("linear", lows), linearCurvesText("log", [1])]).toEqual(["", ""]);
  });
});

describe("a logarithmic horizontal axis", () => {
  it("says how many points it has no place for", () => {
    expect(leftOutText("log", [-1, 0, 1, 2])).toBe("2 points are not shown: logarithms end at zero.");
    expect(leftOutText("log", [0, 1])).toBe("1 point is not shown: logarithms end at zero.");
    expect(leftOutText("log", [-1, 0])).toBe("The horizontal axis is linear: no point lies above zero.");
    expect([leftOutText("log", [1, 2]), leftOutText("linear", [-1]), leftOutText("log", [])]).toEqual([
      "",
      "",
      "",
    ]);
  });
});
