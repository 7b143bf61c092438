import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { stepOf, useSliceData, useStep } from "@/contexts/slice-data-context";
import { evenly, slicesQuery } from "@/lib/many";
import { useSteps } from "@/lib/queries";
import { sliceQuery } from "@/lib/query-options";
import { CARDS_A_PAGE, CARDS_AT_ONCE } from "@/lib/selection";
import type { SliceData } from "@/lib/slice";
import { formatCount, plural } from "@/maths/format";

/** More faint lines would be a grey area. */
const MAX_GHOSTS = 24;
const NONE: readonly SliceData[] = [];

/** The curves of the same tag in the other runs on the page, each at its own step. */
export function useOtherRuns({ run, tag }: SliceData): readonly SliceData[] {
  const { cards, view } = useSliceData();
  const linked = useStep();
  const others = view.overlay
    ? cards.filter((card) => card.tag === tag && card.run !== run && card.geometry === "curve")
    : [];
  return useQueries({
    queries: others.map((card) => sliceQuery(card, stepOf(card, linked), view)),
    combine: (results) => results.flatMap((result) => result.data ?? []),
  });
}

/** What has to be said where not all of the chosen runs of a tag are on the page, and so in a plot of all of them. */
export function useHiddenRunsNote(tag: string): string {
  const hidden = useSliceData().hiddenRuns(tag);
  if (hidden === 0) return "";
  const all = hidden > CARDS_A_PAGE ? `, the button beside it up to ${formatCount(CARDS_AT_ONCE)}` : "";
  return `${plural(hidden, "run is", "runs are")} not in this plot: Show more adds the next${all}.`;
}

/** The curves of the same tag at other steps, evenly chosen where there are many. */
export function useGhosts({ run, tag, step }: SliceData): readonly SliceData[] {
  const { view } = useSliceData();
  const steps = useSteps({ run, tag }).data?.steps;
  const chosen = useMemo(() => (view.ghosts && steps ? evenly(steps, MAX_GHOSTS) : []), [view.ghosts, steps]);
  const { data = NONE } = useQuery(slicesQuery({ run, tag }, chosen, view));
  return useMemo(() => data.filter((slice) => slice.step !== step), [data, step]);
}
