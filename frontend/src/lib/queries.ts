/** What the page asks for, as hooks. Views use these, never `api` itself. */
import { keepPreviousData, useQueries, useQuery } from "@tanstack/react-query";
import type { Steps } from "./api";
import { fetchHostRuns } from "./host";
import { sliceQuery, stepsQuery, tagsQuery } from "./query-options";
import type { SeriesSelection, TagKey } from "./slice-loading";

export function useTags() {
  return useQuery(tagsQuery);
}

/** TensorBoard's own order of its runs. It may not know them yet when the tab opens. */
export function useHostRuns() {
  return useQuery({
    queryKey: ["host-runs"],
    queryFn: fetchHostRuns,
    refetchInterval: ({ state }) => (state.data?.length ? false : 5_000),
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

/** The slice, with the one before it kept on the screen while the next loads. */
export function useSlice(key: TagKey, step: number | null, selection: SeriesSelection) {
  return useQuery({ ...sliceQuery(key, step, selection), placeholderData: keepPreviousData });
}
