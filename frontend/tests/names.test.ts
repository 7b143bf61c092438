import { describe, expect, it } from "vitest";
import { methodLabel } from "@/lib/methods";
import { nameFilter } from "@/lib/pattern";
import { nearestStep, unionOfSteps } from "@/lib/steps";
import { fileName } from "@/lib/utils";

describe("a filter on names", () => {
  it("is a regular expression, in either case", () => {
    expect(["loss/a", "Loss/b", "acc"].filter(nameFilter("^LOSS/[ab]"))).toEqual(["loss/a", "Loss/b"]);
  });

  it("is plain text where it is no expression", () => {
    expect(["a[0", "a"].filter(nameFilter("[0"))).toEqual(["a[0"]);
  });

  it("lets everything through when empty", () => {
    expect(["a", "b"].filter(nameFilter("  "))).toEqual(["a", "b"]);
  });
});

describe("the step of a card", () => {
  it("is its nearest to the chosen one, the earlier of two", () => {
    expect([-1, 0, 2, 3, 7.5, 8, 99].map((step) => nearestStep([0, 5, 10], step))).toEqual([
      0, 0, 0, 5, 5, 10, 10,
    ]);
    expect(nearestStep([], 3)).toBeNull();
    expect(nearestStep([1], null)).toBeNull();
  });

  it("comes from all tags together", () => {
    const of = (steps: number[]) => ({ steps, wallTimes: [], sampled: false, limit: 0 });
    expect(unionOfSteps([of([0, 20, 100]), undefined, of([5, 20])])).toEqual([0, 5, 20, 100]);
  });
});

describe("a method's name", () => {
  it("is known for the methods of the log, and made readable for others", () => {
    expect(methodLabel("pca_2d")).toBe("Principal components");
    expect(methodLabel("brand_new_2d")).toBe("brand new 2d");
    expect(methodLabel("constructor")).toBe("constructor");
  });
});

describe("a file's name", () => {
  it("has nothing of a tag but letters and digits, and tells tags apart", () => {
    expect(fileName("../../etc/<passwd>", "png")).toMatch(/^etc-passwd-[0-9a-f]{8}\.png$/);
    expect(fileName("a/b", "png")).not.toBe(fileName("a b", "png"));
    expect(fileName("損失", "png")).toMatch(/^slice-[0-9a-f]{8}\.png$/);
  });
});
