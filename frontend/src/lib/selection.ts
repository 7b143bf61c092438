/** What of the log is looked at: from the list of tags and the reader's choices to the cards, without React. */
import type { TagInfo } from "./api";
import { includesCard, sameCard } from "./cards";
import { MAIN_METHODS, METHOD_ORDER } from "./methods";
import { nameFilter } from "./pattern";
import type { ViewState } from "./view-state";

/** How many cards are shown at first, and by how many each press of the button adds. */
export const CARDS_A_PAGE = 12;

/** How many the button adds that is for all of them. */
export const CARDS_AT_ONCE = 1000;

/**
 * How many of the wanted cards are shown next: some more whenever few of those before are still `missing`, so that the
 * server and the page keep up with what is asked of them.
 */
export function nextCount(count: number, wanted: number, missing: number): number {
  return missing < CARDS_A_PAGE ? Math.min(count + 2 * CARDS_A_PAGE, Math.max(wanted, count)) : count;
}

export interface MethodChoice {
  readonly method: string;
  /** Tags with data in the chosen runs. */
  readonly count: number;
}

export function runsOf(tags: readonly TagInfo[]): string[] {
  return [...new Set(tags.map((tag) => tag.run))];
}

/** The runs of the log that were chosen; the first where none of them is there. */
export function chosenRuns(runs: readonly string[], chosen: ViewState["runs"]): string[] {
  const wanted = new Set(chosen);
  const known = runs.filter((run) => wanted.has(run));
  return known.length > 0 ? known : runs.slice(0, 1);
}

export function tagsOfRuns(tags: readonly TagInfo[], runs: readonly string[]): TagInfo[] {
  const wanted = new Set(runs);
  return tags.filter((tag) => wanted.has(tag.run));
}

export function isReadable(tag: TagInfo): boolean {
  return tag.problem === null && tag.geometry !== null;
}

/** The main methods, and whatever else the runs hold, in a fixed order. */
export function methodChoices(tags: readonly TagInfo[]): MethodChoice[] {
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

/** The chosen method, or the first with data where the chosen one has none. */
export function chosenMethod(methods: readonly MethodChoice[], chosen: string | null): string | null {
  const available = methods.filter((choice) => choice.count > 0);
  return (available.find((choice) => choice.method === chosen) ?? available[0])?.method ?? null;
}

/** The tags of a method that the filter lets through; the same tag of all runs stands together. */
export function matchingTags(tags: readonly TagInfo[], method: string | null, filter: string): TagInfo[] {
  const passes = nameFilter(filter);
  const kept = tags.filter((tag) => isReadable(tag) && tag.sliceType === method && passes(tag.tag));
  const order = new Map([...new Set(kept.map((tag) => tag.tag))].map((tag, index) => [tag, index]));
  return kept.toSorted((a, b) => (order.get(a.tag) ?? 0) - (order.get(b.tag) ?? 0));
}

/** What is pinned, then the first `count` of those that match. */
export function shownTags(
  all: readonly TagInfo[],
  matching: readonly TagInfo[],
  count: number,
  pinned: ViewState["pinned"],
): TagInfo[] {
  const first = pinned.flatMap((key) => all.find((tag) => sameCard(tag, key) && isReadable(tag)) ?? []);
  return [...first, ...matching.slice(0, count).filter((tag) => !includesCard(first, tag))];
}

/** How many runs of a tag match and are not shown yet. */
export function hiddenRuns(matching: readonly TagInfo[], shown: readonly TagInfo[], tag: string): number {
  return matching.filter((entry) => entry.tag === tag && !includesCard(shown, entry)).length;
}

/** The tags whose cards a view shows first. */
export function firstTags(tags: readonly TagInfo[], view: ViewState): TagInfo[] {
  const inRuns = tagsOfRuns(tags, chosenRuns(runsOf(tags), view.runs));
  const method = chosenMethod(methodChoices(inRuns), view.method);
  return shownTags(tags, matchingTags(inRuns, method, view.filter), CARDS_A_PAGE, view.pinned);
}
