import { digitsAmong, formatCount, formatNumber, formatWithError } from "@/maths/format";
import { nearestIndex } from "@/maths/grid";
import type { Scale } from "@/maths/scale";
import { round } from "./axes";
import { heightsAt, listedLines } from "./line-nearest";
import { type LineSeries, seriesPaths } from "./line-paths";
import { strokeOf, WHOLE_LINE } from "./line-styles";
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
  const pointed = !follows && cursor.y >= 0 && cursor.y <= inner.height;
  const {
    listed,
    left: unlisted,
    nearest,
  } = listedLines(shown, pointed ? cursor.y : null, () => heightsAt(shown, place, yScaleOf));
  const rows = listed.flatMap((entry) => {
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
        // In a layer of its own: else each move would paint all lines anew.
        className="pointer-events-none absolute overflow-visible will-change-transform"
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
        {nearest && <Highlight entry={nearest} yScale={yScaleOf(nearest)} {...{ xScale, inner, theme }} />}
        {pointed && (
          <line
            y1={round(cursor.y)}
            y2={round(cursor.y)}
            x2={inner.width}
            stroke={theme.foreground}
            strokeOpacity={0.3}
            strokeDasharray="3 3"
          />
        )}
        {listed.map((entry) => {
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
            ...(unlisted > 0
              ? [{ label: nearest ? "further away" : "and", value: `${formatCount(unlisted)} more` }]
              : []),
          ],
        }}
        width={width * unit}
        height={height * unit}
        follows={follows}
      />
    </>
  );
}

interface HighlightProps {
  readonly entry: LineSeries;
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly inner: { readonly width: number; readonly height: number };
  readonly theme: PlotTheme;
}

/** The line that the readout names first, on top of all others. */
function Highlight({ entry, xScale, yScale, inner, theme }: HighlightProps) {
  const { line } = seriesPaths(entry, xScale, yScale);
  const style = entry.style ?? WHOLE_LINE;
  return (
    <svg {...inner} overflow="hidden" fill="none" aria-hidden="true" data-testid="nearest-line">
      <path d={line} stroke={theme.background} strokeWidth={style.width + 5} strokeOpacity={0.9} />
      <path d={line} stroke={entry.color} {...strokeOf({ ...style, width: style.width + 1 })} />
    </svg>
  );
}
