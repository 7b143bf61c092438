/** A slice's parts as text for people. */
import { formatCount, formatNumber } from "@/maths/format";
import type { Tails } from "@/maths/range";
import { displayName, LONGEST_LABEL } from "./names";
import type { Json, Series, SliceHeader } from "./slice";

/** `loss (train)`. */
export function seriesLabel({ name, split }: Pick<Series, "name" | "split">): string {
  const shown = displayName(name, LONGEST_LABEL);
  return split ? `${shown} (${displayName(split, LONGEST_LABEL)})` : shown;
}

/** A run without the folder that the command gives its slices: `exp7/loss_slicer` → `exp7`. */
export function shortRun(run: string): string {
  return displayName(run.replace(/\/loss_slicer$/, "") || run);
}

const LONGEST = 400;

/** Only a loss is known to explode upwards alone. */
export function tailsOf(series: Pick<Series, "name">): Tails {
  return series.name === "loss" ? "high" : "both";
}

/** A JSON value on one line: numbers as elsewhere on the page, `key = value` for objects. */
export function jsonText(value: Json | undefined): string {
  const text = spelled(value ?? null);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function spelled(value: Json): string {
  if (value === null) return "–";
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(spelled).join(", ");
  return Object.entries(value)
    .map(([key, entry]) => `${key} = ${spelled(entry)}`)
    .join("; ");
}

/** What the checkpoint's step counts. */
export function stepUnit({ checkpoint }: Pick<SliceHeader, "checkpoint">): "step" | "epoch" {
  return checkpoint.step_unit === "epoch" ? "epoch" : "step";
}

/** `epoch 1,200`. */
export function stepText(header: Pick<SliceHeader, "checkpoint">, step: number): string {
  return `${stepUnit(header)} ${formatCount(step)}`;
}

/** The value of a series at the center, where the log has it. */
export function centerOf({ center }: SliceHeader, { name, split }: Series): number | undefined {
  return name === "loss" ? center?.loss[split] : center?.metrics[name]?.[split];
}

/** `explained_variance` → `explained variance`. */
export function words(name: string): string {
  return displayName(name.replaceAll("_", " "), LONGEST_LABEL);
}

/** `provisional, 40 % of the points, about 3 min left at 14:05`: the run may have been stopped since. */
export function provisionalText({
  filled,
  secondsLeft,
  asOf,
}: Pick<SliceHeader, "filled" | "secondsLeft" | "asOf">): string {
  const at = asOf === null ? "" : ` at ${timeOfDay(asOf)}`;
  const left = secondsLeft === null ? "" : `, about ${duration(secondsLeft)} left${at}`;
  return `provisional, ${Math.floor(filled * 100)} % of the points${left}`;
}

/** Here, as `14:05`; with the date before it where it is not today's. */
function timeOfDay(seconds: number): string {
  const then = new Date(seconds * 1000);
  if (Number.isNaN(then.getTime())) return "an unknown time";
  const [hours, minutes] = [then.getHours(), then.getMinutes()].map((part) => String(part).padStart(2, "0"));
  const date = then.toDateString() === new Date().toDateString() ? "" : `${then.toDateString()}, `;
  return `${date}${hours}:${minutes}`;
}

/** A length of time in its largest unit. */
export function duration(seconds: number): string {
  if (seconds < 100) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** Whether a measure, such as a width, ends where the range of its slice does: it may be greater. */
export function isCut(details: Json): boolean {
  if (details === null || typeof details !== "object" || Array.isArray(details)) return false;
  const { cut } = details as Readonly<Record<string, Json>>;
  return cut !== undefined && cut !== null && typeof cut === "object" && Object.values(cut).includes("range");
}
