import { memo, type PointerEvent, useCallback, useId, useMemo, useRef, useState } from "react";
import { usePlotWidth } from "@/hooks/use-size";
import type { ScaleName } from "@/maths/color";
import { formatNumber } from "@/maths/format";
import { nearestIndex } from "@/maths/grid";
import type { Tails, ValueRange } from "@/maths/range";
import { leftOutText, linearText, type Scale, scaleOf } from "@/maths/scale";
import { axisTicks, countTicks, type Tick, ticksAt } from "@/maths/ticks";
import { BottomAxis, LeftAxis, leftMargin, RightAxis } from "./axes";
import { LineCursor } from "./line-cursor";
import { Legend, legendRows } from "./line-legend";
import { MARKER_ROW, Markers, markerRows } from "./line-markers";
import { areMany, heightsAt, nextHeight } from "./line-nearest";
import { horizontalSpan, type LineSeries, roomy, seriesPaths, visibleRange } from "./line-paths";
import { Points } from "./line-points";
import { alikeText, strokeOf, WHOLE_LINE } from "./line-styles";
import { axesKey, cursors } from "./linked";
import { crossesOf, NOT_FINITE_NOTE, NotFinite } from "./not-finite";
import { framed, PlotShell, placeIn } from "./plot-shell";
import type { PlotTheme } from "./theme";
import { useZoom } from "./use-zoom";

export interface LineMarker {
  readonly name: string;
  readonly x: number;
  readonly y: number | null;
}

interface LinePlotProps {
  readonly label: string;
  readonly summary: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** The first is the one that keys and the cross-hair follow. */
  readonly series: readonly LineSeries[];
  readonly rightLabel?: string;
  readonly markers: readonly LineMarker[];
  readonly scale: ScaleName;
  readonly across?: ScaleName;
  /** Whether the horizontal axis counts, as steps do: there is nothing between two whole numbers. */
  readonly counts?: boolean;
  readonly range: "robust" | "full";
  readonly tails: Tails;
  /** The vertical range, where it is not that of the visible values. */
  readonly limits?: ValueRange | null;
  readonly linked?: boolean;
  readonly note?: string;
  readonly theme: PlotTheme;
  readonly heightShare?: number;
}

const LEGEND = 20;

