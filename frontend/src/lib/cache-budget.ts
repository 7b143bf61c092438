/**
 * Decoded slices stay in the query cache until their arrays together are above a budget of bytes; then those that
 * were looked at least recently go. Also: the decoded arrays of a slice by its content hash, as long as any view of it
 * is kept, so that another metric or a reload decodes nothing twice.
 */
import type { Query, QueryClient } from "@tanstack/react-query";
import type { SliceData } from "./slice";

export const ARRAY_BUDGET_BYTES = 256 * 2 ** 20;

/** Typed arrays of slices, each counted once however many slices share it. */
export function arrayBytes(slices: readonly SliceData[]): number {
  const buffers = new Set<ArrayBufferLike>();
  for (const { header, series } of slices) {
    for (const axis of header.axes) buffers.add(axis.values.buffer);
    for (const entry of series) {
      for (const part of [
        entry.values,
        entry.stderr,
        entry.differenceStderr,
        entry.count,
        entry.interpolated,
        entry.spread?.mean,
        entry.spread?.low,
        entry.spread?.high,
      ]) {
        if (part) buffers.add(part.buffer);
      }
    }
  }
  let sum = 0;
  for (const buffer of buffers) sum += buffer.byteLength;
  return sum;
}

/** Watches the client's slices; returns what ends it. */
export function keepWithinBudget(client: QueryClient, budget = ARRAY_BUDGET_BYTES): () => void {
  const lastSeen = new Map<string, number>();
  let clock = 0;
  const cache = client.getQueryCache();
  return cache.subscribe(({ type, query }) => {
    if (query.queryKey[0] !== "slice") return;
    if (type === "removed") {
      lastSeen.delete(query.queryHash);
      return;
    }
    if (type !== "observerAdded" && type !== "updated") return;
    clock += 1;
    lastSeen.set(query.queryHash, clock);
    if (type !== "updated" || query.state.status !== "success") return;
    const held = cache.findAll({ queryKey: ["slice"] }).filter(hasSlice);
    let excess = arrayBytes(held.map((entry) => entry.state.data)) - budget;
    if (excess <= 0) return;
    const oldest = held
      .filter((entry) => entry !== query && entry.getObserversCount() === 0)
      .sort((a, b) => (lastSeen.get(a.queryHash) ?? 0) - (lastSeen.get(b.queryHash) ?? 0));
    for (const entry of oldest) {
      if (excess <= 0) break;
      excess -= arrayBytes([entry.state.data]);
      cache.remove(entry);
    }
  });
}

type SliceQuery = Query & { readonly state: { readonly data: SliceData } };

function hasSlice(query: Query): query is SliceQuery {
  return query.state.data !== undefined;
}

const decoded = new Map<string, WeakRef<Float64Array>>();
const gone = new FinalizationRegistry<string>((key) => {
  if (decoded.get(key)?.deref() === undefined) decoded.delete(key);
});

/**
 * Keeps the array findable as long as something else holds it. A content hash is whatever a header says it is, so a key
 * needs the run and the tag in it: no log can then stand in for another. Null is no key.
 */
export function rememberDecoded(key: string | null, values: Float64Array): void {
  if (key === null) return;
  decoded.set(key, new WeakRef(values));
  gone.register(values, key);
}

/** The array of this key where it is still in memory. */
export function alreadyDecoded(key: string | null): Float64Array | undefined {
  return key === null ? undefined : decoded.get(key)?.deref();
}
