/** Steps of one tag and of many: cards with different steps move together. */
import type { Steps } from "./api";

/** The greatest of ascending `steps` that is not above `step`; null where all are above, or there are none. */
export function stepAtOrBefore(steps: readonly number[], step: number | null): number | null {
  if (step === null) return null;
  return steps.findLast((entry) => entry <= step) ?? null;
}

/** Every step of any tag, ascending. */
export function unionOfSteps(all: readonly (Steps | undefined)[]): number[] {
  return [...new Set(all.flatMap((entry) => entry?.steps ?? []))].sort((a, b) => a - b);
}
