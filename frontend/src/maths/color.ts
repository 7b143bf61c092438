/** Colour maps as tables of 256 colours, and the scale that puts a value at a place between 0 and 1. */
import {
  interpolateGreys,
  interpolateInferno,
  interpolateMagma,
  interpolatePlasma,
  interpolateViridis,
} from "d3-scale-chromatic";
import { CIVIDIS, COOLWARM } from "./color-tables";

const INTERPOLATORS = {
  viridis: interpolateViridis,
  cividis: tabulated(CIVIDIS),
  magma: interpolateMagma,
  inferno: interpolateInferno,
  plasma: interpolatePlasma,
  greys: (share: number) => interpolateGreys(1 - share),
  coolwarm: tabulated(COOLWARM),
} as const;

export type ColorMapName = keyof typeof INTERPOLATORS;
export const COLOR_MAPS = Object.keys(INTERPOLATORS) as ColorMapName[];
/** What differences are drawn with: its middle, a light grey, is zero. */
export const DIVERGING: ColorMapName = "coolwarm";

export type ScaleName = "linear" | "log";

export interface ColorMap {
  readonly name: ColorMapName;
  /** 256 × (red, green, blue). */
  readonly table: Uint8ClampedArray;
}

const cache = new Map<ColorMapName, ColorMap>();

export function colorMap(name: ColorMapName): ColorMap {
  const known = cache.get(name);
  if (known) return known;
  const table = new Uint8ClampedArray(256 * 3);
  for (let entry = 0; entry < 256; entry++)
    table.set(parseColor(INTERPOLATORS[name](entry / 255)), entry * 3);
  const map = { name, table };
  cache.set(name, map);
  return map;
}

/** A function from value to place: 0 at `low`, 1 at `high`, clamped; log needs `low > 0` and is linear otherwise. */
export function placement(low: number, high: number, scale: ScaleName): (value: number) => number {
  const log = scale === "log" && low > 0;
  const from = log ? Math.log(low) : low;
  const width = (log ? Math.log(high) : high) - from;
  if (!(width > 0)) return () => 0.5;
  return (value) => {
    const share = ((log ? (value > 0 ? Math.log(value) : Number.NEGATIVE_INFINITY) : value) - from) / width;
    return Math.min(Math.max(share, 0), 1);
  };
}

export function cssColor(map: ColorMap, place: number): string {
  const entry = Math.round(place * 255) * 3;
  return `rgb(${map.table[entry]},${map.table[entry + 1]},${map.table[entry + 2]})`;
}

/** Whether black reads better than white on the map's colour at this place (relative luminance, sRGB weights). */
export function isLight(map: ColorMap, place: number): boolean {
  const entry = Math.round(place * 255) * 3;
  const [red, green, blue] = [0, 1, 2].map((channel) => {
    const share = (map.table[entry + channel] ?? 0) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.3;
}

function tabulated(hex: string): (share: number) => string {
  return (share) => `#${hex.slice(Math.round(share * 255) * 6, Math.round(share * 255) * 6 + 6)}`;
}

function parseColor(text: string): [number, number, number] {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (hex)
    return [1, 2, 3].map((group) => Number.parseInt(hex[group] as string, 16)) as [number, number, number];
  const numbers = text.match(/[\d.]+/g) ?? [];
  return [Number(numbers[0] ?? 0), Number(numbers[1] ?? 0), Number(numbers[2] ?? 0)];
}