/** Lines over one axis, with bands of one standard error, markers, and the values under the cursor. */
export const LinePlot = memo(function LinePlot(props: LinePlotProps) {
  const { label, summary, xLabel, yLabel, series, markers, range, tails, theme, limits = null } = props;
  const id = useId();
  const container = useRef<HTMLDivElement>(null);
  const { width, unit } = usePlotWidth(container);
  const usual = Math.min(Math.max(Math.round(width * (props.heightShare ?? 0.5)), 240), 440);
  const [left, setLeft] = useState(56);

  const acrossLog = props.across === "log" && series.some(({ x }) => (x[x.length - 1] ?? 0) > 0);
  const [first, last] = useMemo(() => horizontalSpan(series, acrossLog), [series, acrossLog]);
  const rows = useMemo(
    () => markerRows(markers, scaleOf([first, last], [0, width - 80], acrossLog ? "log" : "linear")),
    [markers, first, last, width, acrossLog],
  );
  const named = useMemo(() => series.filter((entry) => !entry.ghost), [series]);
  const legend = useMemo(() => legendRows(named, width - left - 16), [named, width, left]);
  const top =
    10 + legend.length * LEGEND + (markers.length > 0 ? MARKER_ROW * (Math.max(...rows, 0) + 1) : 0);
  const height = usual + Math.max(legend.length - 1, 0) * LEGEND;
  const rightSeries = useMemo(() => series.filter((entry) => entry.right), [series]);
  const rightRange = useMemo(
    () => visibleRange(rightSeries, first, last, "full", tails, false),
    [rightSeries, first, last, tails],
  );
  const rightDomain = rightRange ? roomy(rightRange.low, rightRange.high, false) : null;
  const rightTicks = rightDomain ? axisTicks(...rightDomain, Math.max((height - top - 44) / 48, 2)) : [];
  const right = rightDomain ? leftMargin(rightTicks) + 4 : 16;
  const wide = Math.max(width - left - right, 10);
  const high = Math.max(height - top - 44, 10);
  const inner = useMemo(() => ({ width: wide, height: high }), [wide, high]);

  const key = props.linked ? axesKey(`${xLabel} ${first} ${last} ${acrossLog}`) : id;
  const zoom = useZoom(inner.width, inner.height, key);
  const across = acrossLog ? "log" : "linear";
  const xBase = scaleOf(roomy(first, last, acrossLog, 0.01), [0, inner.width], across);
  const [x0, x1] = [0, inner.width].map((at) => xBase.invert(zoom.transform.invertX(at))) as [number, number];
  const xScale = useMemo(() => scaleOf([x0, x1], [0, inner.width], across), [x0, x1, inner.width, across]);
  const visible = useMemo(
    () =>
      limits ??
      visibleRange(
        series.filter((entry) => !entry.right),
        x0,
        x1,
        range,
        tails,
        props.scale === "log",
      ),
    [limits, series, x0, x1, range, tails, props.scale],
  );
  const log = props.scale === "log" && visible !== null && visible.low > 0;
  const [y0, y1] = visible ? roomy(visible.low, visible.high, log) : [0, 1];
  const yScale = useMemo(
    () => scaleOf([y0, y1], [inner.height, 0], log ? "log" : "linear"),
    [y0, y1, inner.height, log],
  );
  const [r0, r1] = rightDomain ?? [0, 1];
  const rightScale = useMemo(() => scaleOf([r0, r1], [inner.height, 0]), [r0, r1, inner.height]);
  const yScaleOf = useCallback(
    (entry: LineSeries): Scale => (entry.right ? rightScale : yScale),
    [rightScale, yScale],
  );
  const xTicks = horizontalTicks(props.counts ? [first, last] : null, [x0, x1], inner.width, across);
  const yTicks = visible ? axisTicks(y0, y1, Math.max(inner.height / 48, 2), log ? "log" : "linear") : [];
  const wanted = leftMargin(yTicks);
  if (wanted !== left) setLeft(wanted);

  const paths = useMemo(
    () => series.map((entry) => ({ entry, ...seriesPaths(entry, xScale, yScaleOf(entry)) })),
    [series, xScale, yScaleOf],
  );

  const crosses = useMemo(
    () =>
      crossesOf(
        named.filter((entry) => !entry.gaps),
        xScale,
        inner.width,
      ),
    [named, xScale, inner.width],
  );

  const onPointer = (event: PointerEvent<SVGRectElement>) => {
    const [left, y] = placeIn(event);
    cursors.set(key, { x: xScale.invert(left), y, source: id });
  };
  const onLeave = useCallback(() => cursors.set(key, undefined), [key]);
  const onMove = (dx: number, dy: number) => {
    const x = series[0]?.x;
    const upwards = areMany(named) ? dy : 0;
    if (!x || x.length === 0 || (dx === 0 && upwards === 0)) return;
    const before = cursors.get(key);
    const place = x[moved(before ? nearestIndex(x, before.x) : null, dx, x.length)] as number;
    const y = areMany(named) ? (before?.y ?? -1) : -1;
    const heights = upwards === 0 ? [] : heightsAt(named, place, yScaleOf);
    cursors.set(key, { x: place, y: nextHeight(heights, y, upwards), source: id });
  };
  const clipped = visible !== null && (visible.low > visible.min || visible.high < visible.max);
  const notes = [
    props.note ?? "",
    clipped ? clippedText(visible) : "",
    linearText(props.scale, visible?.low),
    leftOutText(props.across ?? "linear", series[0]?.x ?? []),
    crosses.length > 0 ? NOT_FINITE_NOTE : "",
    alikeText(named),
  ].filter(Boolean);

  return (
    <PlotShell
      ref={container}
      label={label}
      summary={summary}
      note={notes.join(" ")}
      width={width}
      height={height}
      unit={unit}
      zoom={zoom}
      onMove={onMove}
      onLeave={onLeave}
    >
      {width > 0 && (
        <>
          <svg
            data-figure
            {...framed(width, height, unit)}
            className="absolute inset-0 touch-pan-y"
            aria-hidden="true"
          >
            <clipPath id={id}>
              <rect {...inner} />
            </clipPath>
            <Legend rows={legend} left={left} theme={theme} />
            <g transform={`translate(${left},${top})`}>
              <BottomAxis
                ticks={xTicks.map((tick) => ({ ...tick, at: xScale(tick.value) }))}
                {...inner}
                label={xLabel}
                theme={theme}
                grid
              />
              <LeftAxis
                ticks={yTicks.map((tick) => ({ ...tick, at: yScale(tick.value) }))}
                {...inner}
                label={yLabel}
                theme={theme}
                grid
                offset={left}
              />
              {rightDomain && (
                <RightAxis
                  ticks={rightTicks.map((tick) => ({ ...tick, at: rightScale(tick.value) }))}
                  {...inner}
                  label={props.rightLabel ?? ""}
                  theme={theme}
                  grid={false}
                  offset={right}
                />
              )}
              <g clipPath={`url(#${id})`}>
                {paths.map(
                  ({ entry, spread, mean }) =>
                    spread && (
                      <g key={entry.key} data-testid="spread">
                        <path d={spread} fill={entry.color} fillOpacity={0.1} />
                        <path
                          d={mean ?? ""}
                          fill="none"
                          stroke={entry.color}
                          strokeOpacity={0.8}
                          strokeDasharray="2 3"
                        />
                      </g>
                    ),
                )}
                {paths.map(
                  ({ entry, band }) =>
                    band && <path key={entry.key} d={band} fill={entry.color} fillOpacity={0.18} />,
                )}
                {/* The first is drawn last: on top of all others. */}
                {paths.toReversed().map(({ entry, raw, line }) => (
                  <g
                    key={entry.key}
                    fill="none"
                    stroke={entry.color}
                    strokeLinecap="round"
                    strokeLinejoin="round"
                    data-testid={entry.ghost ? "ghost" : "line"}
                  >
                    {raw && <path d={raw} strokeWidth={1} strokeOpacity={0.4} data-testid="raw" />}
                    <path
                      d={line}
                      {...(entry.ghost
                        ? { strokeWidth: 1, strokeOpacity: 0.3 }
                        : strokeOf(entry.style ?? WHOLE_LINE))}
                    />
                  </g>
                ))}
                {named.map((entry) => (
                  <Points
                    key={entry.key}
                    {...{ entry, xScale, theme }}
                    lines={named.length}
                    yScale={yScaleOf(entry)}
                  />
                ))}
                <NotFinite crosses={crosses} height={inner.height} theme={theme} />
              </g>
              <Markers
                markers={markers}
                rows={rows}
                xScale={xScale}
                yScale={visible && yScale}
                {...inner}
                theme={theme}
              />
              <rect
                ref={zoom.ref}
                data-transient
                {...inner}
                fill="transparent"
                className="cursor-crosshair"
                onPointerMove={onPointer}
                onPointerDown={onPointer}
                onPointerLeave={onLeave}
              />
            </g>
          </svg>
          <LineCursor
            {...{ series, xLabel, xScale, yScaleOf, left, top, inner, width, height, unit, id, theme }}
            cursorKey={key}
          />
        </>
      )}
    </PlotShell>
  );
});

/** Of an axis that counts from `first` to `last`; of one place there is one tick. */
function horizontalTicks(
  counted: readonly [number, number] | null,
  [low, high]: readonly [number, number],
  width: number,
  scale: ScaleName,
): Tick[] {
  const count = Math.max(width / 80, 2);
  if (!counted) return axisTicks(low, high, count, scale);
  const [first, last] = counted;
  if (first < last) return countTicks(low, high, count, scale);
  return ticksAt(first >= low && first <= high ? [first] : []);
}

export function clippedText(range: ValueRange): string {
  const low = range.low > range.min;
  const high = range.high < range.max;
  const limits = [low && formatNumber(range.low, 4), high && formatNumber(range.high, 4)].filter(Boolean);
  const reach = [low && formatNumber(range.min, 4), high && formatNumber(range.max, 4)].filter(Boolean);
  return `Clipped at ${limits.join(" and ")}; the values reach ${reach.join(" and ")}.`;
}

export function moved(before: number | null, by: number, count: number): number {
  if (before === null) return by > 0 ? 0 : count - 1;
  return Math.min(Math.max(before + by, 0), count - 1);
}
