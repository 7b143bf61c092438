/** How the numbers of whole slices change over the steps of a tag. */
import { isCut, words } from "./describe";
import { displayName, LONGEST_LABEL } from "./names";
import type { SliceHeader } from "./slice";

export interface Column {
  readonly name: string;
  /** One a step; NaN where the step has none. */
  readonly values: Float64Array;
  readonly errors: Float64Array;
  /** Not zero where the range of the slice cut the measure: its value is at least this. */
  readonly cut: Uint8Array;
}

export interface Evolution {
  readonly steps: Float64Array;
  readonly columns: readonly Column[];
}

/** Every measure, the center's losses and the directions' eigenvalues, at each step in ascending order. */
export function evolution(headers: ReadonlyMap<number, SliceHeader>): Evolution {
  const steps = Float64Array.from([...headers.keys()].sort((a, b) => a - b));
  const columns = new Map<string, Omit<Column, "name">>();
  steps.forEach((step, row) => {
    for (const [name, value, error, cut] of numbersOf(headers.get(step) as SliceHeader)) {
      const column = columns.get(name) ?? {
        ...{ values: blank(steps), errors: blank(steps) },
        cut: new Uint8Array(steps.length),
      };
      column.values[row] = value;
      column.errors[row] = error;
      column.cut[row] = cut ? 1 : 0;
      columns.set(name, column);
    }
  });
  return { steps, columns: [...columns].map(([name, column]) => ({ name, ...column })) };
}

function numbersOf(header: SliceHeader): (readonly [string, number, number, boolean?])[] {
  return [
    ...header.measures.map(
      ({ name, value, error, details }) =>
        [words(name), value ?? Number.NaN, error ?? Number.NaN, isCut(details)] as const,
    ),
    ...Object.entries(header.center?.loss ?? {}).map(([split, value]): [string, number, number] => [
      `loss at the center (${displayName(split, LONGEST_LABEL)})`,
      value,
      Number.NaN,
    ]),
    ...header.directions.flatMap(({ name, eigenvalue }): [string, number, number][] =>
      eigenvalue === null
        ? []
        : [[`eigenvalue, direction ${displayName(name, LONGEST_LABEL)}`, eigenvalue, Number.NaN]],
    ),
  ];
}

function blank(steps: Float64Array): Float64Array {
  return new Float64Array(steps.length).fill(Number.NaN);
}
