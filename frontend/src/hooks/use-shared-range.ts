import { useQueries } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import { useSliceData } from "@/contexts/slice-data-context";
import { tailsOf } from "@/lib/describe";
import { evenly, slicesQuery } from "@/lib/many";
import type { SliceData } from "@/lib/slice";
import { chosenRange, type ValueRange } from "@/maths/range";

/** Slices that are read for a common range: more steps are represented by these. */
const MAX_STEPS = 40;

/** The range of a slice's own values, or one over the steps and runs of all cards of its kind, as the reader chose. */
export function useSharedRange(sliceData: SliceData): ValueRange | null {
  const { cards, view } = useSliceData();
  const [main] = sliceData.series;
  const { geometry } = sliceData.header;
  const own = useMemo(() => chosenRange(main.values, view.range, tailsOf(main)), [main, view.range]);
  const fixed = view.limits === "all";
  const wanted = fixed ? cards.filter((card) => card.geometry === geometry && card.steps) : [];
  const { name, split } = main;
  const mode = view.range;
  const select = useCallback(
    (slices: readonly SliceData[]) => unionOf(slices.flatMap((slice) => rangesOf(slice, name, split, mode))),
    [name, split, mode],
  );
  const ranges = useQueries({
    queries: wanted.map((card) => ({
      ...slicesQuery(card, evenly(card.steps?.steps ?? [], MAX_STEPS), view),
      select,
    })),
    combine: (results) => results.flatMap((result) => result.data ?? []),
  });
  const shared = useMemo(() => unionOf(ranges), [ranges]);
  return useMemo(() => {
    if (!fixed || !shared) return own;
    // What is clipped is said of this slice alone.
    return own ? { ...union(shared, own), min: own.min, max: own.max } : shared;
  }, [fixed, shared, own]);
}

function rangesOf(slice: SliceData, name: string, split: string, mode: "robust" | "full"): ValueRange[] {
  return slice.series
    .filter((series) => series.name === name && series.split === split)
    .flatMap((series) => chosenRange(series.values, mode, tailsOf(series)) ?? []);
}

function unionOf(ranges: readonly ValueRange[]): ValueRange | null {
  return ranges.reduce<ValueRange | null>((whole, range) => (whole ? union(whole, range) : range), null);
}

function union(a: ValueRange, b: ValueRange): ValueRange {
  return {
    low: Math.min(a.low, b.low),
    high: Math.max(a.high, b.high),
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
    finite: a.finite + b.finite,
    nonfinite: a.nonfinite + b.nonfinite,
  };
}
