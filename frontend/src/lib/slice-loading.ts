/**
 * Slices with the arrays that are looked at. TensorBoard closes the connection after each reply, and a header has to be
 * read to know its arrays: so header and arrays are asked for together, by what was true of the tag before.
 */

import {
  ApiError,
  ascendingAxes,
  blobsOf,
  chosenArrays,
  decodeSeries,
  fetchBatch,
  fetchBlobs,
  fetchHeader,
  type Part,
  type SeriesChoice,
} from "./api";
import { alreadyDecoded, rememberDecoded } from "./cache-budget";
import {
  type ArrayRecord,
  parseHeader,
  type Series,
  type SliceData,
  type SliceHeader,
  SPREAD,
} from "./slice";

export interface TagKey {
  readonly run: string;
  readonly tag: string;
}

/** Which series of a slice to load. Empty strings stand for the slice's own first. */
export interface SeriesSelection {
  readonly metric: string;
  readonly split: string;
}

export const ALL_SPLITS = "*";
export const ALL_METRICS = "*";

/** Where the loss, its error and the error of the difference to the center usually lie. */
const USUAL_BLOBS = [1, 2, 4];
/** More tags than anyone looks at in turn. */
const MAX_REMEMBERED = 1000;

/** The blobs that the last slice of a tag had for a selection. */
const remembered = new Map<string, readonly number[]>();

interface Loading {
  readonly signal?: AbortSignal | undefined;
  /** A header whose arrays probably lie where those of the wanted slices do. */
  readonly like?: SliceHeader | undefined;
}

function remember(key: string, blobs: readonly number[]): void {
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(key, blobs);
}

/**
 * The slices of some steps of a tag, in one request where their arrays lie where they did before.
 *
 * A step that can't be read has an error in the place of its slice.
 */
export async function loadSlices(
  { run, tag }: TagKey,
  steps: readonly number[],
  selection: SeriesSelection,
  { signal, like }: Loading = {},
): Promise<Map<number, SliceData | Error>> {
  const key = JSON.stringify([run, tag, selection.metric, selection.split]);
  const guess = (like && blobsOf(like, chooseSeries(like, selection))) ?? remembered.get(key) ?? USUAL_BLOBS;
  const replies = new Map(
    steps.map((step) => [step, new Map<number, { part: Part; bytes: Uint8Array | null }>()]),
  );
  for (const reply of await fetchBatch(run, tag, steps, [0, ...guess], signal)) {
    replies.get(reply.part.step)?.set(reply.part.blob, reply);
  }
  const found = new Map<number, SliceData | Error>();
  for (const step of steps) {
    const parts = replies.get(step) ?? new Map();
    try {
      const header = await headerOf(run, tag, step, parts.get(0), signal);
      const choices = chooseSeries(header, selection);
      const [first, ...rest] = await seriesOf({ run, tag }, step, header, choices, bytesOf(parts), signal);
      if (!first) throw new ApiError("the slice holds no values");
      remember(key, blobsOf(header, choices));
      found.set(step, { run, tag, step, header: ascendingAxes(header), series: [first, ...rest] });
    } catch (error) {
      if (signal?.aborted) throw error;
      found.set(step, error instanceof Error ? error : new ApiError(String(error)));
    }
  }
  return found;
}

/** The header of one step; as part of a batch, since the browser reports a request that is refused as an error. */
export async function loadHeader(
  { run, tag }: TagKey,
  step: number,
  signal?: AbortSignal,
): Promise<SliceHeader> {
  const [reply] = await fetchBatch(run, tag, [step], [0], signal);
  return headerOf(run, tag, step, reply, signal);
}

async function headerOf(
  run: string,
  tag: string,
  step: number,
  reply: { part: Part; bytes: Uint8Array | null } | undefined,
  signal?: AbortSignal,
): Promise<SliceHeader> {
  if (reply?.bytes) return parseHeader(JSON.parse(new TextDecoder().decode(reply.bytes)));
  if (reply?.part.status !== 413) {
    throw new ApiError(reply?.part.error ?? "the server sent no header", reply?.part.status ?? null);
  }
  return fetchHeader(run, tag, step, signal);
}

function bytesOf(parts: ReadonlyMap<number, { bytes: Uint8Array | null }>): Map<number, Uint8Array> {
  return new Map(
    [...parts].flatMap(([blob, { bytes }]) => (bytes && blob > 0 ? [[blob, bytes] as const] : [])),
  );
}

/** The chosen series with their errors, along ascending axes; what is in memory already is neither asked for nor decoded. */
async function seriesOf(
  { run, tag }: TagKey,
  step: number,
  header: SliceHeader,
  choices: readonly SeriesChoice[],
  blobs: Map<number, Uint8Array>,
  signal?: AbortSignal,
): Promise<Series[]> {
  // Without a content hash nothing is known to be the same.
  const key = (array: ArrayRecord) =>
    header.id ? JSON.stringify([run, tag, header.id, array.blob, array.role, array.shape]) : null;
  // Held here, so that none is collected before the slice has it.
  const known = new Map<ArrayRecord, Float64Array>();
  for (const array of chosenArrays(header, choices)) {
    const values = alreadyDecoded(key(array));
    if (values) known.set(array, values);
  }
  const missing = blobsOf(header, choices, known).filter((blob) => !blobs.has(blob));
  if (missing.length > 0) {
    for (const [blob, bytes] of await fetchBlobs(run, tag, step, missing, signal)) blobs.set(blob, bytes);
  }
  return decodeSeries(header, choices, blobs, {
    known,
    onDecoded: (array, values) => rememberDecoded(key(array), values),
    signal,
  });
}

/** The series that a selection means in this slice: what it lacks falls back to its own first series. */
export function chooseSeries(header: SliceHeader, { metric, split }: SeriesSelection): SeriesChoice[] {
  const values = header.arrays.filter((array) => array.role === "value");
  if (metric === ALL_METRICS && header.geometry === "curve") {
    // What is drawn as the band of another series is no series of its own.
    const names = new Set(values.map((array) => array.name));
    const inBand = ({ name }: ArrayRecord) =>
      SPREAD.some((part) => name.endsWith(`_${part}`) && names.has(name.slice(0, -part.length - 1)));
    const all = values.filter((array) => !inBand(array));
    const own = all.filter((array) => array.split === (split === ALL_SPLITS ? array.split : split));
    return own.length > 0 ? own : all.filter((array) => array.split === values[0]?.split);
  }
  const named = values.filter((array) => array.name === metric);
  const candidates = named.length > 0 ? named : values.filter((array) => array.name === values[0]?.name);
  if (split === ALL_SPLITS && header.geometry !== "grid") return candidates;
  return [candidates.find((array) => array.split === split) ?? candidates[0]].filter(
    (array) => array !== undefined,
  );
}
