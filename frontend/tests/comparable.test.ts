import { describe, expect, it } from "vitest";
import { comparable, leftOutText, nameOfCompared } from "@/lib/comparable";
import { parseHeader, type Series, type SliceData } from "@/lib/slice";

const RECORD = { dtype: "f8", codec: "raw", blob: 1, shape: [2] };
const HEADER = parseHeader({
  geometry: "curve",
  axes: [{ name: "a", values: [0, 1] }],
  arrays: [RECORD],
  checkpoint: { step_unit: "epoch" },
});

function slice(run: string, tag: string, ...shown: readonly [string, string][]): { slice: SliceData } {
  const series = shown.map(
    ([name, split]): Series => ({
      ...{ name, split, values: Float64Array.of(1, 2) },
      ...{ stderr: null, differenceStderr: null, count: null, interpolated: null },
    }),
  );
  return { slice: { run, tag, step: 3, header: HEADER, series: series as [Series, ...Series[]] } };
}

describe("slices that are compared", () => {
  const first = slice("a/loss_slicer", "plane", ["accuracy", "train"]);
  const other = slice("b", "plane", ["loss", "train"]);
  const both = slice("c", "plane", ["loss", "train"], ["accuracy", "train"]);

  it("are subtracted only where they show the same metric of the same split", () => {
    const { alike, others } = comparable([first, other, both], "curve");
    expect(alike.map((entry) => entry.slice.run)).toEqual(["a/loss_slicer", "c"]);
    expect(alike.map((entry) => entry.slice.series[0].name)).toEqual(["accuracy", "accuracy"]);
    expect(others).toEqual([other]);
    const test = slice("d", "plane", ["accuracy", "test"]);
    expect(comparable([first, test], "curve").others).toEqual([test]);
    expect(comparable([first, other], "grid")).toEqual({ alike: [], others: [] });
  });

  it("say which of them are left out, and why", () => {
    const name = nameOfCompared([first.slice, other.slice]);
    expect(leftOutText(comparable([first, other], "curve"), name)).toBe(
      "Only accuracy (train) is subtracted: b, epoch 3 shows loss (train).",
    );
    expect(leftOutText(comparable([first], "curve"), name)).toBe("");
  });

  it("have the tag in their names where it tells them apart", () => {
    const line = slice("a/loss_slicer", "line\u202e", ["loss", "train"]);
    expect(nameOfCompared([first.slice])(first.slice)).toBe("a, epoch 3");
    expect(nameOfCompared([first.slice, line.slice])(line.slice)).toBe("line\\u202e, a, epoch 3");
  });
});
