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

/** The slices that the reader compares, in the order in which they were chosen, loaded. */
export function useComparedSlices(): readonly ComparedSlice[] {
  const { view, runColor } = useSliceData();
  const linked = useStep();
  const { compared, metric, split } = view;
  const steps = useAllSteps(compared);
  const shown = useMemo(
    () => compared.map((key, index) => key.step ?? nearestStep(steps[index]?.steps ?? [], linked)),
    [compared, steps, linked],
  );
  const queries = useQueries({
    queries: compared.map((key, index) => sliceQuery(key, shown[index] ?? null, { metric, split })),
  });
  return compared.map((key, index) => ({
    key,
    step: shown[index] ?? null,
    color: runColor(key.run),
    data: queries[index]?.data,
    error: queries[index]?.error ?? null,
    retry: () => void queries[index]?.refetch(),
  }));
}
