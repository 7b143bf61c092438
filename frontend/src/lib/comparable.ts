/** Which of the slices that a reader compares can be subtracted from one another, and what tells them apart. */

import { seriesLabel, shortRun, stepText } from "./describe";
import { displayName, tagName } from "./names";
import type { Geometry, SliceData } from "./slice";

interface Compared {
  readonly slice: SliceData;
}

export interface Comparable<T> {
  /** The first, and those that show what it shows: that series is the first of each. */
  readonly alike: readonly T[];
  /** Those that show something else, because they lack what the reader chose. */
  readonly others: readonly T[];
}

/** Of one geometry: a loss is never subtracted from an accuracy, nor a split from another. */
export function comparable<T extends Compared>(compared: readonly T[], geometry: Geometry): Comparable<T> {
  const all = compared.filter(({ slice }) => slice.header.geometry === geometry);
  const wanted = all[0]?.slice.series[0];
  const alike: T[] = [];
  const others: T[] = [];
  for (const entry of all) {
    const { series } = entry.slice;
    const found = series.find(({ name, split }) => name === wanted?.name && split === wanted.split);
    if (!found) others.push(entry);
    else if (found === series[0]) alike.push(entry);
    else alike.push({ ...entry, slice: { ...entry.slice, series: [found] } });
  }
  return { alike, others };
}

/** What is left out and why; nothing where nothing is. */
export function leftOutText<T extends Compared>({ alike, others }: Comparable<T>, name: NameOf): string {
  const main = alike[0]?.slice.series[0];
  if (!main || others.length === 0) return "";
  const told = others.map(({ slice }) => `${name(slice)} shows ${seriesLabel(slice.series[0])}`);
  return `Only ${seriesLabel(main)} is subtracted: ${told.join("; ")}.`;
}

export type NameOf = (slice: Pick<SliceData, "run" | "tag" | "step" | "header">) => string;

/** `exp7, step 500`, with the tag where that is not the same for all. */
export function nameOfCompared(slices: readonly Pick<SliceData, "tag">[]): NameOf {
  const several = new Set(slices.map(({ tag }) => tag)).size > 1;
  return ({ run, tag, step, header }) =>
    [...(several ? [tagName(tag, 80)] : []), displayName(shortRun(run), 80), stepText(header, step)].join(
      ", ",
    );
}
