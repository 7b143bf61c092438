// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { labelsBelow, type PlacedTick, textWidth } from "@/components/plots/axes";

const LENGTH = 280;

function ticks(labels: readonly string[]): PlacedTick[] {
  return labels.map((label, index) => ({ label, value: index, at: (LENGTH * index) / (labels.length - 1) }));
}

describe("labels below an axis", () => {
  it("are all there where they fit", () => {
    const labels = ["0.0", "0.5", "1.0", "1.5", "2.0"];
    expect(labelsBelow(ticks(labels), LENGTH).map(({ text }) => text)).toEqual(labels);
  });

  it.each([2, 3, 5, 9])("never touch each other nor leave the picture (%i of them)", (count) => {
    const labels = Array.from({ length: count }, (_, index) => `0.6931471805${index}`);
    const shown = labelsBelow(ticks(labels), LENGTH);
    expect(shown.length).toBeGreaterThan(0);
    shown.forEach(({ text, at }, index) => {
      const half = textWidth(text) / 2;
      expect(at + half).toBeLessThanOrEqual(LENGTH + 12);
      const before = shown[index - 1];
      if (before) expect(at - half).toBeGreaterThan(before.at + textWidth(before.text) / 2);
    });
  });

  it("may be none", () => {
    expect(labelsBelow([], LENGTH)).toEqual([]);
  });
});
