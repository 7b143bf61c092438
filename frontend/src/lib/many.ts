/** Many steps of one tag at once: TensorBoard closes the connection after each reply, so single requests are slow. */
import { queryOptions } from "@tanstack/react-query";
import { ascendingAxes, blobsOf, decodeSeries, fetchBatch } from "./api";
import { parseHeader, type SliceData, type SliceHeader } from "./slice";
import { chooseSeries, type SeriesSelection, type TagKey } from "./slice-loading";

/** A batch has at most so many parts. */
const MAX_PARTS = 1000;

/** At most `count` of the steps, evenly chosen, with both ends. */
export function evenly(steps: readonly number[], count: number): number[] {
  if (steps.length <= count) return [...steps];
  return Array.from(
    { length: count },
    (_, index) => steps[Math.round((index * (steps.length - 1)) / Math.max(count - 1, 1))] as number,
  );
}

/** Step → header; a step that can't be read is left out, and its own card says why. */
export function headersQuery({ run, tag }: TagKey, steps: readonly number[]) {
  return queryOptions({
    queryKey: ["headers", run, tag, steps],
    enabled: steps.length > 0,
    queryFn: async ({ signal }): Promise<ReadonlyMap<number, SliceHeader>> => {
      const found = new Map<number, SliceHeader>();
      for (let from = 0; from < steps.length; from += MAX_PARTS) {
        const parts = await fetchBatch(run, tag, steps.slice(from, from + MAX_PARTS), [0], signal);
        for (const { part, bytes } of parts) {
          const header = bytes && readHeader(bytes);
          if (header) found.set(part.step, header);
        }
      }
      return found;
    },
    structuralSharing: false,
  });
}

function readHeader(bytes: Uint8Array): SliceHeader | null {
  try {
    return parseHeader(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return null;
  }
}

/** The slices of several steps, ascending, in as few requests as can be. */
export function slicesQuery(key: TagKey, steps: readonly number[], selection: SeriesSelection) {
  const { run, tag } = key;
  return queryOptions({
    queryKey: ["slices", run, tag, steps, selection.metric, selection.split],
    enabled: steps.length > 0,
    queryFn: async ({ signal, client }): Promise<readonly SliceData[]> => {
      const headers = await client.fetchQuery(headersQuery(key, steps));
      // Steps whose arrays have the same places come in one reply.
      const groups = new Map<string, number[]>();
      for (const [step, header] of headers) {
        const blobs = JSON.stringify(blobsOf(header, chooseSeries(header, selection)));
        groups.set(blobs, [...(groups.get(blobs) ?? []), step]);
      }
      const found: SliceData[] = [];
      for (const [blobs, members] of groups) {
        const wanted = JSON.parse(blobs) as number[];
        const arrays = new Map(members.map((step) => [step, new Map<number, Uint8Array>()]));
        for (const { part, bytes } of await fetchBatch(run, tag, members, wanted, signal)) {
          if (bytes) arrays.get(part.step)?.set(part.blob, bytes);
        }
        for (const step of members) {
          const slice = await decoded(key, step, headers.get(step), arrays.get(step), selection);
          if (slice) found.push(slice);
        }
      }
      return found.sort((a, b) => a.step - b.step);
    },
    structuralSharing: false,
  });
}

async function decoded(
  { run, tag }: TagKey,
  step: number,
  header: SliceHeader | undefined,
  blobs: ReadonlyMap<number, Uint8Array> | undefined,
  selection: SeriesSelection,
): Promise<SliceData | null> {
  if (!header || !blobs) return null;
  try {
    const [first, ...rest] = await decodeSeries(header, chooseSeries(header, selection), blobs);
    return first ? { run, tag, step, header: ascendingAxes(header), series: [first, ...rest] } : null;
  } catch {
    return null;
  }
}
