// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { legendRows } from "@/components/plots/line-legend";
import { LINE_STYLES, lineStyles, strokeOf } from "@/components/plots/line-styles";
import { runColors } from "@/lib/run-colors";

describe("lines in one plot", () => {
  const runs = Array.from({ length: 84 }, (_, index) => `run ${index}`);
  const colorOf = runColors(runs, runs, false);
  const colors = runs.map((run) => ({ color: colorOf(run) }));

  it("are told apart where there are twelve times as many as colours", () => {
    const styles = lineStyles(colors);
    const looks = styles.map((style, index) => JSON.stringify([colors[index], strokeOf(style)]));
    expect(new Set(looks).size).toBe(84);
    expect(styles.slice(0, 7).every((style) => style === LINE_STYLES[0])).toBe(true);
    expect(lineStyles([...colors, ...colors]).slice(84)).toEqual(styles);
  });

  it("are told apart by colour alone where there are no more than those", () => {
    const order = ["run 8", "run 1", "run 2"].map((run) => ({ color: colorOf(run) }));
    expect(lineStyles(order)).toEqual([LINE_STYLES[0], LINE_STYLES[1], LINE_STYLES[0]]);
  });

  it("have dashes where they are not to be drawn whole, and no one else has these", () => {
    const color = "#000";
    const styles = lineStyles([{ color, dashed: true }, { color }, { color }, { color, dashed: true }]);
    expect(styles.map((style) => LINE_STYLES.indexOf(style))).toEqual([1, 0, 2, 3]);
  });

  it("look in the legend as they do in the plot", () => {
    const x = new Float64Array(3);
    const styles = lineStyles(colors);
    const series = colors.slice(0, 42).map(({ color }, index) => ({
      ...{ key: String(index), label: `run ${index}`, color, style: styles[index] ?? styles[0] },
      ...{ x, values: x, smoothed: x, stderr: null },
    }));
    const entries = legendRows(series as Parameters<typeof legendRows>[0], 700).flat();
    expect(entries.map(({ color, style }) => [color, style])).toEqual(
      series.map(({ color, style }) => [color, style]),
    );
  });
});
