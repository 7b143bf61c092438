/** Crosses at the lower edge of a plot where a line has a value that is not finite, and so no place of its own. */
import { round } from "./axes";
import type { PlotTheme } from "./theme";

export const NOT_FINITE_NOTE = "Crosses at the lower edge: values that are not finite.";

/** Pixels between crosses: of nearer ones the first stands for the others. */
const APART = 7;
/** Lines whose crosses have a row of their own; further ones share the last. */
const MAX_ROWS = 4;

interface CrossedLine {
  readonly key: string;
  readonly color: string;
  readonly x: Float64Array;
  readonly values: Float64Array;
}

export interface Crosses {
  readonly key: string;
  readonly color: string;
  readonly row: number;
  readonly places: readonly number[];
}

/** Where each line that needs crosses has them, from the left edge of a plot of this width. */
export function crossesOf(
  lines: readonly CrossedLine[],
  xScale: (value: number) => number,
  width: number,
): Crosses[] {
  const found = lines.flatMap(({ key, color, x, values }) => {
    const places: number[] = [];
    values.forEach((value, index) => {
      if (Number.isFinite(value)) return;
      const at = xScale(x[index] as number);
      if (!(at >= 0 && at <= width) || at - (places.at(-1) ?? Number.NEGATIVE_INFINITY) < APART) return;
      places.push(at);
    });
    return places.length > 0 ? [{ key, color, places }] : [];
  });
  return found.map((line, index) => ({ ...line, row: Math.min(index, MAX_ROWS - 1) }));
}

interface NotFiniteProps {
  readonly crosses: readonly Crosses[];
  readonly height: number;
  readonly theme: PlotTheme;
  /** From the middle of a cross to its ends. */
  readonly size?: number;
}

export function NotFinite({ crosses, height, theme, size = 3 }: NotFiniteProps) {
  return crosses.map(({ key, color, row, places }) => {
    const up = height - (2 * row + 1) * (size + 1.5);
    const path = places
      .map((at) => {
        const [left, right] = [round(at - size), round(at + size)];
        return `M${left},${up - size}L${right},${up + size}M${left},${up + size}L${right},${up - size}`;
      })
      .join("");
    return (
      <g key={key} fill="none" strokeLinecap="round" data-testid="not-finite">
        <path d={path} stroke={theme.background} strokeWidth={4} />
        <path d={path} stroke={color} strokeWidth={1.5} />
      </g>
    );
  });
}
