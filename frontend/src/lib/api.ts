/**
 * The plugin's routes (docs/http-api.md), one function each. Addresses are relative: the document's base is the
 * plugin's folder, below whatever prefix or proxy TensorBoard has.
 */
import { ascendingOrder, reorder } from "@/maths/grid";
import { decode } from "./decoding";
import {
  type ArrayRecord,
  GEOMETRIES,
  type Geometry,
  parseHeader,
  type Series,
  type SliceHeader,
  SPREAD,
} from "./slice";

export interface TagInfo {
  readonly run: string;
  readonly tag: string;
  readonly sliceType: string;
  readonly geometry: Geometry | null;
  readonly description: string;
  readonly problem: string | null;
  /** The highest step; null where the server does not say, or it is none of `Steps`. */
  readonly lastStep: number | null;
}

export interface Steps {
  /** Those that a number of this language holds exactly: two others may be read as the same one. */
  readonly steps: readonly number[];
  readonly wallTimes: readonly number[];
  /** How many there are besides. */
  readonly beyond?: number;
  readonly sampled: boolean;
  readonly limit: number;
}

/** A reply that is not what was asked for; the message is the server's own, or says what happened. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number | null;

  constructor(message: string, status: number | null = null) {
    super(message);
    this.status = status;
  }
}

/** There was no reply: what was had before is still the best that is known. */
export class ConnectionError extends ApiError {
  override name = "ConnectionError";
}

/** A query that fits into a GET, which the browser may cache. */
const MAX_QUERY = 8192;

type Answer = (address: string, init: RequestInit) => Promise<Response>;

let answer: Answer = (address, init) => fetch(address, init);
let served = true;

/** For a page without a server: `given` answers each request from now on. */
export function answerBy(given: Answer): void {
  answer = given;
  served = false;
}

/** Whether the numbers of a slice can be downloaded. */
export function hasDownloads(): boolean {
  return served;
}

let lastTags: { readonly text: string; readonly tags: readonly TagInfo[] } | null = null;

/**
 * The same list again, not an equal one, where nothing has changed: it may be long. `started` is the answer to a request
 * that was made before the page's own script was there.
 */
export async function fetchTags(
  signal?: AbortSignal,
  started?: Promise<Response | null>,
): Promise<readonly TagInfo[]> {
  const early = await started;
  const response = early?.ok ? early : await request("tags", signal);
  const text = await response.text();
  if (lastTags?.text === text) return lastTags.tags;
  const tags = readTags(parsed(text, response.status));
  lastTags = { text, tags };
  return tags;
}

/** Such as a log-in page that a proxy sends instead. */
function unexpected(status: number): ApiError {
  return new ApiError(
    "the server's reply is not in the plugin's form: reload the page, and log in if asked",
    status,
  );
}

function readTags(reply: unknown): TagInfo[] {
  if (typeof reply !== "object" || reply === null) throw unexpected(200);
  const runs = reply as Record<string, Record<string, Record<string, unknown>>>;
  return Object.entries(runs).flatMap(([run, tags]) =>
    Object.entries(tags).map(([tag, info]) => ({
      run,
      tag,
      sliceType: typeof info.slice_type === "string" ? info.slice_type : "unknown",
      geometry: GEOMETRIES.find((name) => name === info.geometry) ?? null,
      description: typeof info.description === "string" ? info.description : "",
      problem: typeof info.problem === "string" ? info.problem : null,
      lastStep: Number.isSafeInteger(info.last_step) ? (info.last_step as number) : null,
    })),
  );
}

