import { digitsAmong, formatNumber, formatWithError } from "@/maths/format";
import { nearestIndex } from "@/maths/grid";
import type { Scale } from "@/maths/scale";
import { round } from "./axes";
import type { LineSeries } from "./line-paths";
import { cursors, useLinked } from "./linked";
import { framed, ReadoutBox } from "./plot-shell";
import type { PlotTheme } from "./theme";

interface LineCursorProps {
  readonly cursorKey: string;
  readonly id: string;
  readonly series: readonly LineSeries[];
  readonly xLabel: string;
  readonly xScale: Scale;
  readonly yScaleOf: (entry: LineSeries) => Scale;
  readonly left: number;
  readonly top: number;
  readonly inner: { readonly width: number; readonly height: number };
  readonly width: number;
  readonly height: number;
  /** Pixels of the page to one of these. */
  readonly unit: number;
  readonly theme: PlotTheme;
}

/** More rows would hide the plot. */
const MAX_ROWS = 14;

/** A vertical and a horizontal hair at the pointer, and the values of all lines at the nearest point. */
export function LineCursor(props: LineCursorProps) {
  const { series, xLabel, xScale, yScaleOf, left, top, inner, width, height, unit, theme } = props;
  const cursor = useLinked(cursors, props.cursorKey);
  const [main] = series;
  if (!cursor || !main || main.x.length === 0) return null;
  const index = nearestIndex(main.x, cursor.x);
  const place = main.x[index] as number;
  const across = xScale(place);
  if (!(across >= -1 && across <= inner.width + 1)) return null;
  const follows = cursor.source !== props.id;
  const shown = series.filter((entry) => !entry.ghost);
  const rows = shown.slice(0, MAX_ROWS).flatMap((entry) => {
    const at = nearestIndex(entry.x, place);
    const own = entry.x[at] as number;
    const digits = digitsAmong(entry.values);
    const [low, high, mean] = [entry.spread?.low, entry.spread?.high, entry.spread?.mean].map((part) =>
      part ? formatNumber(part[at] as number, digits) : "",
    );
    return [
      {
        label:
          own === place ? entry.label : `${entry.label} at ${formatNumber(own, digitsAmong(entry.x, 4))}`,
        value: `${entry.atLeast?.[at] ? "≥ " : ""}${formatWithError(entry.values[at] as number, entry.stderr?.[at], digits)}`,
        color: entry.color,
      },
      ...(entry.spread
        ? [
            { label: "all directions, mean", value: mean as string },
            { label: "lowest to highest", value: `${low} to ${high}` },
          ]
        : []),
    ];
  });
  return (
    <>
      <svg
        className="pointer-events-none absolute overflow-visible"
        style={{ left: left * unit, top: top * unit }}
        {...framed(inner.width, inner.height, unit)}
        aria-hidden="true"
      >
        <line
          x1={round(across)}
          x2={round(across)}
          y2={inner.height}
          stroke={theme.foreground}
          strokeOpacity={0.5}
        />
        {!follows && cursor.y >= 0 && cursor.y <= inner.height && (
          <line
            y1={round(cursor.y)}
            y2={round(cursor.y)}
            x2={inner.width}
            stroke={theme.foreground}
            strokeOpacity={0.3}
            strokeDasharray="3 3"
          />
        )}
        {shown.map((entry) => {
          const at = nearestIndex(entry.x, place);
          const up = yScaleOf(entry)(entry.values[at] as number);
          return up >= 0 && up <= inner.height ? (
            <circle
              key={entry.key}
              cx={round(xScale(entry.x[at] as number))}
              cy={round(up)}
              r={4}
              fill={entry.color}
              stroke={theme.background}
              strokeWidth={1.5}
            />
          ) : null;
        })}
      </svg>
      <ReadoutBox
        readout={{
          x: (left + across) * unit,
          y: top * unit,
          rows: [
            { label: xLabel, value: formatNumber(place, digitsAmong(main.x)) },
            ...rows,
            ...(shown.length > MAX_ROWS ? [{ label: "and", value: `${shown.length - MAX_ROWS} more` }] : []),
          ],
        }}
        width={width * unit}
        height={height * unit}
        follows={follows}
      />
    </>
  );
}
