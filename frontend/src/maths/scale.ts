/** A scale from values to pixels and back, and what it says where it is not the one that was asked for. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from "d3-scale";
import type { ScaleName } from "./color";
import { plural } from "./format";

export type Scale = ScaleContinuousNumeric<number, number>;

/** Logarithmic only where the whole domain is above zero. */
export function scaleOf(
  domain: readonly [number, number],
  pixels: readonly [number, number],
  scale: ScaleName = "linear",
): Scale {
  const made = scale === "log" && domain[0] > 0 ? scaleLog() : scaleLinear();
  return made.domain(domain).range(pixels);
}

/** Why an axis or colours that should be logarithmic are not; nothing where they are, or where no value is finite. */
export function linearText(wanted: ScaleName, low: number | undefined): string {
  return wanted === "log" && low !== undefined && !(low > 0)
    ? "Linear, not logarithmic: not all values are above zero."
    : "";
}

/** The same of several plots with a range each: from their lowest values. */
export function linearCurvesText(wanted: ScaleName, lows: readonly number[]): string {
  const count = wanted === "log" ? lows.filter((low) => low <= 0).length : 0;
  return count === 0
    ? ""
    : `${plural(count, "curve has", "curves have")} a linear axis: not all of the values are above zero.`;
}

/** What a logarithmic horizontal axis leaves out of these places. */
export function leftOutText(wanted: ScaleName, places: Iterable<number>): string {
  if (wanted === "linear") return "";
  let [left, kept] = [0, 0];
  for (const place of places) {
    if (place > 0) kept += 1;
    else left += 1;
  }
  if (kept === 0) return left === 0 ? "" : "The horizontal axis is linear: no point lies above zero.";
  return left === 0 ? "" : `${plural(left, "point is", "points are")} not shown: logarithms end at zero.`;
}