export async function fetchSteps(run: string, tag: string, signal?: AbortSignal): Promise<Steps> {
  const reply = (await getJson(`steps?${new URLSearchParams({ run, tag })}`, signal)) as {
    steps: number[];
    wall_times: number[];
    sampled: boolean;
    limit: number;
  };
  if (!Array.isArray(reply?.steps) || !Array.isArray(reply.wall_times)) throw unexpected(200);
  const held = reply.steps.map(Number.isSafeInteger);
  const steps = reply.steps.filter((_, index) => held[index]);
  return {
    steps,
    wallTimes: reply.wall_times.filter((_, index) => held[index]),
    beyond: reply.steps.length - steps.length,
    sampled: reply.sampled,
    limit: reply.limit,
  };
}

export async function fetchHeader(
  run: string,
  tag: string,
  step: number,
  signal?: AbortSignal,
): Promise<SliceHeader> {
  const query = new URLSearchParams({ run, tag, step: String(step) });
  return parseHeader(await getJson(`header?${query}`, signal));
}

/** Where a browser downloads the slice as a file, see `hasDownloads`. */
export function exportAddress(
  run: string,
  tag: string,
  step: number,
  format: "csv" | "npz" | "json",
): string {
  return `export?${new URLSearchParams({ run, tag, step: String(step), format })}`;
}

export interface SeriesChoice {
  readonly name: string;
  readonly split: string;
}

/** The arrays of the chosen series that the page draws or tells. */
export function chosenArrays(header: SliceHeader, choices: readonly SeriesChoice[]): ArrayRecord[] {
  return choices.flatMap(({ name, split }) => {
    const names = [name, ...(header.geometry === "curve" ? SPREAD.map((part) => `${name}_${part}`) : [])];
    const own = header.arrays.filter(
      (array) =>
        array.split === split &&
        (array.name === name || (names.includes(array.name) && array.role === "value")),
    );
    // How many samples a point has is the same everywhere, unless some points were filled in.
    const counted = own.some((array) => array.role === "interpolated");
    return own.filter((array) => array.role !== "count" || counted);
  });
}

/** The blobs that hold the chosen series, but for those of arrays that are known. */
export function blobsOf(
  header: SliceHeader,
  choices: readonly SeriesChoice[],
  known: ReadonlyMap<ArrayRecord, Float64Array> = new Map(),
): number[] {
  const missing = chosenArrays(header, choices).filter((array) => !known.has(array));
  return [...new Set(missing.map((array) => array.blob))];
}

interface Decoding {
  readonly known?: ReadonlyMap<ArrayRecord, Float64Array>;
  readonly onDecoded?: (array: ArrayRecord, values: Float64Array) => void;
  readonly signal?: AbortSignal | undefined;
}

export async function decodeSeries(
  header: SliceHeader,
  choices: readonly SeriesChoice[],
  blobs: ReadonlyMap<number, Uint8Array>,
  { known, onDecoded, signal }: Decoding = {},
): Promise<Series[]> {
  const wanted = chosenArrays(header, choices);
  const decodeOne = async (array: ArrayRecord): Promise<Float64Array> => {
    const found = known?.get(array);
    if (found) return found;
    const bytes = blobs.get(array.blob);
    if (!bytes) throw new ApiError(`the server sent no data for array ${array.blob}`);
    const values = sortedAlongAxes(await decode(bytes, array, signal), array.shape, header);
    onDecoded?.(array, values);
    return values;
  };
  const arrays = await Promise.all(wanted.map(decodeOne));
  const decoded = new Map(wanted.map((array, index) => [array, arrays[index] as Float64Array]));
  return choices.map((choice) => {
    const find = (role: string, name = choice.name) => {
      const array = wanted.find(
        (entry) => entry.role === role && entry.name === name && entry.split === choice.split,
      );
      return array ? (decoded.get(array) ?? null) : null;
    };
    const values = find("value");
    if (!values) throw new ApiError(`the slice holds no ${choice.name} on ${choice.split}`);
    const [mean, low, high] = SPREAD.map((part) => find("value", `${choice.name}_${part}`));
    return {
      name: choice.name,
      split: choice.split,
      spread: mean && low && high ? { mean, low, high } : null,
      values,
      stderr: find("stderr"),
      differenceStderr: find("difference_stderr"),
      count: find("count"),
      interpolated: find("interpolated"),
    };
  });
}

