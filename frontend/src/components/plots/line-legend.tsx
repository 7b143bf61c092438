import { fitted, round, textWidth } from "./axes";
import type { LineSeries } from "./line-paths";
import { type LineStyle, strokeOf, WHOLE_LINE } from "./line-styles";
import { FONT, type PlotTheme } from "./theme";

export interface LegendEntry {
  readonly key: string;
  readonly text: string;
  readonly color: string;
  readonly style: LineStyle;
  readonly at: number;
}

const SIZE = 12;
/** Long enough to show a dash of any style with what follows it. */
const SAMPLE = 28;
const TEXT = SAMPLE + 6;
const GAP = 14;
const LONGEST = 260;
/** So many lines can be told apart; more rows would leave the plot no place. */
const MAX_ROWS = 16;

/** The entries in as many rows as they need; none for a single line, whose name the axis has. */
export function legendRows(series: readonly LineSeries[], width: number): LegendEntry[][] {
  if (series.length < 2 || width <= 0) return [];
  const rows: LegendEntry[][] = [];
  let end = Number.POSITIVE_INFINITY;
  for (const { key, label, color, style = WHOLE_LINE } of series) {
    const text = fitted(label, Math.min(width - TEXT, LONGEST), SIZE);
    const needed = TEXT + textWidth(text, SIZE) + GAP;
    if (end + needed - GAP > width) {
      rows.push([]);
      end = 0;
    }
    rows.at(-1)?.push({ key, text, color, style, at: end });
    end += needed;
  }
  if (rows.length <= MAX_ROWS) return rows;
  const hidden = rows.slice(MAX_ROWS - 1).flat().length;
  const text = `and ${hidden} more`;
  const more = { key: "more", text, color: "transparent", style: WHOLE_LINE, at: -TEXT };
  return [...rows.slice(0, MAX_ROWS - 1), [more]];
}

interface LegendProps {
  readonly rows: readonly (readonly LegendEntry[])[];
  readonly left: number;
  readonly theme: PlotTheme;
}

/** One entry a series, above the plot. */
export function Legend({ rows, left, theme }: LegendProps) {
  return (
    <g fontFamily={FONT} fontSize={SIZE} fill={theme.foreground} data-testid="legend">
      {rows.map((entries, row) =>
        entries.map((entry) => (
          <g key={entry.key} transform={`translate(${round(left + entry.at)},${14 + row * 20})`}>
            <line x2={SAMPLE} y1={-4} y2={-4} stroke={entry.color} {...strokeOf(entry.style)} />
            <text x={TEXT}>{entry.text}</text>
          </g>
        )),
      )}
    </g>
  );
}
