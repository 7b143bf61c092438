import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { useSliceData, useStep } from "@/contexts/slice-data-context";
import type { ComparedKey } from "@/lib/cards";
import { useAllSteps } from "@/lib/queries";
import { sliceQuery } from "@/lib/query-options";
import type { SliceData } from "@/lib/slice";
import { nearestStep } from "@/lib/steps";

/** One side of the comparison. */
export interface ComparedSlice {
  readonly key: ComparedKey;
  /** The step that is shown: the chosen one, or the nearest to the linked one; null until it is known. */
  readonly step: number | null;
  readonly color: string;
  readonly data: SliceData | undefined;
  readonly error: Error | null;
  readonly retry: () => void;
}

interface Compared {
  /** In the order in which they were chosen. */
  readonly slices: readonly ComparedSlice[];
  /** Those that are there; the same array until one of them changes. */
  readonly loaded: readonly SliceData[];
}

/** The slices that the reader compares. */
export function useComparedSlices(): Compared {
  const { view, runColor } = useSliceData();
  const linked = useStep();
  const { compared, metric, split } = view;
  const steps = useAllSteps(compared);
  const shown = useMemo(
    () =>
      compared.map((key, index) => {
        const own = steps[index]?.steps ?? [];
        // Where no card is shown there is no step to follow.
        return key.step ?? nearestStep(own, linked ?? own.at(-1) ?? null);
      }),
    [compared, steps, linked],
  );
  const wanted = compared.map((key, index) => sliceQuery(key, shown[index] ?? null, { metric, split }));
  const queries = useQueries({ queries: wanted });
  const loaded = useQueries({ queries: wanted, combine: dataOf });
  const slices = compared.map((key, index) => ({
    key,
    step: shown[index] ?? null,
    color: runColor(key.run),
    data: queries[index]?.data,
    error: queries[index]?.error ?? null,
    retry: () => void queries[index]?.refetch(),
  }));
  return { slices, loaded };
}

function dataOf(results: readonly { readonly data: SliceData | undefined }[]): readonly SliceData[] {
  return results.flatMap(({ data }) => data ?? []);
}
