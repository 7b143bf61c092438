/**
 * The command line that made a slice, from the configuration in its header. The log may be anyone's, and people paste
 * what they copy: every word is quoted for the shell, and what can't be shown plainly gives no command at all.
 */
import type { Json, SliceHeader } from "./slice";

export interface Region {
  /** The part of each axis that is wanted, in its units, low before high. */
  readonly ranges: readonly (readonly [number, number])[];
  /** Points along each axis. */
  readonly points: readonly number[];
}

/** What the command does where an option is not given; a configuration entry that equals it is left out. */
const DEFAULTS: Readonly<Record<string, Json>> = {
  steps: "all",
  normalize: "filter",
  ignore: "biasbn",
  seed: 0,
  center: "each",
  scale_from: "each",
  weight_decay: 0,
  split: "train",
  batch_coupled: false,
  device: "auto",
  strategy: "auto",
  compile: "auto",
  executor: "local",
};

/** Entries that are not options, or not of what is repeated. */
const LEFT_OUT = new Set([
  "method_options",
  "set",
  "fresh",
  "quiet",
  "verbose",
  "json",
  "dry_run",
  "trust_checkpoint",
]);

/** Methods whose directions at a step depend on no other checkpoint, so that one step can be made alone. */
const ALONE = new Set(["random1d", "random2d", "axis", "layers", "hessian1d", "hessian2d"]);

const OPTION = /^[a-z][a-z0-9_]*$/;
const PLAIN = /^[A-Za-z0-9_./:,=+@%-]+$/;
const UNSEEN = /[\p{Cc}\p{Cf}\u2028\u2029]/u;

/** `loss-slicer run …`, or null where the header holds no configuration that can be written as a command. */
export function commandOf(header: SliceHeader, region?: Region): string | null {
  const entries: Record<string, Json> = { ...header.config };
  if (typeof entries.method !== "string" || !Array.isArray(entries.checkpoints)) return null;
  if (region) {
    entries.grid = region.points.join("x");
    entries.range = region.ranges.map(([low, high]) => `${short(low)}:${short(high)}`).join(",");
    const step = header.checkpoint.step;
    if (ALONE.has(entries.method) && entries.center === "each" && typeof step === "number") {
      entries.steps = String(step);
    }
    entries.name = `${typeof entries.name === "string" ? entries.name : entries.method}-part`;
  }
  const words = ["loss-slicer", "run"];
  for (const [name, value] of Object.entries(entries)) {
    if (LEFT_OUT.has(name) || same(value, DEFAULTS[name])) continue;
    const added = option(name, value);
    if (!added) return null;
    words.push(...added);
  }
  for (const [key, value] of pairs(entries.set)) words.push("--set", `${key}=${scalarText(value)}`);
  for (const [name, value] of pairs(entries.method_options)) {
    const added = option(name, value);
    if (!added) return null;
    words.push(...added);
  }
  if (words.some((word) => UNSEEN.test(word))) return null;
  return words.map(quoted).join(" ");
}

/** The part of a slice that is in view, at twice the resolution; null where the view is the whole slice. */
export function finerRegion(
  header: SliceHeader,
  visible: readonly (readonly [number, number])[],
): Region | null {
  const whole = header.axes.every(({ values }, index) => {
    const [low, high] = visible[index] ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    return low <= (values[0] as number) && high >= (values[values.length - 1] as number);
  });
  if (whole || visible.length !== header.axes.length) return null;
  const ranges = header.axes.map(({ values }, index) => {
    const [low, high] = visible[index] as readonly [number, number];
    return [Math.max(low, values[0] as number), Math.min(high, values[values.length - 1] as number)] as const;
  });
  if (ranges.some(([low, high]) => !(low < high))) return null;
  // As many points as the whole slice has: its part is finer by what it is smaller.
  return { ranges, points: header.axes.map(({ values }) => Math.max(values.length, 2)) };
}

function option(name: string, value: Json): string[] | null {
  if (!OPTION.test(name)) return null;
  const flag = `--${name.replaceAll("_", "-")}`;
  if (value === null || value === false) return [];
  if (value === true) return [flag];
  if (typeof value === "object" && !Array.isArray(value)) return null;
  const values = Array.isArray(value) ? value : [value];
  if (values.some((entry) => typeof entry === "object" || typeof entry === "boolean")) return null;
  return values.flatMap((entry) => [flag, scalarText(entry)]);
}

function pairs(value: Json | undefined): [string, Json][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}

function scalarText(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function same(value: Json, usual: Json | undefined): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return usual !== undefined && value === usual;
}

/** Enough digits to see the difference, not more. */
function short(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** POSIX: inside single quotes nothing but the quote itself is special. */
function quoted(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
