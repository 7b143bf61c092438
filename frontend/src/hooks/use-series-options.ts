import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { stepOf, useSliceData, useStep } from "@/contexts/slice-data-context";
import { sliceQuery } from "@/lib/query-options";

export interface SeriesOptions {
  readonly metrics: readonly string[];
  readonly splits: readonly string[];
}

/** The metrics and splits that the shown slices hold, in the order in which they were logged. */
export function useSeriesOptions(): SeriesOptions {
  const { cards, view } = useSliceData();
  const step = useStep();
  const known = useQueries({
    // The cards ask for the same, so nothing is fetched for this.
    queries: cards.map((card) => ({ ...sliceQuery(card, stepOf(card, step), view), enabled: false })),
    combine: (results) =>
      results.flatMap(({ data }) =>
        (data?.header.arrays ?? [])
          .filter((array) => array.role === "value")
          .map(({ name, split }) => ({ name, split })),
      ),
  });
  const names = JSON.stringify([...new Set(known.map((array) => array.name))]);
  const splits = JSON.stringify([...new Set(known.map((array) => array.split))].filter(Boolean));
  // The same lists while they say the same.
  return {
    metrics: useMemo(() => JSON.parse(names) as string[], [names]),
    splits: useMemo(() => JSON.parse(splits) as string[], [splits]),
  };
}
