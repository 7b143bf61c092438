// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { fitted } from "@/components/plots/axes";
import { seriesLabel, shortRun, words } from "@/lib/describe";
import { evolution } from "@/lib/evolution";
import { beginning, displayName, ending, tagName } from "@/lib/names";
import { runColors } from "@/lib/run-colors";
import { parseHeader } from "@/lib/slice";

describe("a name from the log", () => {
  it("is shown as it is where it can be", () => {
    expect(displayName("exp7/ü <b> 名前")).toBe("exp7/ü <b> 名前");
  });

  it("can't turn the reading direction or hide characters", () => {
    expect(displayName("a\u202egnp.exe")).toBe("a\\u202egnp.exe");
    expect(displayName("zero\u200bwidth\u0000\n")).toBe("zero\\u200bwidth\\u0000\\u000a");
  });

  it("is said to be none where a card would have no title", () => {
    expect(["", " \t", "a b"].map((tag) => tagName(tag))).toEqual(["(no name)", "(no name)", "a b"]);
    expect(tagName("\u200b")).toBe("\\u200b");
  });

  it("keeps its beginning and its end where it is cut", () => {
    const shown = displayName(`begin${"x".repeat(5000)}end`, 100);
    expect(shown.length).toBeLessThan(110);
    expect(shown).toMatch(/^begin.* … .*end$/);
  });
});

describe("a name that is cut", () => {
  const flames = "🔥".repeat(400);
  const isWhole = (text: string) => !/\p{Cs}/u.test(text);

  it.each([3, 4, 99, 100])("keeps its characters whole (%i)", (length) => {
    for (const cut of [beginning(flames, length), ending(flames, length)]) {
      expect(isWhole(cut)).toBe(true);
      expect(cut.length).toBeGreaterThanOrEqual(length - 1);
      expect(cut.length).toBeLessThanOrEqual(length);
    }
    expect(isWhole(displayName(`a${flames}`, length))).toBe(true);
    expect(isWhole(fitted(`a${flames}`, 5 * length))).toBe(true);
  });

  it("is the whole text where that is shorter", () => {
    expect([beginning("ab", 5), ending("ab", 5), ending("ab", 0), beginning("", 1)]).toEqual([
      "ab",
      "ab",
      "",
      "",
    ]);
  });

  it("has no half characters, nor those that a picture can't hold", () => {
    expect(displayName("\ud83d loss \udd25\uffff")).toBe("\\ud83d loss \\udd25\\uffff");
  });
});

describe("names in a header", () => {
  const TURNED = "a\u202eb\u0000";
  const SHOWN = "a\\u202eb\\u0000";

  it("are shown as other names are, wherever they stand", () => {
    const header = parseHeader({
      geometry: "curves",
      axes: [{ name: TURNED, label: `${TURNED}${"α".repeat(3000)}`, values: [0, 1] }],
      arrays: [{ dtype: "f8", codec: "raw", blob: 1, shape: [1, 2] }],
      curves: [{ name: TURNED, layer: TURNED }],
      markers: [{ name: TURNED, coordinates: [0] }],
      center: { loss: { [TURNED]: 1 } },
      directions: [{ name: TURNED, eigenvalue: 2 }],
      measures: { [TURNED]: { value: 1 } },
    });
    expect(header.axes[0]?.label).toMatch(/^a\\u202eb\\u0000α+ … α+$/);
    expect(header.axes[0]?.label.length).toBeLessThan(200);
    expect(header.curves[0]).toMatchObject({ name: SHOWN, layer: SHOWN });
    expect(header.markers[0]?.name).toBe(SHOWN);
    expect(seriesLabel({ name: TURNED, split: TURNED })).toBe(`${SHOWN} (${SHOWN})`);
    expect([words(TURNED), shortRun(`${TURNED}/loss_slicer`)]).toEqual([SHOWN, SHOWN]);
    expect(evolution(new Map([[0, header]])).columns.map(({ name }) => name)).toEqual([
      SHOWN,
      `loss at the center (${SHOWN})`,
      `eigenvalue, direction ${SHOWN}`,
    ]);
  });
});

describe("colours of runs", () => {
  it("follow TensorBoard's order, and begin again after seven", () => {
    const order = Array.from({ length: 9 }, (_, index) => `run ${index}`);
    const color = runColors(order, ["run 3"], false);
    expect(color("run 0")).toBe("#425066");
    expect(color("run 3")).toBe("#f9ab00");
    expect(color("run 7")).toBe(color("run 0"));
  });

  it("are given to runs that TensorBoard has not named, too", () => {
    expect(runColors(["other"], ["a"], true)("a")).toBe("#12b5cb");
    expect(runColors([], ["a", "b"], true)("a")).toBe("#8e98a3");
  });
});
