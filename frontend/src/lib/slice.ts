/**
 * A slice as the page knows it, read from a header that anyone may have written: what the drawing relies on is
 * checked here, so that views need not.
 */
import { CODECS, type Codec, DTYPES, type Dtype } from "@/maths/decode";
import { displayName, LONGEST_LABEL } from "./names";

export const GEOMETRIES = ["curve", "curves", "grid"] as const;
export type Geometry = (typeof GEOMETRIES)[number];

export const ROLES = ["value", "stderr", "count", "interpolated", "difference_stderr"] as const;
export type Role = (typeof ROLES)[number];

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Axis {
  readonly name: string;
  readonly label: string;
  readonly values: Float64Array;
}

export interface ArrayRecord {
  readonly name: string;
  readonly split: string;
  readonly role: Role;
  readonly blob: number;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly codec: Codec;
}

export interface Curve {
  readonly name: string;
  readonly layer: string;
  /** The entry of its tensor, and the tensor's shape; empty where the curve moves more than one entry. */
  readonly index: readonly number[];
  readonly shape: readonly number[];
  readonly center: number | null;
}

export interface Direction {
  readonly name: string;
  readonly recipe: Readonly<Record<string, Json>>;
  readonly norm: number | null;
  readonly explainedVariance: number | null;
  readonly eigenvalue: number | null;
}

export interface Marker {
  readonly name: string;
  readonly coordinates: readonly number[];
  readonly loss: Readonly<Record<string, number>>;
}

export interface Trajectory {
  readonly steps: readonly number[];
  readonly coordinates: readonly (readonly number[])[];
  /** Each point's distance from the plane; empty where the log has none. */
  readonly residuals: readonly number[];
  /** Each point's own loss by split; a list is as long as the others. */
  readonly losses: Readonly<Record<string, readonly number[]>>;
}

export interface Center {
  /** At the point itself, by split. */
  readonly loss: Readonly<Record<string, number>>;
  /** The same on all samples, where the slice has a part of them. */
  readonly wholeLoss: Readonly<Record<string, number>>;
  /** The same without the weight decay that the slice's losses have in them. */
  readonly dataLoss: Readonly<Record<string, number>>;
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly step: number | null;
  readonly norm: number | null;
}

export interface Measure {
  readonly name: string;
  readonly value: number | null;
  readonly error: number | null;
  readonly details: Json;
}

export interface SliceHeader {
  readonly id: string;
  readonly sliceType: string;
  readonly geometry: Geometry;
  readonly provisional: boolean;
  readonly filled: number;
  /** Of a provisional slice: until it is complete. */
  readonly secondsLeft: number | null;
  /** When that was so, in seconds since 1970. */
  readonly asOf: number | null;
  readonly axes: readonly Axis[];
  readonly arrays: readonly ArrayRecord[];
  readonly curves: readonly Curve[];
  readonly directions: readonly Direction[];
  readonly cosine: number | null;
  readonly center: Center | null;
  readonly measures: readonly Measure[];
  readonly markers: readonly Marker[];
  readonly trajectory: Trajectory | null;
  readonly checkpoint: Readonly<Record<string, Json>>;
  readonly evaluation: Readonly<Record<string, Json>>;
  readonly config: Readonly<Record<string, Json>>;
}

/** One quantity on one split at every point, with what belongs to it. */
export interface Series {
  readonly name: string;
  readonly split: string;
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
  /** Of the paired difference to the center. */
  readonly differenceStderr: Float64Array | null;
  readonly count: Float64Array | null;
  /** Not zero where a point was filled in rather than evaluated. */
  readonly interpolated: Float64Array | null;
  /** Over several directions, of which the values are those of the first; only of curves. */
  readonly spread?: Spread | null;
}

