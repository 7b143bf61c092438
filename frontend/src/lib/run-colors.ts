/** TensorBoard's colours of runs: seven, given in the order in which it lists the runs. */

// `colorPalette` of TensorBoard's settings; only the first differs in the dark.
const LIGHT = ["#425066", "#12b5cb", "#e52592", "#f9ab00", "#9334e6", "#7cb342", "#e8710a"];
const DARK = ["#8e98a3", ...LIGHT.slice(1)];

/** Run → colour. `order` is TensorBoard's own list; runs that it lacks come after, in the order of `runs`. */
export function runColors(
  order: readonly string[],
  runs: readonly string[],
  dark: boolean,
): (run: string) => string {
  const palette = dark ? DARK : LIGHT;
  const places = new Map([...new Set([...order, ...runs])].map((run, index) => [run, index]));
  return (run) => palette[(places.get(run) ?? 0) % palette.length] as string;
}
