import { describe, expect, it } from "vitest";
import type { TagInfo } from "@/lib/api";
import {
  CARDS_A_PAGE,
  chosenMethod,
  firstTags,
  hiddenRuns,
  methodChoices,
  nextCount,
  shownTags,
} from "@/lib/selection";
import { DEFAULT_VIEW } from "@/lib/view-state";

function tag(run: string, name: string, change: Partial<TagInfo> = {}): TagInfo {
  return {
    run,
    tag: name,
    sliceType: "linear_interpolation",
    geometry: "curve",
    description: "",
    problem: null,
    lastStep: 7,
    ...change,
  };
}

const names = (tags: readonly TagInfo[]) => tags.map((entry) => `${entry.run} ${entry.tag}`);

describe("the tags that a view shows first", () => {
  it("are those of the first run where none is chosen, and of its first method with data", () => {
    const log = [
      tag("a", "grid", { sliceType: "random_direction_2d", geometry: "grid" }),
      tag("a", "line"),
      tag("b", "line"),
    ];
    const found = firstTags(log, DEFAULT_VIEW);
    expect(found).toHaveLength(1);
    expect(found[0]?.sliceType).toBe(chosenMethod(methodChoices(log.slice(0, 2)), null));
    expect(names(firstTags(log, { ...DEFAULT_VIEW, method: "linear_interpolation" }))).toEqual(["a line"]);
  });

  it("stand tag by tag, so that runs are beside each other", () => {
    const log = [tag("a", "x"), tag("a", "y"), tag("b", "x"), tag("b", "y")];
    expect(names(firstTags(log, { ...DEFAULT_VIEW, runs: ["a", "b"] }))).toEqual([
      "a x",
      "b x",
      "a y",
      "b y",
    ]);
  });

  it("are a page of them, the pinned ones first and only once, without what can't be read", () => {
    const log = Array.from({ length: 40 }, (_, index) => tag("a", `t${index}`));
    log[3] = tag("a", "t3", { problem: "is broken" });
    const pinned = [
      { run: "a", tag: "t30" },
      { run: "a", tag: "t3" },
      { run: "gone", tag: "t1" },
      { run: "a", tag: "t0" },
    ];
    const found = firstTags(log, { ...DEFAULT_VIEW, pinned });
    expect(names(found).slice(0, 3)).toEqual(["a t30", "a t0", "a t1"]);
    expect(found).toHaveLength(CARDS_A_PAGE + 1);
    expect(new Set(names(found)).size).toBe(found.length);
    expect(names(found)).not.toContain("a t3");
  });

  it("follow the filter", () => {
    const log = [tag("a", "train/x"), tag("a", "test/x")];
    expect(names(firstTags(log, { ...DEFAULT_VIEW, filter: "^test" }))).toEqual(["a test/x"]);
    expect(shownTags(log, [], 5, [])).toEqual([]);
  });
});

describe("all cards", () => {
  it("come some at a time, as soon as few of those before are missing, and no more than are wanted", () => {
    expect(nextCount(12, 1000, 0)).toBe(36);
    expect(nextCount(36, 1000, CARDS_A_PAGE)).toBe(36);
    expect(nextCount(36, 1000, CARDS_A_PAGE - 1)).toBe(60);
    expect(nextCount(996, 1000, 0)).toBe(1000);
    expect(nextCount(1000, 1000, 0)).toBe(1000);
    expect(nextCount(24, 0, 0)).toBe(24);
  });
});

describe("runs that are not shown yet", () => {
  it("are counted tag by tag", () => {
    const matching = Array.from({ length: 20 }, (_, index) => tag(`run ${index}`, index < 15 ? "x" : "y"));
    const shown = shownTags(matching, matching, CARDS_A_PAGE, [{ run: "run 14", tag: "x" }]);
    expect(hiddenRuns(matching, shown, "x")).toBe(2);
    expect(hiddenRuns(matching, shown, "y")).toBe(5);
    expect(hiddenRuns(matching, matching, "x")).toBe(0);
  });
});
