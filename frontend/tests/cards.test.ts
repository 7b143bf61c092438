import { describe, expect, it } from "vitest";
import { type ComparedKey, MAX_COMPARED, toggledCard, toggledCompared } from "@/lib/cards";

describe("cards that the reader singled out", () => {
  const a = { run: "a", tag: "t" };
  const b = { run: "b", tag: "t" };

  it("are added at the end, and removed by the same press", () => {
    expect(toggledCard([a], b)).toEqual([a, b]);
    expect(toggledCard([a, b], { ...a })).toEqual([b]);
  });

  it("are compared by step, too", () => {
    const first: ComparedKey = { ...a, step: 1 };
    expect(toggledCompared([first], { ...a, step: null })).toEqual([first, { ...a, step: null }]);
    expect(toggledCompared([first], { ...a, step: 1 })).toEqual([]);
  });

  it("are no more than can be told apart", () => {
    const full = Array.from({ length: MAX_COMPARED }, (_, step) => ({ ...a, step }));
    expect(toggledCompared(full, { ...b, step: 0 })).toBe(full);
  });
});
