import { describe, expect, it } from "vitest";
import { heightsAt, listedLines, nextHeight } from "@/components/plots/line-nearest";
import type { LineSeries } from "@/components/plots/line-paths";
import { symbolPoints } from "@/components/plots/line-paths";
import { alikeText, LINE_STYLES, lineStyles } from "@/components/plots/line-styles";
import { scaleOf } from "@/maths/scale";

const yScale = scaleOf([0, 1000], [1000, 0]);
const x = Float64Array.from([0, 1]);

function linesAt(...levels: number[]): LineSeries[] {
  return levels.map((level) => {
    const values = Float64Array.from([level, level]);
    return { key: `${level}`, label: `${level}`, color: "#000", x, values, smoothed: values, stderr: null };
  });
}

describe("of many lines", () => {
  const lines = linesAt(...Array.from({ length: 1000 }, (_, index) => index));
  const heights = () => heightsAt(lines, 0.4, () => yScale);

  it("those nearest to the pointer are named, the nearest first", () => {
    const { listed, left, nearest } = listedLines(lines, 1000 - 700.2, heights);
    expect(listed.map(({ label }) => Number(label))).toEqual([700, 701, 699, 702, 698, 703, 697, 704]);
    expect([nearest?.label, left]).toEqual(["700", 992]);
  });

  it("none is the nearest where the pointer has no height or no line a value", () => {
    expect(listedLines(lines, null, heights)).toMatchObject({ nearest: null, left: 992 });
    const gaps = linesAt(...Array.from({ length: 20 }, () => Number.NaN));
    expect(listedLines(gaps, 5, () => heightsAt(gaps, 0, () => yScale)).nearest).toBeNull();
  });

  it("keys go from one to the next, and stay at the last", () => {
    const at = [...heightsAt(linesAt(10, 30, 20), 0, () => yScale), Number.NaN];
    expect(nextHeight(at, -1, 1)).toBe(990);
    expect(nextHeight(at, 990, 1)).toBe(980);
    expect(nextHeight(at, 970, 1)).toBe(970);
    expect(nextHeight(at, -1, -1)).toBe(970);
    expect(nextHeight(at, 970, -1)).toBe(980);
    expect(nextHeight(at, 42, 0)).toBe(42);
  });

  it("points have no dots that would hide each other", () => {
    const [line] = linesAt(5) as [LineSeries];
    expect(symbolPoints(line, scaleOf([0, 1], [0, 9]), yScale, 20)).toHaveLength(2);
    expect(symbolPoints(line, scaleOf([0, 1], [0, 9]), yScale, 21)).toHaveLength(0);
  });

  it("it is said when some look alike", () => {
    const drawn = (count: number) => {
      const colored = Array.from({ length: count }, () => ({ color: "#123456" }));
      const styles = lineStyles(colored);
      return colored.map((line, index) => ({
        ...line,
        style: styles[index] as (typeof LINE_STYLES)[number],
      }));
    };
    expect(alikeText(drawn(LINE_STYLES.length))).toBe("");
    expect(alikeText(drawn(LINE_STYLES.length + 1))).toContain("look alike");
  });
});

describe("of few lines", () => {
  it("all are named in their order", () => {
    const lines = linesAt(1, 2, 3);
    expect(listedLines(lines, 0, () => [])).toEqual({ listed: lines, left: 0, nearest: null });
  });
});
