import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { useSliceData } from "@/contexts/slice-data-context";
import { sliceQuery } from "@/lib/queries";

/** The metrics and splits that the shown slices hold, in the order in which they were logged. */
export function useSeriesOptions(): { metrics: readonly string[]; splits: readonly string[] } {
  const { cards, view } = useSliceData();
  const known = useQueries({
    // The cards ask for the same, so nothing is fetched for this.
    queries: cards.map((card) => ({ ...sliceQuery(card, card.step, view), enabled: false })),
    combine: (results) =>
      results.flatMap(({ data }) =>
        (data?.header.arrays ?? [])
          .filter((array) => array.role === "value")
          .map(({ name, split }) => ({ name, split })),
      ),
  });
  return useMemo(
    () => ({
      metrics: [...new Set(known.map((array) => array.name))],
      splits: [...new Set(known.map((array) => array.split))].filter(Boolean),
    }),
    [known],
  );
}
