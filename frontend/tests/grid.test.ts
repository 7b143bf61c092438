import { describe, expect, it } from "vitest";
import {
  ascendingOrder,
  cellAt,
  cellEdges,
  fractionalIndex,
  nearestIndex,
  reorder,
  valueAtIndex,
} from "@/maths/grid";

const AXIS = Float64Array.from([0, 1, 10, 11]);

describe("cells of an axis", () => {
  it("meet half-way between their points, and are as wide again at the ends", () => {
    expect([...cellEdges(AXIS)]).toEqual([-0.5, 0.5, 5.5, 10.5, 11.5]);
    expect([...cellEdges(Float64Array.from([3]))]).toEqual([2.5, 3.5]);
  });

  it("hold the places between their borders, and no place outside", () => {
    const edges = cellEdges(AXIS);
    expect([-0.6, -0.5, 0.4, 5.4, 5.6, 11.5, 11.6, Number.NaN].map((place) => cellAt(edges, place))).toEqual([
      -1, 0, 0, 1, 2, 3, -1, -1,
    ]);
  });

  it("agree with the rounded fractional index of every place", () => {
    const edges = cellEdges(AXIS);
    for (let place = -0.45; place < 11.5; place += 0.1) {
      expect(Math.round(fractionalIndex(AXIS, place))).toBe(cellAt(edges, place));
    }
  });
});

describe("an index along an axis", () => {
  it("is the nearest point's", () => {
    expect([-5, 0.4, 0.6, 5, 6, 99].map((place) => nearestIndex(AXIS, place))).toEqual([0, 0, 1, 1, 2, 3]);
  });

  it("goes there and back", () => {
    for (const place of [0, 0.25, 4, 10.5, 11]) {
      expect(valueAtIndex(AXIS, fractionalIndex(AXIS, place))).toBeCloseTo(place, 12);
    }
  });
});

describe("an axis that does not ascend", () => {
  it("is put in order together with its values, along the right dimension", () => {
    const order = ascendingOrder(Float64Array.from([2, 0, 1]));
    expect([...(order ?? [])]).toEqual([1, 2, 0]);
    const values = Float64Array.from([20, 21, 0, 1, 10, 11]);
    expect([...reorder(values, [3, 2], 0, order as Int32Array)]).toEqual([0, 1, 10, 11, 20, 21]);
    const across = Float64Array.from([2, 0, 1, 12, 10, 11]);
    expect([...reorder(across, [2, 3], 1, order as Int32Array)]).toEqual([0, 1, 2, 10, 11, 12]);
  });

  it("is left alone where it ascends", () => {
    expect(ascendingOrder(AXIS)).toBeNull();
  });
});
