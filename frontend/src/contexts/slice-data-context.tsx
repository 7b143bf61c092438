/** What is in the log and what of it the reader looks at: one place for all controls and dashboards. */
import { createContext, type ReactNode, use, useCallback, useEffect, useMemo, useState } from "react";
import { useDark } from "@/hooks/use-dark";
import { useViewState } from "@/hooks/use-view-state";
import { useZoomsInView } from "@/hooks/use-zooms-in-view";
import type { Steps, TagInfo } from "@/lib/api";
import { includesCard } from "@/lib/cards";
import { useAllSteps, useHostRuns, useTags } from "@/lib/queries";
import { runColors } from "@/lib/run-colors";
import {
  CARDS_A_PAGE,
  chosenMethod,
  chosenRuns,
  hiddenRuns,
  isReadable,
  type MethodChoice,
  matchingTags,
  methodChoices,
  nextCount,
  runsOf,
  shownTags,
  tagsOfRuns,
} from "@/lib/selection";
import { nearestStep, unionOfSteps } from "@/lib/steps";
import type { ViewState } from "@/lib/view-state";

export interface Card extends TagInfo {
  readonly steps: Steps | undefined;
  readonly pinned: boolean;
}

/** The reader's choices but for the step, which changes far more often than all others. */
export type Settings = Omit<ViewState, "step">;

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
  /** How many of them are the same tag of other runs. */
  readonly hiddenRuns: (tag: string) => number;
  readonly showMore: (cards: number) => void;
  /** Tags of the chosen runs that this version can't read. */
  readonly problems: readonly TagInfo[];
  readonly steps: readonly number[];
  readonly followNewest: () => void;
  readonly view: Settings;
  readonly change: (part: Partial<ViewState>) => void;
}

const SliceDataContext = createContext<SliceDataState | null>(null);
/** Apart from the rest: what does not show a step is not drawn anew when it changes. */
const StepContext = createContext<number | null>(null);

export function useSliceData(): SliceDataState {
  const state = use(SliceDataContext);
  if (!state) throw new Error("useSliceData needs a SliceDataProvider around it");
  return state;
}

/** The step that the reader looks at; null while none is known. */
export function useStep(): number | null {
  return use(StepContext);
}

/** The step whose slice a card shows at a step of the page: its nearest; null where it has none. */
export function stepOf({ steps, lastStep }: Pick<Card, "steps" | "lastStep">, step: number | null) {
  if (steps) return nearestStep(steps.steps, step);
  // Before its steps are known, no other than the last is nearest to what is not before it.
  return step !== null && lastStep !== null && step >= lastStep ? lastStep : null;
}

export function SliceDataProvider({ children }: { readonly children: ReactNode }) {
  const [view, change] = useViewState();
  const settings = useSettings(view);
  useZoomsInView(view.zooms, change);
  const tags = useTags();
  const all = useMemo(() => tags.data ?? [], [tags.data]);

  const runs = useMemo(() => runsOf(all), [all]);
  const selectedRuns = useMemo(() => chosenRuns(runs, view.runs), [runs, view.runs]);
  const inRuns = useMemo(() => tagsOfRuns(all, selectedRuns), [all, selectedRuns]);
  const methods = useMemo(() => methodChoices(inRuns), [inRuns]);
  const method = chosenMethod(methods, view.method);
  const matching = useMemo(() => matchingTags(inRuns, method, view.filter), [inRuns, method, view.filter]);
  const problems = useMemo(() => inRuns.filter((tag) => !isReadable(tag)), [inRuns]);

  const inMethod = methods.find((choice) => choice.method === method)?.count ?? 0;
  const selection = useMemo(() => JSON.stringify([selectedRuns, method]), [selectedRuns, method]);
  const [shown, setShown] = useState({ selection, count: CARDS_A_PAGE, wanted: CARDS_A_PAGE });
  const { count, wanted } = shown.selection === selection ? shown : { count: CARDS_A_PAGE, wanted: 0 };
  const visible = useMemo(
    () => shownTags(all, matching, count, view.pinned),
    [all, matching, count, view.pinned],
  );
  const stepsOfCards = useAllSteps(visible);
  const missing = stepsOfCards.filter((entry) => entry === undefined).length;
  useEffect(() => {
    const next = nextCount(count, wanted, missing);
    if (next > count) setShown({ selection, count: next, wanted });
  }, [selection, count, wanted, missing]);
  const cards = useMemo(
    () =>
      visible.map((tag, index) => ({
        ...tag,
        steps: stepsOfCards[index],
        pinned: includesCard(view.pinned, tag),
      })),
    [visible, stepsOfCards, view.pinned],
  );

  const steps = useMemo(() => unionOfSteps(stepsOfCards), [stepsOfCards]);
  const newest = useMemo(() => newestStep(cards), [cards]);
  // The newest step at the time the selection was made: later data must not move what the reader looks at.
  const [anchor, setAnchor] = useState<{ selection: string; step: number } | null>(null);
  const settled = visible.length > 0 && missing === 0;
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
  const showMore = useCallback(
    (more: number) => setShown({ selection, count: count + CARDS_A_PAGE, wanted: count + more }),
    [selection, count],
  );
  const hiddenRunsOf = useCallback((tag: string) => hiddenRuns(matching, visible, tag), [matching, visible]);
  const { refetch } = tags;
  const retry = useCallback(() => void refetch(), [refetch]);
  const status = tags.data ? "success" : tags.status;
  const { error } = tags;

  const state = useMemo(
    (): SliceDataState => ({
      ...{ status, error, retry, runs, selectedRuns, runColor, methods, method, cards },
      count: { all: inMethod, matching: matching.length },
      hidden: matching.length - Math.min(count, matching.length),
      ...{ hiddenRuns: hiddenRunsOf, showMore, problems, steps, followNewest, view: settings, change },
    }),
    [
      ...[status, error, retry, runs, selectedRuns, runColor, methods, method, cards, inMethod],
      ...[matching.length, count, hiddenRunsOf, showMore, problems, steps, followNewest, settings, change],
    ],
  );
  return (
    <SliceDataContext value={state}>
      <StepContext value={step}>{children}</StepContext>
    </SliceDataContext>
  );
}

/** The view without its step: the same object while nothing else changes. */
function useSettings({ step: _, ...settings }: ViewState): Settings {
  const [before, setBefore] = useState<Settings>(settings);
  const names = Object.keys(settings) as (keyof Settings)[];
  if (names.every((name) => before[name] === settings[name])) return before;
  setBefore(settings);
  return settings;
}

/** The highest step of any card; what the list of tags says counts until a card's steps are known. */
function newestStep(cards: readonly Card[]): number | null {
  const last = cards.flatMap(({ steps, lastStep }) => (steps ? steps.steps.at(-1) : lastStep) ?? []);
  return last.length > 0 ? Math.max(...last) : null;
}
