/** What the page asks for and when it asks again; without React, whose script comes later (see `start`). */
import { QueryClient, queryOptions } from "@tanstack/react-query";
import { ApiError, ConnectionError, fetchSteps, fetchTags } from "./api";
import { keepWithinBudget } from "./cache-budget";
import { firstTags } from "./selection";
import type { SliceData } from "./slice";
import { loadHeader, loadSlices, type SeriesSelection, type TagKey } from "./slice-loading";
import type { ViewState } from "./view-state";

export function createQueryClient(): QueryClient {
  const client = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        gcTime: 5 * 60_000,
        // What the server refused once it refuses again.
        retry: (count, error) => count < 2 && error instanceof ApiError && error.status === null,
        retryDelay: 500,
      },
    },
  });
  keepWithinBudget(client);
  return client;
}

export const tagsQuery = queryOptions({
  queryKey: ["tags"],
  queryFn: ({ signal }) => fetchTags(signal),
  refetchInterval: 60_000,
  // The list is the same object where nothing has changed; comparing 100,000 tags would cost more than it saves.
  structuralSharing: false,
});

/** What tells what there is, in the order in which the page learns it. */
const LISTS = ["tags", "steps"];

/**
 * Asks again for all that may have changed since: first what there is, so that nothing is asked for that is gone by now,
 * which the browser would report as an error.
 */
export async function refresh(client: QueryClient): Promise<void> {
  for (const list of LISTS) {
    await client.invalidateQueries({ queryKey: [list] });
    // Until what is gone has left the page.
    await new Promise((resolve) => setTimeout(resolve));
  }
  await client.invalidateQueries({ predicate: ({ queryKey }) => !LISTS.includes(String(queryKey[0])) });
}

/**
 * Asks for what the view needs before anything is drawn: the list of tags, and the newest slices of its first cards.
 * `started` is the list's reply where it was asked for before this script was there.
 */
export async function prefetchView(
  client: QueryClient,
  view: ViewState,
  started?: Promise<Response | null>,
): Promise<void> {
  const tags = await client
    .fetchQuery({ ...tagsQuery, queryFn: ({ signal }) => fetchTags(signal, started) })
    // The page itself says what is wrong.
    .catch(() => []);
  for (const tag of firstTags(tags, view)) {
    let slice: Promise<void> | undefined;
    if (tag.lastStep !== null) {
      // A chosen step that a tag does not have is an error that nobody looks at.
      const step = Math.min(view.step ?? tag.lastStep, tag.lastStep);
      slice = client.prefetchQuery(sliceQuery(tag, step, view));
      // Which step a card shows may be known by the list only.
      if (step < tag.lastStep) slice = undefined;
    }
    const { run, tag: name } = tag;
    // The server has many steps to read for the list, and would keep the slice waiting.
    void client.prefetchQuery({
      ...stepsQuery(tag),
      queryFn: async ({ signal }) => {
        await slice;
        return fetchSteps(run, name, signal);
      },
    });
  }
}

export function stepsQuery({ run, tag }: TagKey) {
  return queryOptions({
    queryKey: ["steps", run, tag],
    queryFn: ({ signal }) => fetchSteps(run, tag, signal),
    refetchInterval: 60_000,
  });
}

export function sliceQuery({ run, tag }: TagKey, step: number | null, { metric, split }: SeriesSelection) {
  return queryOptions({
    queryKey: ["slice", run, tag, step, metric, split],
    enabled: step !== null,
    queryFn: async ({ signal, client, queryKey }): Promise<SliceData> => {
      if (step === null) throw new ApiError("no step is chosen");
      const before = client.getQueryData<SliceData>(queryKey);
      // The id is the hash of the content: where it is the same, so are the arrays.
      if (before && before.header.id !== "") {
        const { id } = await loadHeader({ run, tag }, step, signal);
        if (id === before.header.id) return before;
      }
      // Another selection of the same slice says where the arrays of this one lie.
      const [[, other] = []] = client.getQueriesData<SliceData>({ queryKey: ["slice", run, tag, step] });
      const options = { signal, like: other?.header };
      return sliceOrError(await loadSlices({ run, tag }, [step], { metric, split }, options), step);
    },
    // When the server is there again, the card shows it by itself.
    refetchInterval: ({ state }) => (state.error instanceof ConnectionError ? 60_000 : false),
    // The budget of bytes, not time, decides what is dropped.
    gcTime: Number.POSITIVE_INFINITY,
    // Typed arrays are new each time, and comparing them entry by entry costs more than drawing.
    structuralSharing: false,
  });
}

function sliceOrError(found: ReadonlyMap<number, SliceData | Error>, step: number): SliceData {
  const slice = found.get(step);
  if (slice instanceof Error) throw slice;
  if (!slice) throw new ApiError(`the server sent no slice of step ${step}`);
  return slice;
}

/** Loads the slices of these steps that are not there yet, in one request. */
export function prefetchSlices(
  client: QueryClient,
  key: TagKey,
  steps: readonly number[],
  selection: SeriesSelection,
): void {
  const missing = steps.filter((step) => !client.getQueryState(sliceQuery(key, step, selection).queryKey));
  if (missing.length === 0) return;
  const all = loadSlices(key, missing, selection);
  for (const step of missing) {
    void client.prefetchQuery({
      ...sliceQuery(key, step, selection),
      queryFn: async () => sliceOrError(await all, step),
    });
  }
}
