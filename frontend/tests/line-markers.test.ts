// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { markerRows, NO_ROW } from "@/components/plots/line-markers";
import { scaleOf } from "@/maths/scale";

const marker = (name: string, x: number) => ({ name, x, y: null });
const xScale = scaleOf([0, 1], [0, 500]);

describe("names of markers above a line", () => {
  it("stand in one row where there is room", () => {
    expect(markerRows([marker("start", 0), marker("end", 1)], xScale)).toEqual([0, 0]);
  });

  it("stand above one another where they are close, and are left out where nothing is free", () => {
    const close = Array.from({ length: 6 }, (_, index) => marker(`checkpoint number ${index}`, 0.01 * index));
    const rows = markerRows([...close, marker("end", 1)], xScale);
    expect(rows).toEqual([0, 1, 2, NO_ROW, NO_ROW, NO_ROW, 0]);
  });

  it("know a logarithmic axis, and what it has no place for", () => {
    const markers = [marker("center", 0), marker("step 1", 0.001), marker("step 2", 0.01), marker("end", 1)];
    expect(markerRows(markers, scaleOf([0.001, 1], [0, 500], "log"))).toEqual([0, 0, 0, 0]);
  });
});