/** The header with its axes in ascending order, as `decodeSeries` returns the values. */
export function ascendingAxes(header: SliceHeader): SliceHeader {
  if (header.axes.every((axis) => ascendingOrder(axis.values) === null)) return header;
  return { ...header, axes: header.axes.map((axis) => ({ ...axis, values: axis.values.toSorted() })) };
}

function sortedAlongAxes(values: Float64Array, shape: readonly number[], header: SliceHeader): Float64Array {
  return header.axes.reduce((sorted, axis, index) => {
    const order = ascendingOrder(axis.values);
    return order ? reorder(sorted, shape, shape.length - header.axes.length + index, order) : sorted;
  }, values);
}

export interface Part {
  readonly step: number;
  readonly blob: number;
  readonly status: number;
  readonly offset?: number;
  readonly length?: number;
  readonly error?: string;
}

export async function fetchBlobs(
  run: string,
  tag: string,
  step: number,
  blobs: readonly number[],
  signal?: AbortSignal,
): Promise<Map<number, Uint8Array>> {
  const found = new Map<number, Uint8Array>();
  for (const { part, bytes } of await fetchBatch(run, tag, [step], blobs, signal)) {
    if (bytes) found.set(part.blob, bytes);
    else if (part.status === 413) found.set(part.blob, await fetchBlob(run, tag, step, part.blob, signal));
    else throw new ApiError(part.error ?? "an array could not be read", part.status);
  }
  return found;
}

/** The parts of one reply, in the order of steps and then blobs; without bytes where a part could not be had. */
export async function fetchBatch(
  run: string,
  tag: string,
  steps: readonly number[],
  blobs: readonly number[],
  signal?: AbortSignal,
): Promise<{ readonly part: Part; readonly bytes: Uint8Array | null }[]> {
  const query = JSON.stringify({ requests: [{ run, tag, steps, blobs }] });
  const encoded = new URLSearchParams({ q: query }).toString();
  const response =
    encoded.length < MAX_QUERY
      ? await request(`batch?${encoded}`, signal)
      : await request("batch", signal, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: query,
        });
  const buffer = await response.arrayBuffer();
  try {
    return partsOf(buffer);
  } catch {
    throw unexpected(response.status);
  }
}

/** Raises where the bytes are no batch. */
function partsOf(buffer: ArrayBuffer): { readonly part: Part; readonly bytes: Uint8Array | null }[] {
  const length = new DataView(buffer).getUint32(0, true);
  const index = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))) as { parts: Part[] };
  return index.parts.map((part) => ({
    part,
    bytes:
      part.status === 200 && part.offset !== undefined && part.length !== undefined
        ? new Uint8Array(buffer, 4 + length + part.offset, part.length)
        : null,
  }));
}

async function fetchBlob(run: string, tag: string, step: number, blob: number, signal?: AbortSignal) {
  const query = new URLSearchParams({ run, tag, step: String(step), array: String(blob) });
  return new Uint8Array(await (await request(`data?${query}`, signal)).arrayBuffer());
}

async function getJson(address: string, signal?: AbortSignal): Promise<unknown> {
  const response = await request(address, signal);
  return parsed(await response.text(), response.status);
}

function parsed(text: string, status: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError("the server's reply is not JSON", status);
  }
}

async function request(address: string, signal?: AbortSignal, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await answer(address, signal ? { ...init, signal } : init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ConnectionError("TensorBoard does not answer: is it still running?");
  }
  if (response.ok) return response;
  const plain = response.headers.get("Content-Type")?.startsWith("text/plain");
  const message = plain ? (await response.text()).trim().slice(0, 2000) : "";
  throw new ApiError(message || `TensorBoard answered with status ${response.status}`, response.status);
}
