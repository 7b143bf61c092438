import { area, line } from "d3-shape";
import { type PointerEvent, useId, useMemo, useRef, useState } from "react";
import { useWidth } from "@/hooks/use-size";
import type { ScaleName } from "@/maths/color";
import { formatNumber, formatWithError } from "@/maths/format";
import { nearestIndex } from "@/maths/grid";
import { chosenRange, padded, type Tails, type ValueRange } from "@/maths/range";
import { scaleOf } from "@/maths/scale";
import { axisTicks } from "@/maths/ticks";
import { BottomAxis, LeftAxis, leftMargin, round } from "./axes";
import { Legend } from "./line-legend";
import { MARKER_ROW, Markers, markerRows } from "./line-markers";
import { PlotShell, type Readout } from "./plot-shell";
import type { PlotTheme } from "./theme";
import { useZoom } from "./use-zoom";

export interface LineSeries {
  readonly label: string;
  readonly color: string;
  readonly values: Float64Array;
  /** What is drawn strongly; the raw values are drawn faintly below it where it differs. */
  readonly smoothed: Float64Array;
  readonly stderr: Float64Array | null;
}

export interface LineMarker {
  readonly name: string;
  readonly x: number;
  readonly y: number | null;
}

interface LinePlotProps {
  readonly label: string;
  readonly summary: string;
  readonly x: Float64Array;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly LineSeries[];
  readonly markers: readonly LineMarker[];
  readonly scale: ScaleName;
  readonly range: "robust" | "full";
  readonly tails: Tails;
  readonly theme: PlotTheme;
  readonly heightShare?: number;
}

const LEGEND = 20;

/** Lines over one axis, with bands of one standard error, markers, and the values under the cursor. */
export function LinePlot(props: LinePlotProps) {
  const {
    label,
    summary,
    x,
    xLabel,
    yLabel,
    series,
    markers,
    scale,
    range,
    tails,
    theme,
    heightShare = 0.5,
  } = props;
  const clip = useId();
  const container = useRef<HTMLDivElement>(null);
  const width = useWidth(container);
  const height = Math.min(Math.max(Math.round(width * heightShare), 240), 440);

  const [left, setLeft] = useState(56);
  const rows = useMemo(() => markerRows(markers, x, width), [markers, x, width]);
  const top =
    10 + (series.length > 1 ? LEGEND : 0) + (markers.length > 0 ? MARKER_ROW * (Math.max(...rows) + 1) : 0);
  const inner = { width: Math.max(width - left - 16, 10), height: Math.max(height - top - 44, 10) };
  const zoom = useZoom(inner.width, inner.height);
  const [cursor, setCursor] = useState<number | null>(null);

  const [first, last] = [x[0] ?? 0, x[x.length - 1] ?? 1];
  const xBase = scaleOf(padded(first, last, 0.01), [0, inner.width]);
  const xDomain: [number, number] = [
    xBase.invert(zoom.transform.invertX(0)),
    xBase.invert(zoom.transform.invertX(inner.width)),
  ];
  const xScale = scaleOf(xDomain, [0, inner.width]);
  const visible = useMemo(
    () => visibleRange(x, series, xDomain[0], xDomain[1], range, tails),
    [x, series, xDomain[0], xDomain[1], range, tails],
  );
  const log = scale === "log" && visible !== null && visible.low > 0;
  const yDomain = yBounds(visible, log);
  const yScale = scaleOf(yDomain, [inner.height, 0], log ? "log" : "linear");
  const xTicks = axisTicks(xDomain[0], xDomain[1], Math.max(inner.width / 80, 2));
  const yTicks = axisTicks(yDomain[0], yDomain[1], Math.max(inner.height / 48, 2), log ? "log" : "linear");
  const wanted = leftMargin(yTicks);
  if (wanted !== left) setLeft(wanted);

  const paths = useMemo(() => {
    const at = scaleOf([xDomain[0], xDomain[1]], [0, inner.width]);
    const up = scaleOf([yDomain[0], yDomain[1]], [inner.height, 0], log ? "log" : "linear");
    return series.map((entry) => seriesPaths(entry, x, at, up));
  }, [series, x, xDomain[0], xDomain[1], yDomain[0], yDomain[1], inner.width, inner.height, log]);

  const onPointer = (event: PointerEvent<SVGRectElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    setCursor(nearestIndex(x, xScale.invert(event.clientX - box.left)));
  };
  const at = cursor === null ? null : Math.min(cursor, x.length - 1);
  const clipped = visible !== null && (visible.low > visible.min || visible.high < visible.max);

  return (
    <PlotShell
      ref={container}
      label={label}
      summary={summary}
      note={clipped && visible ? clippedText(visible) : ""}
      width={width}
      height={height}
      zoom={zoom}
      readout={at === null ? null : readoutAt(at, x, xLabel, series, left + xScale(x[at] as number), top)}
      onMove={(dx) => dx !== 0 && setCursor((before) => moved(before, dx, x.length))}
      onLeave={() => setCursor(null)}
    >
      {width > 0 && (
        <svg
          data-figure
          width={width}
          height={height}
          className="absolute inset-0 touch-pan-y"
          aria-hidden="true"
        >
          <clipPath id={clip}>
            <rect width={inner.width} height={inner.height} />
          </clipPath>
          {series.length > 1 && <Legend series={series} left={left} width={inner.width} theme={theme} />}
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
            <g clipPath={`url(#${clip})`}>
              {paths.map(
                ({ band, color }) =>
                  band && <path key={`band ${color}`} d={band} fill={color} fillOpacity={0.18} />,
              )}
              {paths.map(({ raw, line: drawn, color }) => (
                <g key={color} fill="none" stroke={color} strokeLinecap="round" strokeLinejoin="round">
                  {raw && <path d={raw} strokeWidth={1} strokeOpacity={0.4} />}
                  <path d={drawn} strokeWidth={1.75} />
                </g>
              ))}
              {x.length <= 60 &&
                series.map((entry) =>
                  Array.from(entry.values, (value, index) =>
                    Number.isFinite(value) ? (
                      <circle
                        key={`${entry.label} ${index}`}
                        cx={round(xScale(x[index] as number))}
                        cy={round(yScale(value))}
                        r={x.length === 1 ? 4 : 1.6}
                        fill={entry.color}
                      />
                    ) : null,
                  ),
                )}
            </g>
            <Markers markers={markers} rows={rows} xScale={xScale} yScale={yScale} {...inner} theme={theme} />
            {at !== null && (
              <g data-transient pointerEvents="none">
                <line
                  x1={round(xScale(x[at] as number))}
                  x2={round(xScale(x[at] as number))}
                  y2={inner.height}
                  stroke={theme.foreground}
                  strokeOpacity={0.5}
                />
                {series.map((entry) => {
                  const value = entry.values[at] as number;
                  return Number.isFinite(value) ? (
                    <circle
                      key={entry.label}
                      cx={round(xScale(x[at] as number))}
                      cy={round(yScale(value))}
                      r={4}
                      fill={entry.color}
                      stroke={theme.background}
                      strokeWidth={1.5}
                    />
                  ) : null;
                })}
              </g>
            )}
            <rect
              ref={zoom.ref}
              data-transient
              width={inner.width}
              height={inner.height}
              fill="transparent"
              className="cursor-crosshair"
              onPointerMove={onPointer}
              onPointerDown={onPointer}
              onPointerLeave={() => setCursor(null)}
            />
          </g>
        </svg>
      )}
    </PlotShell>
  );
}

