import { describe, expect, it, vi } from "vitest";
import { axesKey, axesOf, keyOfAxes, Linked } from "@/components/plots/linked";
import { evolution } from "@/lib/evolution";
import { evenly } from "@/lib/many";
import { isDrawnElsewhere } from "@/lib/overlay";
import type { SliceHeader } from "@/lib/slice";

describe("what plots share", () => {
  it("reaches those with the same key and no others, and is forgotten with the last of them", () => {
    const store = new Linked<number>();
    const [first, second, other] = [vi.fn(), vi.fn(), vi.fn()];
    const leave = [store.subscribe("a", first), store.subscribe("a", second)];
    store.subscribe("b", other);
    store.set("a", 3);
    expect([first, second, other].map((listener) => listener.mock.calls.length)).toEqual([1, 1, 0]);
    expect([store.get("a"), store.get("b")]).toEqual([3, undefined]);
    leave[0]?.();
    expect(store.get("a")).toBe(3);
    leave[1]?.();
    expect(store.get("a")).toBeUndefined();
  });

  it("is told as a whole, forgotten keys too", () => {
    const store = new Linked<number>();
    const told = vi.fn();
    const stop = store.subscribeAny(told);
    const leave = store.subscribe("a", () => {});
    store.set("a", 1);
    expect(store.entries()).toEqual([["a", 1]]);
    leave();
    expect(store.entries()).toEqual([]);
    expect(told).toHaveBeenCalledTimes(2);
    stop();
    store.set("a", 2);
    expect(told).toHaveBeenCalledTimes(2);
  });

  it("has short keys by axes, whatever they are called, and none that a plot alone could have", () => {
    const key = axesKey("α".repeat(5000));
    expect(key.length).toBeLessThan(20);
    expect(keyOfAxes(axesOf(key) ?? "")).toBe(key);
    expect(axesKey("a b")).not.toBe(axesKey("b a"));
    expect(axesOf(":r1:")).toBeNull();
  });

  it("is one plot for the curves of a tag, and never for grids", () => {
    const cards = [
      { run: "a", tag: "t", geometry: "curve" },
      { run: "b", tag: "t", geometry: "curve" },
      { run: "b", tag: "u", geometry: "curve" },
      { run: "a", tag: "g", geometry: "grid" },
      { run: "b", tag: "g", geometry: "grid" },
    ];
    expect(cards.map((card) => isDrawnElsewhere(cards, card))).toEqual([false, true, false, false, false]);
  });
});

describe("many steps", () => {
  it("are represented by evenly chosen ones with both ends", () => {
    expect(evenly([1, 2, 3], 5)).toEqual([1, 2, 3]);
    expect(evenly([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 3)).toEqual([0, 5, 10]);
  });

  it("become columns with a gap where a step lacks a measure", () => {
    const header = (measures: [string, number | null][], loss: number): SliceHeader =>
      ({
        measures: measures.map(([name, value]) => ({ name, value, error: value === null ? null : 0.1 })),
        center: { loss: { train: loss } },
        directions: [{ name: "1", eigenvalue: 2 * loss }],
      }) as unknown as SliceHeader;
    const found = evolution(
      new Map([
        [20, header([["non_convex_share", 0.5]], 1)],
        [3, header([], 4)],
      ]),
    );
    expect([...found.steps]).toEqual([3, 20]);
    expect(found.columns.map(({ name, values }) => [name, [...values]])).toEqual([
      ["loss at the center (train)", [4, 1]],
      ["eigenvalue, direction 1", [8, 2]],
      ["non convex share", [Number.NaN, 0.5]],
    ]);
    expect([...(found.columns.at(-1)?.errors ?? [])]).toEqual([Number.NaN, 0.1]);
  });

  it("mark a width that the range cut, and none that a point without a value ended", () => {
    const header = (cut: unknown): SliceHeader =>
      ({
        measures: [
          { name: "width", value: 2, error: null, details: { delta: 0.1, ...(cut ? { cut } : {}) } },
        ],
        center: null,
        directions: [],
      }) as unknown as SliceHeader;
    const cuts = [
      null,
      { from: "range" },
      { to: "not finite" },
      { from: "not finite", to: "range" },
      "range",
    ];
    const found = evolution(new Map(cuts.map((cut, step) => [step, header(cut)])));
    expect([...(found.columns[0]?.cut ?? [])]).toEqual([0, 1, 0, 1, 0]);
  });
});
