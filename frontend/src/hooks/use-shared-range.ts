import { useQueries } from "@tanstack/react-query";
import { createContext, use, useCallback, useMemo } from "react";
import { useSliceData } from "@/contexts/slice-data-context";
import { evenly, slicesQuery } from "@/lib/many";
import { axisOf, rangeOfSlices, union, unionOf } from "@/lib/shared-range";
import type { SliceData } from "@/lib/slice";
import type { ValueRange } from "@/maths/range";

/** Slices that are read for a common range: more steps are represented by these. */
const MAX_STEPS = 40;

/** The slices that stand beside one another to be compared: they share a range. */
export const BesideContext = createContext<readonly SliceData[]>([]);

interface SharedRange {
  readonly range: ValueRange | null;
  /** Whether it is that of other slices, too. */
  readonly shared: boolean;
  /** What has to be said of it: slices that it should hold, and does not yet. */
  readonly note: string;
}

/**
 * The range of a slice's own values (of a curve: with its band) and of those that it is compared with; or one over the
 * steps and runs of all cards of its kind, as the reader chose.
 */
export function useSharedRange(sliceData: SliceData): SharedRange {
  const { cards, view } = useSliceData();
  const { geometry } = sliceData.header;
  const { range: mode, scale } = view;
  const band = geometry === "curve" ? scale : null;
  const axis = axisOf(sliceData);
  const own = useMemo(() => rangeOfSlices([sliceData], axis, { mode, band }), [sliceData, axis, mode, band]);
  const fixed = view.limits === "all";
  const wanted = fixed ? cards.filter((card) => card.geometry === geometry) : [];
  const beside = use(BesideContext);
  const select = useCallback(
    (slices: readonly SliceData[]) =>
      rangeOfSlices(
        slices.filter((slice) => slice.header.geometry === geometry),
        axis,
        { mode, band },
      ),
    [geometry, axis, mode, band],
  );
  const compared = useMemo(() => select(beside), [select, beside]);
  const ranges = useQueries({
    queries: wanted.map((card) => ({
      ...slicesQuery(card, evenly(card.steps?.steps ?? [], MAX_STEPS), view),
      select,
    })),
    combine: (results) => results.map((result) => result.data),
  });
  const note = ranges.includes(undefined) ? "Not all steps and runs are in this range yet." : "";
  const others = useMemo(
    () => unionOf([...ranges, compared].flatMap((range) => range ?? [])),
    [ranges, compared],
  );
  const range = useMemo(() => {
    if (!others) return own;
    // What is clipped is said of this slice alone.
    return own ? { ...union(others, own), min: own.min, max: own.max } : others;
  }, [others, own]);
  return { range, shared: fixed || beside.length > 0, note };
}
