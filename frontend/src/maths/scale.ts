/** A scale from values to pixels and back. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from "d3-scale";
import type { ScaleName } from "./color";

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
