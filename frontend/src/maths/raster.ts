/** A grid painted into pixels. `values[i * n1 + j]` lies at column position i and row position j. */
import type { ColorMap } from "./color";

export interface RasterInput {
  readonly values: Float64Array;
  readonly n1: number;
  /** For each pixel column / row, the fractional index on axis 0 / axis 1; NaN outside the grid. */
  readonly columns: Float64Array;
  readonly rows: Float64Array;
  readonly map: ColorMap;
  readonly place: (value: number) => number;
  /** Between the grid's points: linear interpolation, or the nearest point's own colour. */
  readonly interpolate: boolean;
  /** Not zero where a cell is crossed by thin lines that let its colour through. */
  readonly shaded: Uint8Array | null;
  /** Colours of cells without a finite value: ground and stripes. */
  readonly hatch: readonly [Rgb, Rgb];
  /** Pixels between two stripes. */
  readonly period: number;
}

export type Rgb = readonly [number, number, number];

/** RGBA pixels, transparent outside the grid, hatched where a value is not finite. */
export function rasterize(input: RasterInput): Uint8ClampedArray<ArrayBuffer> {
  const { values, n1, columns, rows, map, place, interpolate, shaded, hatch, period } = input;
  const [width, height] = [columns.length, rows.length];
  const pixels = new Uint8ClampedArray(width * height * 4);
  const { table } = map;
  const last0 = values.length / n1 - 1;
  for (let y = 0; y < height; y++) {
    const row = rows[y] as number;
    if (Number.isNaN(row)) continue;
    const j = Math.round(row);
    for (let x = 0; x < width; x++) {
      const column = columns[x] as number;
      if (Number.isNaN(column)) continue;
      const cell = Math.round(column) * n1 + j;
      let value = values[cell] as number;
      if (interpolate && Number.isFinite(value)) value = bilinear(values, n1, last0, column, row, value);
      const at = (y * width + x) * 4;
      if (Number.isFinite(value)) {
        const entry = Math.round(place(value) * 255) * 3;
        pixels[at] = table[entry] as number;
        pixels[at + 1] = table[entry + 1] as number;
        pixels[at + 2] = table[entry + 2] as number;
        if (shaded?.[cell] && (x - y + height * period) % period < period / 6) overprint(pixels, at);
      } else {
        const color = (x + y) % period < period / 4 ? hatch[1] : hatch[0];
        pixels[at] = color[0];
        pixels[at + 1] = color[1];
        pixels[at + 2] = color[2];
      }
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}

/** Half-way to black on a light colour, half-way to white on a dark one. */
function overprint(pixels: Uint8ClampedArray, at: number): void {
  const light =
    0.3 * (pixels[at] as number) + 0.59 * (pixels[at + 1] as number) + 0.11 * (pixels[at + 2] as number);
  const ink = light > 127 ? 0 : 255;
  for (let channel = at; channel < at + 3; channel++) {
    pixels[channel] = ((pixels[channel] as number) + ink) / 2;
  }
}

/** Linear in both directions; next to a corner that is not finite, the nearest point's own value. */
function bilinear(
  values: Float64Array,
  n1: number,
  last0: number,
  column: number,
  row: number,
  nearest: number,
): number {
  const i = Math.min(Math.floor(column), last0);
  const j = Math.min(Math.floor(row), n1 - 1);
  const [nextI, nextJ] = [Math.min(i + 1, last0), Math.min(j + 1, n1 - 1)];
  const [s, t] = [column - i, row - j];
  const value =
    (1 - s) * ((1 - t) * (values[i * n1 + j] as number) + t * (values[i * n1 + nextJ] as number)) +
    s * ((1 - t) * (values[nextI * n1 + j] as number) + t * (values[nextI * n1 + nextJ] as number));
  return Number.isFinite(value) ? value : nearest;
}
