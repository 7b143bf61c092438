import { describe, expect, it } from "vitest";
import { displayName } from "@/lib/names";
import { runColors } from "@/lib/run-colors";

describe("a name from the log", () => {
  it("is shown as it is where it can be", () => {
    expect(displayName("exp7/ü <b> 名前")).toBe("exp7/ü <b> 名前");
  });

  it("can't turn the reading direction or hide characters", () => {
    expect(displayName("a\u202egnp.exe")).toBe("a\\u202egnp.exe");
    expect(displayName("zero\u200bwidth\u0000\n")).toBe("zero\\u200bwidth\\u0000\\u000a");
  });

  it("keeps its beginning and its end where it is cut", () => {
    const shown = displayName(`begin${"x".repeat(5000)}end`, 100);
    expect(shown.length).toBeLessThan(110);
    expect(shown).toMatch(/^begin.* … .*end$/);
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
