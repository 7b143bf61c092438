/** Numbers as text: one way everywhere, with a true minus and no trailing noise. */

const MINUS = "\u2212";

/** All digits that a number has: values that differ are told apart. */
const EXACT = 15;

/** Up to `digits` significant digits; very large and very small numbers as 1.2e−7. */
export function formatNumber(value: number, digits = 7): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : `${MINUS}\u221e`;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 10 ** Math.max(digits, 6)) {
    const text = value.toPrecision(digits);
    return signed(text.includes("e") ? String(Number(text)) : trimZeros(text));
  }
  const [mantissa = "", exponent = ""] = value.toExponential(digits - 1).split("e");
  return `${signed(trimZeros(mantissa))}e${signed(exponent.replace("+", ""))}`;
}

/** `value ± error`, the error to two significant digits. */
export function formatWithError(value: number, error: number | null | undefined, digits = 7): string {
  const text = formatNumber(value, digits);
  return error === null || error === undefined || !Number.isFinite(error)
    ? text
    : `${text} \u00b1 ${formatNumber(error, 2)}`;
}

/** Both ends of a range, with as many digits as tell them apart, at least so many. */
export function formatEnds(low: number, high: number, least = 3): [string, string] {
  const digits = digitsWithin(low, high, 2, least);
  return [formatNumber(low, digits), formatNumber(high, digits)];
}

/** As many digits as tell `low` from `high`, and so many more; at least `least`. */
function digitsWithin(low: number, high: number, more: number, least: number): number {
  const share = (high - low) / Math.max(Math.abs(low), Math.abs(high));
  return share > 0 ? Math.min(Math.max(Math.ceil(-Math.log10(share)) + more, least), EXACT) : least;
}

/** Of a value among others: four digits of what they differ in, so that those of a nearly flat curve are told apart. */
const OF_DIFFERENCES = 4;

/** How many digits one of these values has, at least `least`. */
export function digitsAmong(values: ArrayLike<number>, least = 7): number {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as number;
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return digitsWithin(low, high, OF_DIFFERENCES, least);
}

/** Two numbers from a thousandth on differ in them. */
const MOST_DECIMALS = 20;

/** Labels of ticks that belong together: as many decimals as their spacing needs, the same for all. */
export function formatTicks(values: readonly number[]): string[] {
  const largest = Math.max(...values.map(Math.abs), 0);
  const step = values.length > 1 ? Math.abs((values[1] as number) - (values[0] as number)) : largest;
  if (values.length === 0 || largest === 0) return values.map(() => "0");
  const spacing = step > 0 ? step : largest;
  const decimals = Math.min(Math.max(0, -Math.floor(Math.log10(spacing) + 1e-9)), MOST_DECIMALS);
  if (largest >= 1e5 || largest < 1e-3) {
    const digits = Math.max(
      0,
      Math.floor(Math.log10(largest) + 1e-9) - Math.floor(Math.log10(spacing) + 1e-9),
    );
    // Zeros that all of them would end in say nothing.
    const needed = Math.max(...values.map((value) => decimalsOf(value, digits)));
    const powers = values.map((value) => {
      if (value === 0) return "0";
      const [mantissa = "", exponent = ""] = value.toExponential(needed).split("e");
      return `${signed(mantissa)}e${signed(exponent.replace("+", ""))}`;
    });
    const whole = values.map((value) => signed(value.toFixed(decimals)));
    const longest = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length));
    return largest < 1e15 && longest(whole) < longest(powers) ? whole : powers;
  }
  return values.map((value) => signed(value.toFixed(decimals)));
}

/** 12,345 with thin groups, for steps and counts. */
export function formatCount(value: number): string {
  // Not by toLocaleString: its first call reads the language's tables, which the first plot would wait for.
  const digits = String(Math.round(Math.abs(value))).replace(/\B(?=(\d{3})+$)/g, ",");
  return value < 0 && digits !== "0" ? `${MINUS}${digits}` : digits;
}

/** 1 point, 2 points. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Of the at most `digits` decimals of a number as a power of ten: how many come before trailing zeros. */
function decimalsOf(value: number, digits: number): number {
  const [mantissa = ""] = value.toExponential(digits).split("e");
  return trimZeros(mantissa).split(".")[1]?.length ?? 0;
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function signed(text: string): string {
  return text.startsWith("-") ? `${MINUS}${text.slice(1)}` : text;
}
