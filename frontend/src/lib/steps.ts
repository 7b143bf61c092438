/** Steps of one tag and of many: cards with different steps move together. */
import type { Steps } from "./api";

/** The one of ascending `steps` that is nearest to `step`, the earlier of two; null where there are none. */
export function nearestStep(steps: readonly number[], step: number | null): number | null {
  if (step === null) return null;
  const before = steps.findLast((entry) => entry <= step);
  const after = steps.find((entry) => entry > step);
  if (before === undefined || after === undefined) return before ?? after ?? null;
  return after - step < step - before ? after : before;
}

/** Every step of any tag, ascending. */
export function unionOfSteps(all: readonly (Steps | undefined)[]): number[] {
  return [...new Set(all.flatMap((entry) => entry?.steps ?? []))].sort((a, b) => a - b);
}
