import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  COLOR_MAPS,
  type ColorMapName,
  colorMap,
  cssColor,
  DIVERGING,
  isLight,
  placement,
} from "@/maths/color";

/** As matplotlib 3.11 has them: `plt.colormaps[name](numpy.arange(256))`. */
const PUBLISHED: Record<string, string> = JSON.parse(
  readFileSync(new URL("fixtures/color-tables.json", import.meta.url), "utf8"),
);

describe("colour maps", () => {
  it.each(Object.keys(PUBLISHED))("%s is the published table, colour by colour", (name) => {
    const { table } = colorMap(name as ColorMapName);
    const hex = Array.from(table, (channel) => channel.toString(16).padStart(2, "0")).join("");
    expect(hex).toBe(PUBLISHED[name]);
  });

  it.each(COLOR_MAPS.filter((name) => name !== DIVERGING))("%s becomes lighter from end to end", (name) => {
    const lightness = Array.from({ length: 256 }, (_, entry) => luminance(name, entry));
    for (let entry = 1; entry < 256; entry++) {
      expect(lightness[entry]).toBeGreaterThan((lightness[entry - 1] as number) - 0.004);
    }
    expect(lightness[255]).toBeGreaterThan((lightness[0] as number) + 0.5);
  });

  it("the diverging one is lightest at zero, and as dark at one end as at the other", () => {
    const lightness = Array.from({ length: 256 }, (_, entry) => luminance(DIVERGING, entry));
    const lightest = lightness.indexOf(Math.max(...lightness));
    expect(Math.abs(lightest - 127.5)).toBeLessThan(16);
    const [cold, warm] = [lightness[0] as number, lightness[255] as number];
    expect(Math.abs(cold - warm)).toBeLessThan(0.05);
    expect(isLight(colorMap(DIVERGING), 0.5)).toBe(true);
    expect(isLight(colorMap(DIVERGING), 0)).toBe(false);
  });

  it("puts both ends of the range at both ends of the table", () => {
    const place = placement(2, 8, "linear");
    expect([place(2), place(5), place(8), place(-1), place(99)]).toEqual([0, 0.5, 1, 0, 1]);
    expect(cssColor(colorMap("viridis"), place(8))).toBe("rgb(253,231,37)");
    expect(placement(1, 100, "log")(10)).toBeCloseTo(0.5, 12);
  });
});

function luminance(name: ColorMapName, entry: number): number {
  const channels = [0, 1, 2].map((channel) => {
    const share = (colorMap(name).table[entry * 3 + channel] as number) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  const relative = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
  return Math.cbrt(relative);
}
