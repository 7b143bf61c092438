import type { Scale } from "@/maths/scale";
import { type LineSeries, symbolPoints } from "./line-paths";
import type { PlotTheme } from "./theme";

interface PointsProps {
  readonly entry: LineSeries;
  readonly xScale: Scale;
  readonly yScale: Scale;
  /** How many the plot has. */
  readonly lines: number;
  readonly theme: PlotTheme;
}

const LONE = 3.5;

/** A dot at each point where there are few, since one without a neighbour is no line; open arrowheads at lower bounds. */
export function Points({ entry, xScale, yScale, lines, theme }: PointsProps) {
  return symbolPoints(entry, xScale, yScale, lines).map(({ index, x, y, atLeast, alone }) =>
    atLeast ? (
      <path
        key={index}
        d={`M${x - 4.5},${y + 3.5}h9l-4.5,-8z`}
        fill={theme.background}
        stroke={entry.color}
        strokeWidth={1.5}
        strokeLinejoin="round"
        data-testid="at-least"
      />
    ) : (
      <circle key={index} cx={x} cy={y} r={alone ? LONE : 1.6} fill={entry.color} />
    ),
  );
}
