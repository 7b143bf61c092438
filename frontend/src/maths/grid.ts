/** Where the cells of a grid lie along an axis, and which cell a place on the screen belongs to. */
import { bisectRight } from "d3-array";

/** The n + 1 borders of n cells around ascending `values`: half-way between neighbours, as wide again at the ends. */
export function cellEdges(values: Float64Array): Float64Array {
  const count = values.length;
  const edges = new Float64Array(count + 1);
  if (count === 1) {
    edges.set([(values[0] as number) - 0.5, (values[0] as number) + 0.5]);
    return edges;
  }
  for (let index = 1; index < count; index++) {
    edges[index] = ((values[index - 1] as number) + (values[index] as number)) / 2;
  }
  edges[0] = 2 * (values[0] as number) - (edges[1] as number);
  edges[count] = 2 * (values[count - 1] as number) - (edges[count - 1] as number);
  return edges;
}

/** The cell that holds `place`, or −1 outside. */
export function cellAt(edges: Float64Array, place: number): number {
  const last = edges.length - 1;
  if (!(place >= (edges[0] as number) && place <= (edges[last] as number))) return -1;
  return Math.min(bisectRight(edges, place) - 1, last - 1);
}

/** The index of the value nearest to `place`, whatever lies between. */
export function nearestIndex(values: Float64Array, place: number): number {
  const after = Math.min(bisectRight(values, place), values.length - 1);
  const before = Math.max(after - 1, 0);
  return place - (values[before] as number) <= (values[after] as number) - place ? before : after;
}

/** A fractional index of `place` among ascending `values`, clamped to [0, n − 1]. */
export function fractionalIndex(values: Float64Array, place: number): number {
  const last = values.length - 1;
  if (last === 0 || place <= (values[0] as number)) return 0;
  if (place >= (values[last] as number)) return last;
  const before = bisectRight(values, place) - 1;
  const start = values[before] as number;
  const width = (values[before + 1] as number) - start;
  return before + (width > 0 ? (place - start) / width : 0);
}

/** The value at a fractional index, linear between neighbours: a whole index asks none of them. */
export function valueAtIndex(values: Float64Array, index: number): number {
  const before = Math.min(Math.max(Math.floor(index), 0), values.length - 1);
  const after = Math.min(before + 1, values.length - 1);
  const start = values[before] as number;
  return index === before ? start : start + (index - before) * ((values[after] as number) - start);
}

/** The permutation that sorts `values`, or null where they ascend already. */
export function ascendingOrder(values: Float64Array): Int32Array | null {
  let ascends = true;
  for (let index = 1; index < values.length && ascends; index++) {
    ascends = (values[index] as number) >= (values[index - 1] as number);
  }
  if (ascends) return null;
  return Int32Array.from(values.keys()).sort((a, b) => (values[a] as number) - (values[b] as number));
}

/** `values` of a C-order `shape` with the entries along `dimension` taken in `order`. */
export function reorder(
  values: Float64Array,
  shape: readonly number[],
  dimension: number,
  order: Int32Array,
): Float64Array {
  const size = shape[dimension] as number;
  const inner = shape.slice(dimension + 1).reduce((product, entry) => product * entry, 1);
  const outer = values.length / (size * inner);
  const sorted = new Float64Array(values.length);
  for (let block = 0; block < outer; block++) {
    for (let index = 0; index < size; index++) {
      const from = (block * size + (order[index] as number)) * inner;
      sorted.set(values.subarray(from, from + inner), (block * size + index) * inner);
    }
  }
  return sorted;
}
