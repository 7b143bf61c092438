import { describe, expect, it } from "vitest";
import { crossesOf } from "@/components/plots/not-finite";

const x = Float64Array.from({ length: 11 }, (_, at) => at);
const same = (value: number) => 10 * value;

function line(key: string, bad: Readonly<Record<number, number>>) {
  return { key, color: "#000", x, values: Float64Array.from(x, (_, at) => bad[at] ?? 1) };
}

describe("crosses where values are not finite", () => {
  it("stand at the values' own places, whichever kind they are", () => {
    const bad = { 2: Number.NaN, 5: Number.POSITIVE_INFINITY, 9: Number.NEGATIVE_INFINITY };
    expect(crossesOf([line("a", bad)], same, 100)).toEqual([
      { key: "a", color: "#000", row: 0, places: [20, 50, 90] },
    ]);
  });

  it("have a row for each line that needs one", () => {
    const lines = [line("a", { 1: Number.NaN }), line("b", {}), line("c", { 1: Number.NaN })];
    expect(crossesOf(lines, same, 100).map(({ key, row }) => [key, row])).toEqual([
      ["a", 0],
      ["c", 1],
    ]);
  });

  it("keep apart, and inside the part that is in view", () => {
    const all = line("a", Object.fromEntries(Array.from(x, (at) => [at, Number.NaN])));
    expect(crossesOf([all], (value) => 4 * value, 100)[0]?.places).toEqual([0, 8, 16, 24, 32, 40]);
    expect(crossesOf([all], (value) => 30 * (value - 2), 60)[0]?.places).toEqual([0, 30, 60]);
    expect(crossesOf([all], () => Number.NaN, 60)).toEqual([]);
  });
});
