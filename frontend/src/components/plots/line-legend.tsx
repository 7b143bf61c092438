import { fitted, round, textWidth } from "./axes";
import type { LineSeries } from "./line-paths";
import { FONT, type PlotTheme } from "./theme";

export interface LegendEntry {
  readonly key: string;
  readonly text: string;
  readonly color: string;
  readonly dashed: boolean;
  readonly at: number;
}

const SIZE = 12;
const SAMPLE = 22;
const GAP = 14;
const LONGEST = 260;
const MAX_ROWS = 4;

/** The entries in as many rows as they need; none for a single line, whose name the axis has. */
export function legendRows(series: readonly LineSeries[], width: number): LegendEntry[][] {
  if (series.length < 2 || width <= 0) return [];
  const rows: LegendEntry[][] = [];
  let end = Number.POSITIVE_INFINITY;
  for (const { key, label, color, dashed = false } of series) {
    const text = fitted(label, Math.min(width - SAMPLE, LONGEST), SIZE);
    const needed = SAMPLE + textWidth(text, SIZE) + GAP;
    if (end + needed - GAP > width) {
      rows.push([]);
      end = 0;
    }
    rows.at(-1)?.push({ key, text, color, dashed, at: end });
    end += needed;
  }
  if (rows.length <= MAX_ROWS) return rows;
  const hidden = rows.slice(MAX_ROWS - 1).flat().length;
  const more = { key: "more", text: `and ${hidden} more`, color: "transparent", dashed: false, at: -SAMPLE };
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
    <g fontFamily={FONT} fontSize={SIZE} fill={theme.foreground}>
      {rows.map((entries, row) =>
        entries.map((entry) => (
          <g key={entry.key} transform={`translate(${round(left + entry.at)},${14 + row * 20})`}>
            <line
              x2={16}
              y1={-4}
              y2={-4}
              stroke={entry.color}
              strokeWidth={2.5}
              {...(entry.dashed ? { strokeDasharray: "5 3" } : { strokeLinecap: "round" })}
            />
            <text x={SAMPLE}>{entry.text}</text>
          </g>
        )),
      )}
    </g>
  );
}