export function clippedText(range: ValueRange): string {
  const low = range.low > range.min;
  const high = range.high < range.max;
  const limits = [low && formatNumber(range.low, 4), high && formatNumber(range.high, 4)].filter(Boolean);
  const reach = [low && formatNumber(range.min, 4), high && formatNumber(range.max, 4)].filter(Boolean);
  return `Clipped at ${limits.join(" and ")}; the values reach ${reach.join(" and ")}.`;
}

/** The range of the values (and their bands) between two places on the x axis. */
function visibleRange(
  x: Float64Array,
  series: readonly LineSeries[],
  low: number,
  high: number,
  mode: "robust" | "full",
  tails: Tails,
): ValueRange | null {
  const values: number[] = [];
  for (const entry of series) {
    for (let index = 0; index < x.length; index++) {
      const place = x[index] as number;
      if (place >= low && place <= high) values.push(entry.values[index] as number);
    }
  }
  return chosenRange(values, mode, tails);
}

function yBounds(range: ValueRange | null, log: boolean): [number, number] {
  if (!range) return [0, 1];
  if (!log) return padded(range.low, range.high);
  const [low, high] = padded(Math.log(range.low), Math.log(range.high));
  return [Math.exp(low), Math.exp(high)];
}

function seriesPaths(
  entry: LineSeries,
  x: Float64Array,
  xScale: (value: number) => number,
  yScale: (value: number) => number,
) {
  const indices = Array.from(x.keys());
  const path = (values: Float64Array) =>
    line<number>()
      .defined((index) => Number.isFinite(yScale(values[index] as number)))
      .x((index) => round(xScale(x[index] as number)))
      .y((index) => bounded(yScale(values[index] as number)))(indices) ?? "";
  const { values, stderr } = entry;
  const spread = (index: number) => stderr?.[index] ?? Number.NaN;
  const band = stderr
    ? area<number>()
        .defined((index) => Number.isFinite((values[index] as number) + spread(index)))
        .x((index) => round(xScale(x[index] as number)))
        // On a logarithmic scale a band may reach below zero: down to the bottom then.
        .y0((index) => bounded(orElse(yScale((values[index] as number) - spread(index)), 1e4)))
        .y1((index) => bounded(yScale((values[index] as number) + spread(index))))(indices)
    : null;
  const smoothed = entry.smoothed !== values;
  return { color: entry.color, band, raw: smoothed ? path(values) : null, line: path(entry.smoothed) };
}

/** Far outside the picture is far enough: browsers draw huge coordinates wrongly. */
function bounded(pixels: number): number {
  return round(Math.min(Math.max(pixels, -1e4), 1e4));
}

function orElse(value: number, other: number): number {
  return Number.isFinite(value) ? value : other;
}

export function moved(before: number | null, by: number, count: number): number {
  if (before === null) return by > 0 ? 0 : count - 1;
  return Math.min(Math.max(before + by, 0), count - 1);
}

function readoutAt(
  index: number,
  x: Float64Array,
  xLabel: string,
  series: readonly LineSeries[],
  left: number,
  top: number,
): Readout {
  return {
    x: left,
    y: top,
    rows: [
      { label: xLabel, value: formatNumber(x[index] as number) },
      ...series.map((entry) => ({
        label: entry.label,
        value: formatWithError(entry.values[index] as number, entry.stderr?.[index]),
        color: entry.color,
      })),
    ],
  };
}
