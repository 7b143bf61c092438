/** Where an axis has its ticks, and what they say. */
import { ticks as linearTicks } from "d3-array";
import { scaleLog } from "d3-scale";
import type { ScaleName } from "./color";
import { formatNumber, formatTicks } from "./format";

export interface Tick {
  readonly value: number;
  readonly label: string;
}

/** A range below this has no round numbers that a double can hold. */
const NARROWEST = 1e-300;

/** For so many, steps are small enough that two of them are within any range. */
const MOST_FOR_TWO = 6;

/** About `count` round numbers inside [low, high]; none where it is too narrow for them. */
export function roundNumbers(low: number, high: number, count: number): number[] {
  return high - low > NARROWEST ? linearTicks(low, high, count) : [];
}

/** The same, but at least two: a single number says nothing of the scale. */
function scaleNumbers(low: number, high: number, count: number): number[] {
  const found = roundNumbers(low, high, count);
  return found.length < 2 && count < MOST_FOR_TWO ? scaleNumbers(low, high, count + 1) : found;
}

/** Ticks at about `count` round numbers, or at the low end alone. */
export function axisTicks(low: number, high: number, count: number, scale: ScaleName = "linear"): Tick[] {
  if (!(high - low > NARROWEST)) return [{ value: low, label: formatNumber(low, 4) }];
  if (scale === "log" && low > 0 && high / low > 3) {
    const values = thinned(scaleLog().domain([low, high]).ticks(count), count);
    if (values.length >= 2) return values.map((value) => ({ value, label: formatNumber(value, 3) }));
  }
  return ticksAt(scaleNumbers(low, high, Math.max(count, 2)));
}

/** Of an axis that counts, such as steps: at whole numbers alone. A part between two of them has none. */
export function countTicks(low: number, high: number, count: number, scale: ScaleName = "linear"): Tick[] {
  const found = axisTicks(low, high, count, scale);
  if (found.every(({ value }) => Number.isInteger(value))) return found;
  const first = Math.ceil(low);
  const inside = Math.floor(high) - first + 1;
  // Where round numbers are less than one apart, there are hardly more whole numbers than ticks.
  return inside <= 2 * count
    ? ticksAt(Array.from({ length: Math.max(inside, 0) }, (_, index) => first + index))
    : found.filter(({ value }) => Number.isInteger(value));
}

/** Ticks at these places. */
export function ticksAt(values: readonly number[]): Tick[] {
  const labels = formatTicks(values);
  return values.map((value, index) => ({ value, label: labels[index] as string }));
}

/** d3 gives every 1, 2, … 9 of each power where few powers are in sight: keep 1, 2, 5, or the powers alone. */
function thinned(values: readonly number[], count: number): number[] {
  if (values.length <= 1.5 * count) return [...values];
  const leading = (value: number) => Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9));
  const few = values.filter((value) => [1, 2, 5].includes(leading(value)));
  if (few.length <= count + 2) return few;
  const powers = values.filter((value) => leading(value) === 1);
  const every = Math.ceil(powers.length / count);
  return powers.filter((_, index) => index % every === 0);
}
