/** Which lines a place in a plot is near to: of many lines, those are the ones that can be told. */
import { nearestIndex } from "@/maths/grid";
import type { Scale } from "@/maths/scale";
import type { LineSeries } from "./line-paths";

/** More rows would hide the plot. */
const MAX_ROWS = 14;
/** Of more lines than that, so many: their names tend to be long. */
const OF_MANY = 8;
/** Pixels between two heights that a key tells apart. */
const APART = 0.01;

/** Pixels from the top of each line at the point of its own nearest to `place`. */
export function heightsAt(
  lines: readonly LineSeries[],
  place: number,
  yScaleOf: (entry: LineSeries) => Scale,
): number[] {
  return lines.map((entry) => yScaleOf(entry)(entry.values[nearestIndex(entry.x, place)] ?? Number.NaN));
}

export interface ListedLines {
  readonly listed: readonly LineSeries[];
  readonly left: number;
  /** The line that the pointer is nearest to, where not all are listed. */
  readonly nearest: LineSeries | null;
}

/** All lines, or of many those nearest to this height, the nearest first; the first ones where there is no height. */
export function listedLines(
  lines: readonly LineSeries[],
  height: number | null,
  heights: () => readonly number[],
): ListedLines {
  if (!areMany(lines)) return { listed: lines, left: 0, nearest: null };
  const left = lines.length - OF_MANY;
  if (height === null) return { listed: lines.slice(0, OF_MANY), left, nearest: null };
  const away = heights().map((at) =>
    Number.isFinite(at) ? Math.abs(at - height) : Number.POSITIVE_INFINITY,
  );
  const order = lines.map((_, index) => index).sort((a, b) => compare(away[a] as number, away[b] as number));
  const listed = order.slice(0, OF_MANY).map((index) => lines[index] as LineSeries);
  return { listed, left, nearest: Number.isFinite(away[order[0] as number]) ? (listed[0] ?? null) : null };
}

/** Whether a readout has no room for all of them. */
export function areMany(lines: readonly LineSeries[]): boolean {
  return lines.length > MAX_ROWS;
}

/** The height of the next line above (`by` > 0) or below (`by` < 0) this height, from outside (below zero) the first one. */
export function nextHeight(heights: readonly number[], height: number, by: number): number {
  const from = height >= 0 ? height : by > 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  const beyond = heights.filter((at) => (by > 0 ? at < from - APART : by < 0 && at > from + APART));
  if (beyond.length === 0) return height;
  return by > 0 ? Math.max(...beyond) : Math.min(...beyond);
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}
