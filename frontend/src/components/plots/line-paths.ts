/** Lines as SVG paths, and the ranges of their axes. */
import { area, line } from "d3-shape";
import type { Spread } from "@/lib/slice";
import { chosenRange, padded, type Tails, type ValueRange, withBands } from "@/maths/range";
import type { Scale } from "@/maths/scale";
import { round } from "./axes";
import type { LineStyle } from "./line-styles";

export interface LineSeries {
  /** Tells it from the others. */
  readonly key: string;
  readonly label: string;
  readonly color: string;
  readonly x: Float64Array;
  readonly values: Float64Array;
  /** What is drawn strongly; the raw values are drawn faintly below it where it differs. */
  readonly smoothed: Float64Array;
  readonly stderr: Float64Array | null;
  /** Of several directions, of which the values are one: a second, lighter band, with its mean as a thin line. */
  readonly spread?: Spread | null;
  /** A faint line behind the others, without an entry in the legend. */
  readonly ghost?: boolean;
  /** The axis at the right, for what has another unit. */
  readonly right?: boolean;
  /** Tells it from others of its colour; a whole line where it is left out. */
  readonly style?: LineStyle;
  /** A value that is not finite is one that is missing: a gap without a cross. */
  readonly gaps?: boolean;
  /** Not zero where the value is a lower bound. */
  readonly atLeast?: Uint8Array;
}

export interface LinePoint {
  readonly index: number;
  readonly x: number;
  readonly y: number;
  readonly atLeast: boolean;
  /** Without a neighbor that a line leads to. */
  readonly alone: boolean;
}

const FEW_POINTS = 60;
/** Dots of more lines hide each other, and are more than a browser draws at once. */
const FEW_LINES = 20;

export interface SeriesPaths {
  readonly band: string | null;
  readonly spread: string | null;
  readonly mean: string | null;
  readonly raw: string | null;
  readonly line: string;
}

export function seriesPaths(entry: LineSeries, xScale: Scale, yScale: Scale): SeriesPaths {
  const { x, values, stderr } = entry;
  const indices = Array.from(x.keys());
  const across = (index: number) => bounded(xScale(x[index] as number));
  const visible = (index: number) => Number.isFinite(xScale(x[index] as number));
  const path = (from: Float64Array) =>
    line<number>()
      .defined((index) => visible(index) && Number.isFinite(yScale(from[index] as number)))
      .x(across)
      .y((index) => bounded(yScale(from[index] as number)))(indices) ?? "";
  const spread = (index: number) => stderr?.[index] ?? Number.NaN;
  const band =
    stderr && !entry.ghost
      ? area<number>()
          .defined((index) => visible(index) && Number.isFinite((values[index] as number) + spread(index)))
          .x(across)
          // On a logarithmic scale a band may reach below zero: down to the bottom then.
          .y0((index) => bounded(orElse(yScale((values[index] as number) - spread(index)), 1e4)))
          .y1((index) => bounded(yScale((values[index] as number) + spread(index))))(indices)
      : null;
  const { spread: range } = entry;
  const spreadPath =
    range && !entry.ghost
      ? area<number>()
          .defined((index) => visible(index) && Number.isFinite(yScale(range.high[index] as number)))
          .x(across)
          .y0((index) => bounded(orElse(yScale(range.low[index] as number), 1e4)))
          .y1((index) => bounded(yScale(range.high[index] as number)))(indices)
      : null;
  const raw = entry.smoothed !== values && !entry.ghost ? path(values) : null;
  const mean = range && !entry.ghost ? path(range.mean) : null;
  return { band, spread: spreadPath, mean, raw, line: path(entry.smoothed) };
}

/** The points that have a symbol: all of few ones of few lines; lower bounds and points between gaps always. */
export function symbolPoints(entry: LineSeries, xScale: Scale, yScale: Scale, lines = 1): LinePoint[] {
  const few = entry.x.length <= FEW_POINTS && lines <= FEW_LINES;
  const points = Array.from(entry.values, (value, index) => ({
    index,
    x: round(xScale(entry.x[index] as number)),
    y: round(yScale(value)),
  }));
  const drawn = (index: number) => {
    const point = points[index];
    return point !== undefined && Number.isFinite(point.x) && Number.isFinite(point.y);
  };
  return points
    .filter(({ index }) => drawn(index))
    .map((point) => ({
      ...point,
      atLeast: entry.atLeast?.[point.index] === 1,
      alone: !drawn(point.index - 1) && !drawn(point.index + 1),
    }))
    .filter(({ atLeast, alone }) => few || atLeast || alone);
}

/**
 * The range of the values of these series, and of their bands, between two places on the horizontal axis. Where outliers
 * are clipped, the named lines decide what is one: a ghost would flatten them. How far the values reach is said of all.
 */
export function visibleRange(
  series: readonly LineSeries[],
  low: number,
  high: number,
  mode: "robust" | "full",
  tails: Tails,
  log: boolean,
): ValueRange | null {
  const values: number[] = [];
  const bright: number[] = [];
  const drawn: number[] = [];
  const errors: number[] = [];
  for (const { x, values: own, spread, stderr, ghost } of series) {
    for (let index = 0; index < x.length; index++) {
      const place = x[index] as number;
      if (!(place >= low && place <= high)) continue;
      const here = [own[index] as number];
      if (spread) here.push(spread.low[index] as number, spread.high[index] as number);
      values.push(...here);
      if (ghost) continue;
      bright.push(...here);
      if (!stderr) continue;
      drawn.push(own[index] as number);
      errors.push(stderr[index] as number);
    }
  }
  const whole = chosenRange(values, "full", tails);
  const shown = mode === "robust" ? (chosenRange(bright, mode, tails) ?? whole) : whole;
  if (!shown || !whole) return null;
  const ends = { low: tails === "high" ? whole.low : shown.low, high: shown.high };
  return withBands({ ...whole, ...ends }, drawn, errors, log);
}

/** From the first to the last place of any series; above zero where the axis is logarithmic. */
export function horizontalSpan(series: readonly LineSeries[], log: boolean): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { x } of series) {
    const first = log ? (x.find((place) => place > 0) ?? Number.NaN) : (x[0] ?? Number.NaN);
    const last = x[x.length - 1] ?? Number.NaN;
    if (first < low) low = first;
    if (last > high) high = last;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** With room at both ends, in ratios on a logarithmic axis. */
export function roomy(low: number, high: number, log: boolean, share?: number): [number, number] {
  if (!log) return padded(low, high, share);
  const [from, to] = padded(Math.log(low), Math.log(high), share);
  return [Math.exp(from), Math.exp(to)];
}

/** Far outside the picture is far enough: browsers draw huge coordinates wrongly. */
function bounded(pixels: number): number {
  return round(Math.min(Math.max(pixels, -1e4), 1e4));
}

function orElse(value: number, other: number): number {
  return Number.isFinite(value) ? value : other;
}
