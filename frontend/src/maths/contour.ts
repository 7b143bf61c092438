/** Lines of equal value on a grid whose `values[i * n1 + j]` belongs to column `i` and row `j`. */
import { ticks } from "d3-array";
import { contours } from "d3-contour";

export type Point = readonly [number, number];

export interface Isoline {
  readonly level: number;
  /** Open or closed lines in index coordinates: x in [0, n0 − 1], y in [0, n1 − 1]. */
  readonly lines: readonly (readonly Point[])[];
}

/**
 * Marching squares with linear interpolation. No line is drawn through a cell with a corner that is not finite,
 * nor along the border of the grid: what is not known has no contour.
 */
export function isolines(values: Float64Array, n0: number, n1: number, levels: readonly number[]): Isoline[] {
  if (n0 < 2 || n1 < 2) return [];
  // d3-contour reads rows of x, and takes what is not a number for −∞.
  const rows = new Float64Array(n0 * n1);
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      const value = values[i * n1 + j] as number;
      rows[j * n0 + i] = Number.isFinite(value) ? value : Number.NaN;
    }
  }
  const trusted = trustedPlaces(rows, n0, n1);
  const generator = contours().size([n0, n1]).smooth(true);
  return levels.map((level) => ({
    level,
    // d3-contour's typings want an array of numbers, but any indexed numbers do.
    lines: generator
      .contour(rows as unknown as number[], level)
      .coordinates.flat()
      .flatMap((ring) => trustedParts(ring as [number, number][], trusted)),
  }));
}

/** Whether a place in index coordinates lies in cells whose four corners are finite. */
function trustedPlaces(rows: Float64Array, n0: number, n1: number): (x: number, y: number) => boolean {
  const wide = n0 - 1;
  const finite = new Uint8Array(wide * (n1 - 1));
  let all = true;
  for (let j = 0; j + 1 < n1; j++) {
    for (let i = 0; i < wide; i++) {
      const corner = j * n0 + i;
      const sum =
        (rows[corner] as number) +
        (rows[corner + 1] as number) +
        (rows[corner + n0] as number) +
        (rows[corner + n0 + 1] as number);
      if (Number.isNaN(sum)) all = false;
      else finite[j * wide + i] = 1;
    }
  }
  const [lastX, lastY] = [n0 - 1, n1 - 1];
  if (all) return (x, y) => x > 0 && y > 0 && x < lastX && y < lastY;
  // d3 draws lines around what is −∞ exactly through the neighbouring points: those belong to the cells of both sides.
  return (x, y) => {
    if (!(x > 0 && y > 0 && x < lastX && y < lastY)) return false;
    const [i0, i1, j0, j1] = [Math.ceil(x) - 1, Math.floor(x), Math.ceil(y) - 1, Math.floor(y)];
    return (
      finite[j0 * wide + i0] === 1 &&
      finite[j0 * wide + i1] === 1 &&
      finite[j1 * wide + i0] === 1 &&
      finite[j1 * wide + i1] === 1
    );
  };
}

/** A closed ring cut where its segments can't be trusted; d3's cell centers lie at one half. */
function trustedParts(
  ring: readonly (readonly [number, number])[],
  trusted: (x: number, y: number) => boolean,
) {
  const parts: Point[][] = [];
  let part: Point[] = [];
  for (let index = 0; index + 1 < ring.length; index++) {
    const [x0, y0] = shifted(ring[index] as Point);
    const [x1, y1] = shifted(ring[index + 1] as Point);
    if (trusted((x0 + x1) / 2, (y0 + y1) / 2)) {
      if (part.length === 0) part.push([x0, y0]);
      part.push([x1, y1]);
    } else if (part.length > 0) {
      parts.push(part);
      part = [];
    }
  }
  if (part.length > 0) parts.push(part);
  return joinEnds(parts);
}

/** A ring may begin in the middle of a line: its last part then ends where its first begins. */
function joinEnds(parts: Point[][]): Point[][] {
  const first = parts[0];
  const last = parts[parts.length - 1];
  const [start, end] = [first?.[0], last?.[last.length - 1]];
  if (!first || !last || parts.length < 2 || !start || !end) return parts;
  if (start[0] !== end[0] || start[1] !== end[1]) return parts;
  return [[...last, ...first.slice(1)], ...parts.slice(1, -1)];
}

function shifted([x, y]: Point): Point {
  return [x - 0.5, y - 0.5];
}

/** How contour levels are chosen: the numbers in `at`, else about `count` of them. */
export interface Levels {
  readonly count: number;
  readonly at: readonly number[];
  /** Round numbers, or equal ratios where the range is above zero. */
  readonly spacing: "even" | "ratio";
}

/** Ascending levels strictly inside the range. */
export function contourLevels(low: number, high: number, { count, at, spacing }: Levels): number[] {
  if (!(high > low)) return [];
  const inside = (level: number) => level > low && level < high;
  if (at.length > 0) return [...new Set(at)].filter(inside).sort((a, b) => a - b);
  if (count < 1) return [];
  if (spacing === "ratio" && low > 0) {
    return Array.from({ length: count }, (_, index) => low * (high / low) ** ((index + 1) / (count + 1)));
  }
  return ticks(low, high, count).filter(inside);
}

/** `0.1, 0.5; 2e-3` as numbers; null where a part is none. */
export function parseLevels(text: string): number[] | null {
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  const numbers = parts.map((part) => Number(part.replace("\u2212", "-")));
  return numbers.every(Number.isFinite) ? numbers : null;
}
