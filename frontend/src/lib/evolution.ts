/** How the numbers of whole slices change over the steps of a tag. */
import { words } from "./describe";
import type { SliceHeader } from "./slice";

export interface Column {
  readonly name: string;
  /** One a step; NaN where the step has none. */
  readonly values: Float64Array;
  readonly errors: Float64Array;
}

export interface Evolution {
  readonly steps: Float64Array;
  readonly columns: readonly Column[];
}

/** Every measure, the center's losses and the directions' eigenvalues, at each step in ascending order. */
export function evolution(headers: ReadonlyMap<number, SliceHeader>): Evolution {
  const steps = Float64Array.from([...headers.keys()].sort((a, b) => a - b));
  const columns = new Map<string, { values: Float64Array; errors: Float64Array }>();
  steps.forEach((step, row) => {
    for (const [name, value, error] of numbersOf(headers.get(step) as SliceHeader)) {
      const column = columns.get(name) ?? { values: blank(steps), errors: blank(steps) };
      column.values[row] = value;
      column.errors[row] = error;
      columns.set(name, column);
    }
  });
  return { steps, columns: [...columns].map(([name, column]) => ({ name, ...column })) };
}

function numbersOf(header: SliceHeader): [string, number, number][] {
  return [
    ...header.measures.map(({ name, value, error }): [string, number, number] => [
      words(name),
      value ?? Number.NaN,
      error ?? Number.NaN,
    ]),
    ...Object.entries(header.center?.loss ?? {}).map(([split, value]): [string, number, number] => [
      `loss at the center (${split})`,
      value,
      Number.NaN,
    ]),
    ...header.directions.flatMap(({ name, eigenvalue }): [string, number, number][] =>
      eigenvalue === null ? [] : [[`eigenvalue, direction ${name}`, eigenvalue, Number.NaN]],
    ),
  ];
}

function blank(steps: Float64Array): Float64Array {
  return new Float64Array(steps.length).fill(Number.NaN);
}
