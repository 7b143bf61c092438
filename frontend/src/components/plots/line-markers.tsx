import { fitted, round, textWidth } from "./axes";
import type { LineMarker } from "./line-plot";
import { FONT, type PlotTheme } from "./theme";

export const MARKER_ROW = 14;
/** Pixels of a name. */
const LONGEST = 130;

interface MarkersProps {
  readonly markers: readonly LineMarker[];
  readonly rows: readonly number[];
  readonly xScale: (value: number) => number;
  /** None where the axis has no numbers. */
  readonly yScale: ((value: number) => number) | null;
  readonly width: number;
  readonly height: number;
  readonly theme: PlotTheme;
}

/** Named places on the x axis: a dashed line, the name above it, a ring at its own loss. */
export function Markers({ markers, rows, xScale, yScale, width, height, theme }: MarkersProps) {
  return (
    <g fontFamily={FONT} fontSize={11} fill={theme.muted}>
      {markers.map((marker, index) => {
        const at = round(xScale(marker.x));
        if (!(at >= -0.5 && at <= width + 0.5)) return null;
        const dot = marker.y === null || !yScale ? Number.NaN : yScale(marker.y);
        const row = rows[index] ?? 0;
        const anchor = at < 40 ? "start" : at > width - 40 ? "end" : "middle";
        return (
          <g key={`${marker.name} ${marker.x}`}>
            <line
              x1={at}
              x2={at}
              y1={-4 - Math.max(row, 0) * MARKER_ROW}
              y2={height}
              stroke={theme.axis}
              strokeDasharray="3 3"
            />
            {row !== NO_ROW && (
              <text x={at} y={-6 - row * MARKER_ROW} textAnchor={anchor}>
                {fitted(marker.name, LONGEST)}
              </text>
            )}
            {dot >= 0 && dot <= height && (
              <circle
                cx={at}
                cy={round(dot)}
                r={4}
                fill={theme.background}
                stroke={theme.foreground}
                strokeWidth={1.5}
              />
            )}
          </g>
        );
      })}
    </g>
  );
}

/** Rows of names above a plot; where all are taken, a marker has its line alone. */
const MAX_ROWS = 3;
export const NO_ROW = -1;

/** A row above the plot for each marker's name, so that names don't overlap: none where there is no room. */
export function markerRows(markers: readonly LineMarker[], xScale: (value: number) => number): number[] {
  const ends: number[] = [];
  return markers.map((marker) => {
    const at = xScale(marker.x);
    const half = Math.min(textWidth(marker.name), LONGEST) / 2 + 4;
    let row = ends.findIndex((end) => end <= at - half);
    if (row < 0) row = ends.length < MAX_ROWS ? ends.length : NO_ROW;
    if (row >= 0 && Number.isFinite(at)) ends[row] = at + half;
    return row;
  });
}
