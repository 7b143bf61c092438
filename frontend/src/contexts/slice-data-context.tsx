/** What is in the log and what of it the reader looks at: one place for all controls and dashboards. */
import { createContext, type ReactNode, use, useCallback, useMemo, useState } from "react";
import { useDark } from "@/hooks/use-dark";
import { useViewState } from "@/hooks/use-view-state";
import type { Steps, TagInfo } from "@/lib/api";
import { includesCard, sameCard } from "@/lib/cards";
import { MAIN_METHODS, METHOD_ORDER } from "@/lib/methods";
import { useAllSteps, useHostRuns, useTags } from "@/lib/queries";
import { runColors } from "@/lib/run-colors";
import { nearestStep, unionOfSteps } from "@/lib/steps";
import { nameFilter } from "@/lib/utils";
import type { ViewState } from "@/lib/view-state";

/** How many cards are shown at first, and by how many each press of the button adds. */
export const CARDS_A_PAGE = 12;

export interface Card extends TagInfo {
  readonly steps: Steps | undefined;
  /** The slice to show: the card's nearest to the chosen step; null where there is none. */
  readonly step: number | null;
  readonly pinned: boolean;
}

export interface MethodChoice {
  readonly method: string;
  /** Tags with data in the chosen runs. */
  readonly count: number;
}

export interface SliceDataState {
  readonly status: "pending" | "error" | "success";
  readonly error: Error | null;
  readonly retry: () => void;
  readonly runs: readonly string[];
  readonly selectedRuns: readonly string[];
  /** The colour that a run has in TensorBoard's own charts. */
  readonly runColor: (run: string) => string;
  readonly methods: readonly MethodChoice[];
  readonly method: string | null;
  readonly cards: readonly Card[];
  /** Tags of the chosen runs and method, and those of them that the filter lets through. */
  readonly count: { readonly all: number; readonly matching: number };
  /** Cards that the filter lets through and that are not shown yet. */
  readonly hidden: number;
  readonly showMore: () => void;
  /** Tags of the chosen runs that this version can't read. */
  readonly problems: readonly TagInfo[];
  readonly steps: readonly number[];
  readonly step: number | null;
  readonly followNewest: () => void;
  readonly view: ViewState;
  readonly change: (part: Partial<ViewState>) => void;
}

const SliceDataContext = createContext<SliceDataState | null>(null);

export function useSliceData(): SliceDataState {
  const state = use(SliceDataContext);
  if (!state) throw new Error("useSliceData needs a SliceDataProvider around it");
  return state;
}

export function SliceDataProvider({ children }: { readonly children: ReactNode }) {
  const [view, change] = useViewState();
  const tags = useTags();
  const all = useMemo(() => tags.data ?? [], [tags.data]);

  const runs = useMemo(() => [...new Set(all.map((tag) => tag.run))], [all]);
  const selectedRuns = useMemo(() => {
    const wanted = new Set(view.runs);
    const known = runs.filter((run) => wanted.has(run));
    return known.length > 0 ? known : runs.slice(0, 1);
  }, [runs, view.runs]);

  const inRuns = useMemo(() => {
    const wanted = new Set(selectedRuns);
    return all.filter((tag) => wanted.has(tag.run));
  }, [all, selectedRuns]);
  const methods = useMemo(() => methodChoices(inRuns), [inRuns]);
  const available = methods.filter((choice) => choice.count > 0);
  const method = (available.find((choice) => choice.method === view.method) ?? available[0])?.method ?? null;

  const matching = useMemo(() => {
    const passes = nameFilter(view.filter);
    const kept = inRuns.filter((tag) => isReadable(tag) && tag.sliceType === method && passes(tag.tag));
    // Runs are compared tag by tag: the same tag of all runs stands together.
    const order = new Map([...new Set(kept.map((tag) => tag.tag))].map((tag, index) => [tag, index]));
    return kept.toSorted((a, b) => (order.get(a.tag) ?? 0) - (order.get(b.tag) ?? 0));
  }, [inRuns, method, view.filter]);

  const inMethod = methods.find((choice) => choice.method === method)?.count ?? 0;
  const selection = JSON.stringify([selectedRuns, method]);
  const [shown, setShown] = useState({ selection, count: CARDS_A_PAGE });
  const count = shown.selection === selection ? shown.count : CARDS_A_PAGE;
  const visible = useMemo(() => {
    const pinned = view.pinned.flatMap(
      (key) => all.find((tag) => sameCard(tag, key) && isReadable(tag)) ?? [],
    );
    return [...pinned, ...matching.slice(0, count).filter((tag) => !includesCard(pinned, tag))];
  }, [all, matching, count, view.pinned]);
  const stepsOfCards = useAllSteps(visible);

  const steps = useMemo(() => unionOfSteps(stepsOfCards), [stepsOfCards]);
  const newest = steps.at(-1) ?? null;
  // The newest step at the time the selection was made: later data must not move what the reader looks at.
  const [anchor, setAnchor] = useState<{ selection: string; step: number } | null>(null);
  const settled = visible.length > 0 && stepsOfCards.every((entry) => entry !== undefined);
  if (settled && newest !== null && anchor?.selection !== selection) setAnchor({ selection, step: newest });
  const anchored = view.step ?? (anchor?.selection === selection ? anchor.step : newest);
  const step = view.follow ? newest : anchored;

  const dark = useDark();
  const order = useHostRuns().data;
  const runColor = useMemo(() => runColors(order ?? [], runs, dark), [order, runs, dark]);

  const followNewest = useCallback(() => {
    setAnchor(null);
    change({ step: null });
  }, [change]);
  const shownOf = Math.min(count, matching.length);

  const { refetch } = tags;
  const state: SliceDataState = {
    status: tags.data ? "success" : tags.status,
    error: tags.error,
    retry: useCallback(() => void refetch(), [refetch]),
    runs,
    selectedRuns,
    runColor,
    methods,
    method,
    cards: visible.map((tag, index) => {
      const entry = stepsOfCards[index];
      return {
        ...tag,
        steps: entry,
        step: entry ? nearestStep(entry.steps, step) : null,
        pinned: includesCard(view.pinned, tag),
      };
    }),
    count: { all: inMethod, matching: matching.length },
    hidden: matching.length - shownOf,
    showMore: () => setShown({ selection, count: count + CARDS_A_PAGE }),
    problems: inRuns.filter((tag) => !isReadable(tag)),
    steps,
    step,
    followNewest,
    view,
    change,
  };
  return <SliceDataContext value={state}>{children}</SliceDataContext>;
}

function isReadable(tag: TagInfo): boolean {
  return tag.problem === null && tag.geometry !== null;
}

/** The main methods, and whatever else the runs hold, in a fixed order. */
function methodChoices(tags: readonly TagInfo[]): MethodChoice[] {
  const counts = new Map<string, number>(MAIN_METHODS.map((method) => [method, 0]));
  for (const tag of tags) {
    if (isReadable(tag)) counts.set(tag.sliceType, (counts.get(tag.sliceType) ?? 0) + 1);
  }
  const place = (method: string) => {
    const index = METHOD_ORDER.indexOf(method);
    return index < 0 ? METHOD_ORDER.length : index;
  };
  return [...counts]
    .map(([method, count]) => ({ method, count }))
    .sort((a, b) => place(a.method) - place(b.method) || (a.method < b.method ? -1 : 1));
}