export interface Spread {
  readonly mean: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** The arrays of a `Spread` are named after their series: `loss_mean`, … */
export const SPREAD = ["mean", "low", "high"] as const;

/** What a dashboard draws: one slice of one run and tag at one step, with the chosen series (at least one). */
export interface SliceData {
  readonly run: string;
  readonly tag: string;
  readonly step: number;
  readonly header: SliceHeader;
  readonly series: readonly [Series, ...Series[]];
}

export class HeaderError extends Error {
  override name = "HeaderError";
}

const MAX_POINTS_AN_AXIS = 1_000_000;
const FURTHEST = 1e300;

/** Raises HeaderError, with a message for a person, where the header can't be drawn. */
export function parseHeader(value: unknown): SliceHeader {
  const fields = record(value, "the header");
  const geometry = GEOMETRIES.find((name) => name === fields.geometry);
  if (!geometry)
    throw new HeaderError(`this page draws ${GEOMETRIES.join(", ")}, not ${shown(fields.geometry)}`);
  const axes = list(fields.axes, "axes").map(parseAxis);
  if (axes.length !== (geometry === "grid" ? 2 : 1)) {
    throw new HeaderError(`a slice of geometry ${geometry} can't have ${axes.length} axes`);
  }
  const curves = list(fields.curves ?? [], "curves").map(parseCurve);
  const sizes = axes.map((axis) => axis.values.length);
  const shape = geometry === "curves" ? [curves.length, ...sizes] : sizes;
  const arrays = list(fields.arrays, "arrays").flatMap((entry) => parseArray(entry, shape));
  if (!arrays.some((array) => array.role === "value")) throw new HeaderError("the slice holds no values");
  const filled = numberOrNull(fields.filled) ?? 1;
  return {
    id: text(fields.id),
    sliceType: text(fields.slice_type) || "unknown",
    geometry,
    provisional: fields.status === "provisional",
    filled: Math.min(Math.max(filled, 0), 1),
    secondsLeft: numberOrNull(optionalRecord(fields.evaluation).seconds_left),
    asOf: numberOrNull(optionalRecord(fields.evaluation).as_of),
    axes,
    arrays,
    curves,
    directions: optionalList(fields.directions).map(parseDirection),
    cosine: numberOrNull(fields.cosine),
    center: fields.center == null ? null : parseCenter(fields.center),
    measures: Object.entries(optionalRecord(fields.measures)).map(([name, entry]) => ({
      name,
      value: numberOrNull(optionalRecord(entry).value),
      error: numberOrNull(optionalRecord(entry).error),
      details: (optionalRecord(entry).details ?? null) as Json,
    })),
    markers: optionalList(fields.markers).flatMap((entry) => parseMarker(entry, axes.length)),
    trajectory: parseTrajectory(fields.trajectory, axes.length),
    checkpoint: optionalRecord(fields.checkpoint) as Record<string, Json>,
    evaluation: optionalRecord(fields.evaluation) as Record<string, Json>,
    config: optionalRecord(fields.config) as Record<string, Json>,
  };
}

function parseAxis(value: unknown, index: number): Axis {
  const fields = record(value, `axis ${index}`);
  const entries = list(fields.values, `the values of axis ${index}`);
  if (entries.length === 0 || entries.length > MAX_POINTS_AN_AXIS) {
    throw new HeaderError(`axis ${index} has ${entries.length} values`);
  }
  const values = Float64Array.from(entries, (entry) => (typeof entry === "number" ? entry : Number.NaN));
  if (!values.every(Number.isFinite)) throw new HeaderError(`axis ${index} has values that are not finite`);
  // Between its ends, with room at both, lie numbers too.
  if (!values.every((value) => Math.abs(value) < FURTHEST)) {
    throw new HeaderError(`axis ${index} reaches further than this page can draw`);
  }
  const name = text(fields.name) || `axis ${index}`;
  return { name, label: displayName(text(fields.label) || name, LONGEST_LABEL), values };
}

/** None where the role is one that this page does not know. */
function parseArray(value: unknown, shape: readonly number[]): ArrayRecord[] {
  const fields = record(value, "an array's record");
  const name = text(fields.name) || "loss";
  const dtype = DTYPES.find((entry) => entry === fields.dtype);
  const codec = CODECS.find((entry) => entry === fields.codec);
  const role = ROLES.find((entry) => entry === (fields.role ?? "value"));
  if (!role && typeof fields.role === "string") return [];
  const blob = fields.blob;
  if (!dtype || !codec || !role || typeof blob !== "number" || !Number.isInteger(blob) || blob < 1) {
    throw new HeaderError(`array ${shown(name)} is stored in a form that this page does not read`);
  }
  const sizes = list(fields.shape, `the shape of array ${shown(name)}`);
  if (sizes.length !== shape.length || sizes.some((size, index) => size !== shape[index])) {
    throw new HeaderError(
      `array ${shown(name)} has shape ${sizes.join(" × ")}, the slice has ${shape.join(" × ")}`,
    );
  }
  return [{ name, split: text(fields.split), role, blob, dtype, shape, codec }];
}

function parseCurve(value: unknown, index: number): Curve {
  const fields = optionalRecord(value);
  return {
    name: displayName(text(fields.name)) || `curve ${index}`,
    layer: displayName(text(fields.layer)),
    index: optionalList(fields.index).filter(isFiniteNumber),
    shape: optionalList(fields.shape).filter(isFiniteNumber),
    center: numberOrNull(fields.center),
  };
}

function parseDirection(value: unknown, index: number): Direction {
  const fields = optionalRecord(value);
  return {
    name: text(fields.name) || `direction ${index}`,
    recipe: optionalRecord(fields.recipe) as Record<string, Json>,
    norm: numberOrNull(fields.norm),
    explainedVariance: numberOrNull(fields.explained_variance),
    eigenvalue: numberOrNull(fields.eigenvalue),
  };
}

function parseCenter(value: unknown): Center {
  const fields = optionalRecord(value);
  return {
    loss: numbers(fields.loss),
    wholeLoss: numbers(fields.whole_loss),
    dataLoss: numbers(fields.data_loss),
    metrics: byName(optionalRecord(fields.metrics), numbers),
    step: numberOrNull(fields.step),
    norm: numberOrNull(fields.norm),
  };
}

function parseMarker(value: unknown, dimensions: number): Marker[] {
  const fields = optionalRecord(value);
  const coordinates = optionalList(fields.coordinates);
  if (coordinates.length < dimensions || !coordinates.every(isFiniteNumber)) return [];
  return [{ name: displayName(text(fields.name), LONGEST_LABEL), coordinates, loss: numbers(fields.loss) }];
}

function parseTrajectory(value: unknown, dimensions: number): Trajectory | null {
  const fields = optionalRecord(value);
  const points = optionalList(fields.coordinates).map(optionalList);
  const steps = optionalList(fields.steps);
  if (points.length === 0) return null;
  const kept = points.flatMap((point, index) =>
    point.length >= dimensions && point.every(isFiniteNumber)
      ? [{ point, index, step: isFiniteNumber(steps[index]) ? steps[index] : index }]
      : [],
  );
  // A list that is not as long as the path belongs to no point of it.
  const along = (list: unknown[]) =>
    list.length === points.length ? kept.map((entry) => numberOrNull(list[entry.index]) ?? Number.NaN) : [];
  return {
    steps: kept.map((entry) => entry.step),
    coordinates: kept.map((entry) => entry.point),
    residuals: along(optionalList(fields.residuals)),
    losses: byName(
      Object.fromEntries(
        Object.entries(optionalRecord(fields.losses)).filter(
          ([, values]) => along(optionalList(values)).length > 0,
        ),
      ),
      (values) => along(optionalList(values)),
    ),
  };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HeaderError(`${what} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function optionalRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw new HeaderError(`${what} is not a list`);
  return value;
}

function optionalList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function numberOrNull(value: unknown): number | null {
  return isFiniteNumber(value) ? value : null;
}

/** Name → number; null in the log stands for a number that is not finite. */
function numbers(value: unknown): Record<string, number> {
  return byName(optionalRecord(value), (entry) => numberOrNull(entry) ?? Number.NaN);
}

/** With these names alone: a usual object also has a `constructor`, and a split may be called so. */
function byName<T>(
  fields: Readonly<Record<string, unknown>>,
  parse: (entry: unknown) => T,
): Record<string, T> {
  const found: Record<string, T> = Object.create(null);
  for (const [name, entry] of Object.entries(fields)) found[name] = parse(entry);
  return found;
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? "nothing";
}
