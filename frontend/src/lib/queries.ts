/** What the page asks for and when it asks again. Views use these hooks, never `api` itself. */
import { keepPreviousData, QueryClient, queryOptions, useQueries, useQuery } from "@tanstack/react-query";
import {
  ApiError,
  ascendingAxes,
  fetchHeader,
  fetchSeries,
  fetchSteps,
  fetchTags,
  type SeriesChoice,
  type Steps,
} from "./api";
import { keepWithinBudget } from "./cache-budget";
import { fetchHostRuns } from "./host";
import type { SliceData, SliceHeader } from "./slice";

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

const tagsQuery = queryOptions({
  queryKey: ["tags"],
  queryFn: ({ signal }) => fetchTags(signal),
  refetchInterval: 60_000,
  // The list is the same object where nothing has changed; comparing 100,000 tags would cost more than it saves.
  structuralSharing: false,
});

export function useTags() {
  return useQuery(tagsQuery);
}

/** Asks for what every view needs, before anything is drawn. */
export function prefetchTags(client: QueryClient): void {
  void client.prefetchQuery(tagsQuery);
}

/** TensorBoard's own order of its runs. It may not know them yet when the tab opens. */
export function useHostRuns() {
  return useQuery({
    queryKey: ["host-runs"],
    queryFn: fetchHostRuns,
    refetchInterval: ({ state }) => (state.data?.length ? false : 5_000),
  });
}

function stepsQuery({ run, tag }: TagKey) {
  return queryOptions({
    queryKey: ["steps", run, tag],
    queryFn: ({ signal }) => fetchSteps(run, tag, signal),
    refetchInterval: 60_000,
  });
}

export function useSteps(key: TagKey) {
  return useQuery(stepsQuery(key));
}

/** The steps of each tag, in the same order; undefined where they are not there (yet). */
export function useAllSteps(keys: readonly TagKey[]): readonly (Steps | undefined)[] {
  return useQueries({
    queries: keys.map(stepsQuery),
    combine: (results) => results.map((result) => result.data),
  });
}

export function sliceQuery({ run, tag }: TagKey, step: number | null, { metric, split }: SeriesSelection) {
  return queryOptions({
    queryKey: ["slice", run, tag, step, metric, split],
    enabled: step !== null,
    queryFn: async ({ signal, client, queryKey }): Promise<SliceData> => {
      if (step === null) throw new ApiError("no step is chosen");
      const header = await fetchHeader(run, tag, step, signal);
      const before = client.getQueryData<SliceData>(queryKey);
      // The id is the hash of the content: the arrays are the same.
      if (before && header.id !== "" && before.header.id === header.id) return before;
      const [first, ...rest] = await fetchSeries(
        run,
        tag,
        step,
        header,
        chooseSeries(header, { metric, split }),
        signal,
      );
      if (!first) throw new ApiError("the slice holds no values");
      return { run, tag, step, header: ascendingAxes(header), series: [first, ...rest] };
    },
    // The budget of bytes, not time, decides what is dropped.
    gcTime: Number.POSITIVE_INFINITY,
    // Typed arrays are new each time, and comparing them entry by entry costs more than drawing.
    structuralSharing: false,
  });
}

/** The slice, with the one before it kept on the screen while the next loads. */
export function useSlice(key: TagKey, step: number | null, selection: SeriesSelection) {
  return useQuery({ ...sliceQuery(key, step, selection), placeholderData: keepPreviousData });
}

/** The series that a selection means in this slice: what it lacks falls back to its own first series. */
export function chooseSeries(header: SliceHeader, { metric, split }: SeriesSelection): SeriesChoice[] {
  const values = header.arrays.filter((array) => array.role === "value");
  if (metric === ALL_METRICS && header.geometry === "curve") {
    const own = values.filter((array) => array.split === (split === ALL_SPLITS ? array.split : split));
    return own.length > 0 ? own : values.filter((array) => array.split === values[0]?.split);
  }
  const named = values.filter((array) => array.name === metric);
  const candidates = named.length > 0 ? named : values.filter((array) => array.name === values[0]?.name);
  if (split === ALL_SPLITS && header.geometry !== "grid") return candidates;
  return [candidates.find((array) => array.split === split) ?? candidates[0]].filter(
    (array) => array !== undefined,
  );
}
