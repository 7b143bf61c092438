/** A picture in one or two sentences: for people who can't see it, and for those who want the numbers. */
import { digitsAmong, formatCount, formatEnds, formatNumber, plural } from "./format";

interface Extreme {
  readonly min: number;
  readonly max: number;
  readonly minAt: number;
  readonly nonfinite: number;
}

/** Least and greatest finite value; null where there is none. */
export function extremes(values: Float64Array): Extreme | null {
  let [min, max, minAt, nonfinite] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 0];
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as number;
    if (!Number.isFinite(value)) nonfinite += 1;
    else {
      if (value < min) {
        min = value;
        minAt = index;
      }
      if (value > max) max = value;
    }
  }
  return minAt < 0 ? null : { min, max, minAt, nonfinite };
}

/** `center` is the value at the center, where it is known. */
export function curveSummary(
  label: string,
  xLabel: string,
  x: Float64Array,
  values: Float64Array,
  center?: number,
): string {
  const found = extremes(values);
  const points = plural(x.length, "point");
  if (!found) return `${sentenceCase(label)}: none of the ${points} is finite.`;
  const range = rangeText(found);
  const place = formatNumber(x[found.minAt] as number, digitsAmong(x, 4));
  // Where all values are the same, none is the lowest.
  const lowest = found.min < found.max ? `, lowest at ${xLabel} = ${place}` : "";
  return `${sentenceCase(label)}: ${range} over ${points}${lowest}${centerText(found, center)}.${nonfiniteText(found.nonfinite)}`;
}

/** Sentences of summaries in a row: more than these would push the plot out of sight, and the legend is cut as well. */
const MOST_SUMMARIES = 8;

export function summaries(sentences: readonly string[]): string {
  const shown = sentences.length <= MOST_SUMMARIES ? sentences : sentences.slice(0, MOST_SUMMARIES - 1);
  const missing = sentences.length - shown.length;
  return [...shown, ...(missing > 0 ? [`And ${formatCount(missing)} more lines.`] : [])].join(" ");
}

/** How many of the values of a curve are lower bounds; nothing where none is. */
export function lowerBoundsText(atLeast: Uint8Array): string {
  const count = atLeast.reduce((sum, entry) => sum + entry, 0);
  return count === 0 ? "" : ` ${count} of ${plural(atLeast.length, "value")} may be greater: open triangles.`;
}

export function gridSummary(
  label: string,
  axes: readonly [string, string],
  x: Float64Array,
  y: Float64Array,
  values: Float64Array,
  center?: number,
): string {
  const found = extremes(values);
  const size = `${x.length} × ${y.length} points`;
  if (!found) return `${sentenceCase(label)}: none of the ${size} is finite.`;
  const [i, j] = [Math.floor(found.minAt / y.length), found.minAt % y.length];
  const place = [
    formatNumber(x[i] as number, digitsAmong(x, 4)),
    formatNumber(y[j] as number, digitsAmong(y, 4)),
  ];
  const lowest =
    found.min < found.max ? `, lowest at ${axes[0]} = ${place[0]}, ${axes[1]} = ${place[1]}` : "";
  return `${sentenceCase(label)}: ${rangeText(found)} on ${size}${lowest}${centerText(found, center)}.${nonfiniteText(found.nonfinite)}`;
}

export function familySummary(label: string, count: number, points: number, values: Float64Array): string {
  const found = extremes(values);
  const size = `${plural(count, "curve")} of ${plural(points, "point")}`;
  if (!found) return `${sentenceCase(label)}: ${size}, none of them finite.`;
  return `${sentenceCase(label)}: ${rangeText(found)} on ${size}.${nonfiniteText(found.nonfinite)}`;
}

function rangeText({ min, max }: Extreme): string {
  return min === max ? formatNumber(min) : formatEnds(min, max, 4).join(" to ");
}

function centerText({ min, max }: Extreme, center: number | undefined): string {
  if (center === undefined) return "";
  return `; ${formatNumber(center, digitsAmong([min, max], 4))} at the center`;
}

function nonfiniteText(count: number): string {
  return count === 0 ? "" : ` ${plural(count, "value is", "values are")} not finite.`;
}

function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
