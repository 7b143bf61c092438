import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { describe, expect, it } from "vitest";
import { arrayBytes, keepWithinBudget } from "@/lib/cache-budget";
import { parseHeader, type SliceData } from "@/lib/slice";

const POINTS = 1000;

function slice(step: number, shared?: Float64Array): SliceData {
  const header = parseHeader({
    geometry: "curve",
    axes: [{ name: "a", values: [0] }],
    arrays: [{ name: "loss", blob: 1, dtype: "f8", shape: [1], codec: "raw" }],
  });
  const values = shared ?? new Float64Array(POINTS);
  const series = {
    name: "loss",
    split: "",
    values,
    stderr: null,
    differenceStderr: null,
    count: null,
    interpolated: null,
  };
  return { run: "r", tag: "t", step, header, series: [series] };
}

describe("the slices in memory", () => {
  it("count an array once that several share", () => {
    const values = new Float64Array(POINTS);
    const axes = 8;
    expect(arrayBytes([slice(0, values), slice(1, values)])).toBe(8 * POINTS + 2 * axes);
  });

  it("stay within the budget, the least recently seen going first, and never what is on the screen", () => {
    const client = new QueryClient();
    const stop = keepWithinBudget(client, 3 * (8 * POINTS + 8));
    const key = (step: number) => ["slice", "r", "t", step];
    client.setQueryData(key(0), slice(0));
    const unsubscribe = new QueryObserver(client, { queryKey: key(0), enabled: false }).subscribe(() => {});
    for (let step = 1; step <= 500; step++) client.setQueryData(key(step), slice(step));
    const kept = client.getQueryCache().findAll({ queryKey: ["slice"] });
    expect(kept.map((query) => query.queryKey[3]).sort()).toEqual([0, 499, 500]);
    unsubscribe();
    stop();
    client.clear();
  });

  it("leave other queries alone", () => {
    const client = new QueryClient();
    const stop = keepWithinBudget(client, 0);
    client.setQueryData(["steps", "r", "t"], { steps: [1] });
    client.setQueryData(["slice", "r", "t", 1], slice(1));
    client.setQueryData(["slice", "r", "t", 2], slice(2));
    expect(client.getQueryData(["steps", "r", "t"])).toBeDefined();
    expect(client.getQueryData(["slice", "r", "t", 1])).toBeUndefined();
    stop();
    client.clear();
  });
});
