import { useQueries } from "@tanstack/react-query";
import { createContext, use, useCallback, useMemo } from "react";
import { useSliceData } from "@/contexts/slice-data-context";
import { tailsOf } from "@/lib/describe";
import { evenly, slicesQuery } from "@/lib/many";
import type { Series, SliceData } from "@/lib/slice";
import type { ScaleName } from "@/maths/color";
import { chosenRange, type ValueRange, withBands } from "@/maths/range";

/** Slices that are read for a common range: more steps are represented by these. */
const MAX_STEPS = 40;

/** The slices that stand beside one another to be compared: they share a range. */
export const BesideContext = createContext<readonly SliceData[]>([]);

interface SharedRange {
  readonly range: ValueRange | null;
  /** What has to be said of it: slices that it should hold, and does not yet. */
  readonly note: string;
}

/**
 * The range of a slice's own values (of a curve: with its band) and of those that it is compared with; or one over the
 * steps and runs of all cards of its kind, as the reader chose.
 */
export function useSharedRange(sliceData: SliceData): SharedRange {
  const { cards, view } = useSliceData();
  const [main] = sliceData.series;
  const { geometry } = sliceData.header;
  const { range: mode, scale } = view;
  const band = geometry === "curve" ? scale : null;
  const own = useMemo(() => rangeOf(main, mode, band), [main, mode, band]);
  const fixed = view.limits === "all";
  const wanted = fixed ? cards.filter((card) => card.geometry === geometry) : [];
  const { name, split } = main;
  const beside = use(BesideContext);
  const select = useCallback(
    (slices: readonly SliceData[]) =>
      unionOf(
        slices
          .filter((slice) => slice.header.geometry === geometry)
          .flatMap((slice) => slice.series)
          .filter((series) => series.name === name && series.split === split)
          .flatMap((series) => rangeOf(series, mode, band) ?? []),
      ),
    [geometry, name, split, mode, band],
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
  const shared = useMemo(
    () => unionOf([...ranges, compared].flatMap((range) => range ?? [])),
    [ranges, compared],
  );
  const range = useMemo(() => {
    if (!shared) return own;
    // What is clipped is said of this slice alone.
    return own ? { ...union(shared, own), min: own.min, max: own.max } : shared;
  }, [shared, own]);
  return { range, note };
}

/** `band`: the scale of the axis where the standard errors are drawn as a band. */
function rangeOf(series: Series, mode: "robust" | "full", band: ScaleName | null): ValueRange | null {
  const { values, stderr } = series;
  const range = chosenRange(values, mode, tailsOf(series));
  return range && band && stderr ? withBands(range, values, stderr, band === "log") : range;
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
