/** Lines of equal value on a grid whose `values[i * n1 + j]` belongs to column `i` and row `j`. */
import { roundNumbers } from "./ticks";

export type Point = readonly [number, number];

export interface Isoline {
  readonly level: number;
  /** Open or closed lines in index coordinates: x in [0, n0 − 1], y in [0, n1 − 1]. */
  readonly lines: readonly (readonly Point[])[];
}

/** A cell's edges: between its corners (i, j) and (i + 1, j), then around. */
const [FIRST, SECOND, THIRD, FOURTH] = [0, 1, 2, 3] as const;
type Piece = readonly [from: 0 | 1 | 2 | 3, to: 0 | 1 | 2 | 3];

/**
 * From which edge to which the line runs, by the corners at or above the level: 8 for (i, j), 4 for (i + 1, j),
 * 2 for (i + 1, j + 1), 1 for (i, j + 1). The high side is always on the same hand, so that an edge which is the end of
 * a piece in one cell is the start of one in the next. On a saddle the high corners are apart.
 */
const PIECES: readonly (readonly Piece[])[] = [
  [],
  [[THIRD, FOURTH]],
  [[SECOND, THIRD]],
  [[SECOND, FOURTH]],
  [[FIRST, SECOND]],
  [
    [THIRD, FOURTH],
    [FIRST, SECOND],
  ],
  [[FIRST, THIRD]],
  [[FIRST, FOURTH]],
  [[FOURTH, FIRST]],
  [[THIRD, FIRST]],
  [
    [FOURTH, FIRST],
    [SECOND, THIRD],
  ],
  [[SECOND, FIRST]],
  [[FOURTH, SECOND]],
  [[THIRD, SECOND]],
  [[FOURTH, THIRD]],
  [],
];

/**
 * Marching squares with linear interpolation, at ascending `levels`. No line is drawn through a cell with a corner that
 * is not finite, nor along the border of the grid: what is not known has no contour.
 *
 * One pass over the cells serves all levels. d3-contour goes over all of them for each level, and the first time, before
 * the browser has compiled it, that takes longer than everything else that the first plot needs.
 */
export function isolines(values: Float64Array, n0: number, n1: number, levels: readonly number[]): Isoline[] {
  if (n0 < 2 || n1 < 2) return [];
  const pieces = crossedEdges(values, n0, n1, levels);
  const after = new Int32Array(2 * values.length).fill(-1);
  const isEnd = new Uint8Array(2 * values.length);
  return levels.map((level, index) => ({
    level,
    lines: joined(pieces[index] as number[], after, isEnd).map((line) =>
      line.map((edge) => crossing(values, n1, edge, level)),
    ),
  }));
}

/**
 * For each level, the edge where each piece of its lines begins and the edge where it ends, in turn. The edge from
 * `values[at]` along axis 0 has number 2·at, that along axis 1 has 2·at + 1.
 */
function crossedEdges(
  values: Float64Array,
  n0: number,
  n1: number,
  levels: readonly number[],
): readonly number[][] {
  const found = levels.map((): number[] => []);
  // The lowest level above the cell's lowest corner: seldom another one than the neighbour's.
  let above = 0;
  for (let i = 0; i + 1 < n0; i++) {
    for (let at = i * n1; at + 1 < (i + 1) * n1; at++) {
      const a = values[at] as number;
      const b = values[at + n1] as number;
      const c = values[at + n1 + 1] as number;
      const d = values[at + 1] as number;
      const low = Math.min(a, b, c, d);
      const high = Math.max(a, b, c, d);
      if (!Number.isFinite(low) || !Number.isFinite(high)) continue;
      while (above > 0 && (levels[above - 1] as number) > low) above--;
      while (above < levels.length && (levels[above] as number) <= low) above++;
      for (let index = above; index < levels.length; index++) {
        const level = levels[index] as number;
        if (level > high) break;
        const corners =
          (a >= level ? 8 : 0) + (b >= level ? 4 : 0) + (c >= level ? 2 : 0) + (d >= level ? 1 : 0);
        const edges = [2 * at, 2 * (at + n1) + 1, 2 * (at + 1), 2 * at + 1] as const;
        for (const [from, to] of PIECES[corners] as readonly Piece[]) {
          (found[index] as number[]).push(edges[from], edges[to]);
        }
      }
    }
  }
  return found;
}

/** Pieces joined into lines, each as long as it can be. `after` is −1 and `isEnd` 0 everywhere, before and afterwards. */
function joined(pieces: readonly number[], after: Int32Array, isEnd: Uint8Array): number[][] {
  for (let at = 0; at < pieces.length; at += 2) {
    after[pieces[at] as number] = pieces[at + 1] as number;
    isEnd[pieces[at + 1] as number] = 1;
  }
  const lines: number[][] = [];
  const follow = (start: number) => {
    const line = [start];
    for (let edge = start; (after[edge] as number) >= 0; ) {
      const next = after[edge] as number;
      after[edge] = -1;
      line.push(next);
      edge = next;
    }
    if (line.length > 1) lines.push(line);
  };
  // Open lines from their beginning; what is left then is closed.
  for (let at = 0; at < pieces.length; at += 2)
    if (!isEnd[pieces[at] as number]) follow(pieces[at] as number);
  for (let at = 0; at < pieces.length; at += 2) follow(pieces[at] as number);
  for (let at = 1; at < pieces.length; at += 2) isEnd[pieces[at] as number] = 0;
  return lines;
}

/** Where the level lies on an edge. */
function crossing(values: Float64Array, n1: number, edge: number, level: number): Point {
  const at = edge >> 1;
  const along1 = edge & 1;
  const from = values[at] as number;
  const to = values[along1 ? at + 1 : at + n1] as number;
  const step = to - from;
  // The difference of two finite numbers may be none: that of their halves is.
  const share = Number.isFinite(step) ? (level - from) / step : (level / 2 - from / 2) / (to / 2 - from / 2);
  const [i, j] = [Math.floor(at / n1), at % n1];
  return along1 ? [i, j + share] : [i + share, j];
}

/** How contour levels are chosen: the numbers in `at`, else about `count` of them. */
export interface Levels {
  readonly count: number;
  readonly at: readonly number[];
  /** Round numbers, or equal ratios where the range is above zero. */
  readonly spacing: "even" | "ratio";
}

/** Of ends nearer to each other, equal ratios differ from round numbers by less than a hundredth of the range. */
const LEAST_RATIO = 1.01;

/** Ascending levels strictly inside the range. */
export function contourLevels(low: number, high: number, { count, at, spacing }: Levels): number[] {
  if (!(high > low)) return [];
  const inside = (level: number) => level > low && level < high;
  if (at.length > 0) return [...new Set(at)].filter(inside).sort((a, b) => a - b);
  if (count < 1) return [];
  if (spacing === "ratio" && low > 0 && high > LEAST_RATIO * low) {
    // The ratio of two finite numbers may be none: that of their roots is.
    const root = Math.sqrt(high) / Math.sqrt(low);
    return Array.from({ length: count }, (_, index) => {
      const share = (2 * (index + 1)) / (count + 1);
      return share < 1 ? low * root ** share : high / root ** (2 - share);
    }).filter(inside);
  }
  return roundNumbers(low, high, count).filter(inside);
}

/** `0.1, 0.5; 2e-3` as numbers; null where a part is none. */
export function parseLevels(text: string): number[] | null {
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  const numbers = parts.map((part) => Number(part.replace("\u2212", "-")));
  return numbers.every(Number.isFinite) ? numbers : null;
}
