import { fitted, round, textWidth } from "./axes";
import type { LineSeries } from "./line-plot";
import { FONT, type PlotTheme } from "./theme";

interface LegendProps {
  readonly series: readonly LineSeries[];
  readonly left: number;
  readonly width: number;
  readonly theme: PlotTheme;
}

/** One entry a series, above the plot. */
export function Legend({ series, left, width, theme }: LegendProps) {
  const share = width / series.length;
  let at = left;
  return (
    <g fontFamily={FONT} fontSize={12} fill={theme.foreground}>
      {series.map((entry) => {
        const text = fitted(entry.label, share - 30, 12);
        const place = at;
        at += textWidth(text, 12) + 36;
        return (
          <g key={entry.label} transform={`translate(${round(place)},14)`}>
            <line x2={16} y1={-4} y2={-4} stroke={entry.color} strokeWidth={2.5} strokeLinecap="round" />
            <text x={22}>{text}</text>
          </g>
        );
      })}
    </g>
  );
}
