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
  const { values, n1, columns, rows, interpolate, shaded, hatch, period } = input;
  const [width, height] = [columns.length, rows.length];
  const bytes = new Uint8ClampedArray(width * height * 4);
  // A pixel is one number of 32 bits: most rows are a copy of the row before, which is what makes this quick.
  const pixels = new Uint32Array(bytes.buffer);
  const colors = packedColors(input);
  const cells = columns.map((column) => Math.round(column) * n1);
  const last0 = values.length / n1 - 1;
  const [ground, stripe] = hatch.map(packed) as [number, number];
  let before = Number.NaN;
  let plain = false;
  for (let y = 0; y < height; y++) {
    const row = rows[y] as number;
    if (Number.isNaN(row)) continue;
    const j = Math.round(row);
    const start = y * width;
    if (plain && j === before) {
      pixels.copyWithin(start, start - width, start);
      continue;
    }
    before = j;
    plain = !interpolate;
    for (let x = 0; x < width; x++) {
      const cell = (cells[x] as number) + j;
      // Outside of the grid.
      if (Number.isNaN(cell)) continue;
      const value = values[cell] as number;
      if (!Number.isFinite(value)) {
        pixels[start + x] = (x + y) % period < period / 4 ? stripe : ground;
        plain = false;
        continue;
      }
      pixels[start + x] = interpolate
        ? colors.at(bilinear(values, n1, last0, columns[x] as number, row, value))
        : colors.of(value, cell);
      if (!shaded?.[cell]) continue;
      plain = false;
      if ((x - y + height * period) % period < period / 6) overprint(bytes, (start + x) * 4);
    }
  }
  return bytes;
}

interface PackedColors {
  /** The colour of any value. */
  readonly at: (value: number) => number;
  /** The colour of a cell's own value, which is looked up once however many pixels it has. */
  readonly of: (value: number, cell: number) => number;
}

function packedColors({ values, map, place }: RasterInput): PackedColors {
  const table = Uint32Array.from({ length: 256 }, (_, entry) =>
    packed([0, 1, 2].map((channel) => map.table[entry * 3 + channel]) as [number, number, number]),
  );
  const known = new Uint32Array(values.length);
  const at = (value: number) => table[Math.round(place(value) * 255)] as number;
  return {
    at,
    of: (value, cell) => {
      // No opaque colour is zero.
      if (known[cell] === 0) known[cell] = at(value);
      return known[cell] as number;
    },
  };
}

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

function packed([red, green, blue]: Rgb): number {
  return LITTLE_ENDIAN
    ? ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0
    : ((red << 24) | (green << 16) | (blue << 8) | 255) >>> 0;
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
