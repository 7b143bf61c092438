import { type PointerEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { useWidth } from "@/hooks/use-size";
import { type ColorMapName, colorMap, placement, type ScaleName } from "@/maths/color";
import { contourLevels, isolines } from "@/maths/contour";
import { formatNumber, formatWithError } from "@/maths/format";
import { cellAt, cellEdges } from "@/maths/grid";
import { chosenRange, type Tails } from "@/maths/range";
import { scaleOf } from "@/maths/scale";
import { axisTicks } from "@/maths/ticks";
import { BottomAxis, LeftAxis, leftMargin, round } from "./axes";
import { barExtent, ColorBar } from "./color-bar";
import { type GridMarker, GridMarks } from "./grid-marks";
import { clippedText, moved } from "./line-plot";
import { paintGrid } from "./paint-grid";
import { setPainter } from "./painters";
import { PlotShell, type ReadoutRow } from "./plot-shell";
import type { PlotTheme } from "./theme";
import { useZoom } from "./use-zoom";

interface HeatMapProps {
  readonly label: string;
  readonly summary: string;
  /** Horizontal: axis 0. */
  readonly x: Float64Array;
  readonly xLabel: string;
  /** Vertical, upwards: axis 1. */
  readonly y: Float64Array;
  readonly yLabel: string;
  /** `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. */
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
  readonly interpolated: Float64Array | null;
  readonly valueLabel: string;
  readonly markers: readonly GridMarker[];
  readonly path: readonly (readonly [number, number])[];
  readonly colors: ColorMapName;
  readonly scale: ScaleName;
  readonly range: "robust" | "full";
  readonly tails: Tails;
  readonly levels: number;
  readonly shading: "cells" | "smooth";
  readonly theme: PlotTheme;
}

const TOP = 14;

/** A grid of values as colours with contour lines, a colour bar, and the values under the cursor. */
export function HeatMap(props: HeatMapProps) {
  const { x, y, values, stderr, interpolated, theme, valueLabel, xLabel, yLabel } = props;
  const clip = useId();
  const container = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const available = useWidth(container);
  const [cursor, setCursor] = useState<readonly [number, number] | null>(null);
  const [left, setLeft] = useState(56);

  const range = useMemo(
    () => chosenRange(values, props.range, props.tails),
    [values, props.range, props.tails],
  );
  const [low, high] = [range?.low ?? 0, range?.high ?? 1];
  const scale: ScaleName = props.scale === "log" && low > 0 ? "log" : "linear";
  const map = colorMap(props.colors);
  const place = useMemo(() => placement(low, high, scale), [low, high, scale]);
  const levels = useMemo(
    () => (range ? contourLevels(low, high, props.levels, scale) : []),
    [range, low, high, props.levels, scale],
  );
  const contours = useMemo(() => isolines(values, x.length, y.length, levels), [values, x, y, levels]);

  const xEdges = useMemo(() => cellEdges(x), [x]);
  const yEdges = useMemo(() => cellEdges(y), [y]);
  const xSpan: [number, number] = [xEdges[0] as number, xEdges[x.length] as number];
  const ySpan: [number, number] = [yEdges[0] as number, yEdges[y.length] as number];

  const vertical = available >= 440;
  const bar = range ? barExtent(low, high, scale, vertical) : 0;
  const inner = innerSize(
    available - left - (vertical ? bar + 14 : 12),
    (xSpan[1] - xSpan[0]) / (ySpan[1] - ySpan[0]),
  );
  const width = Math.min(left + inner.width + (vertical ? bar + 14 : 12), available);
  const height = TOP + inner.height + 44 + (vertical ? 0 : bar);
  const zoom = useZoom(inner.width, inner.height);

  const { transform } = zoom;
  const xBase = scaleOf(xSpan, [0, inner.width]);
  const yBase = scaleOf(ySpan, [inner.height, 0]);
  const xDomain: [number, number] = [
    xBase.invert(transform.invertX(0)),
    xBase.invert(transform.invertX(inner.width)),
  ];
  const yDomain: [number, number] = [
    yBase.invert(transform.invertY(inner.height)),
    yBase.invert(transform.invertY(0)),
  ];
  const xScale = useMemo(
    () => scaleOf([xDomain[0], xDomain[1]], [0, inner.width]),
    [xDomain[0], xDomain[1], inner.width],
  );
  const yScale = useMemo(
    () => scaleOf([yDomain[0], yDomain[1]], [inner.height, 0]),
    [yDomain[0], yDomain[1], inner.height],
  );
  const xTicks = axisTicks(xDomain[0], xDomain[1], Math.max(inner.width / 70, 2));
  const yTicks = axisTicks(yDomain[0], yDomain[1], Math.max(inner.height / 50, 2));
  const wanted = leftMargin(yTicks);
  if (wanted !== left) setLeft(wanted);

  useEffect(() => {
    const target = canvas.current;
    if (!target) return;
    const picture = {
      ...{ x, y, xEdges, yEdges, values, xScale, yScale, map, place, isolines: contours },
      width: inner.width,
      height: inner.height,
      interpolate: props.shading === "smooth",
      hatch: theme.hatch,
    };
    paintGrid(target, picture, window.devicePixelRatio || 1);
    setPainter(target, (copy, ratio) => paintGrid(copy, picture, ratio));
  }, [
    x,
    y,
    xEdges,
    yEdges,
    values,
    xScale,
    yScale,
    map,
    place,
    contours,
    inner.width,
    inner.height,
    props.shading,
    theme,
  ]);

  const onPointer = (event: PointerEvent<SVGRectElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const column = cellAt(xEdges, xScale.invert(event.clientX - box.left));
    const row = cellAt(yEdges, yScale.invert(event.clientY - box.top));
    setCursor(column < 0 || row < 0 ? null : [column, row]);
  };
  const [i, j] = [Math.min(cursor?.[0] ?? 0, x.length - 1), Math.min(cursor?.[1] ?? 0, y.length - 1)];
  const at = i * y.length + j;
  const rows: ReadoutRow[] = [
    { label: xLabel, value: formatNumber(x[i] as number) },
    { label: yLabel, value: formatNumber(y[j] as number) },
    { label: valueLabel, value: formatWithError(values[at] as number, stderr?.[at]) },
    ...(interpolated?.[at] ? [{ label: "interpolated", value: "yes" }] : []),
  ];
  const clippedLow = range !== null && range.low > range.min;
  const clippedHigh = range !== null && range.high < range.max;

  return (
    <PlotShell
      ref={container}
      label={props.label}
      summary={props.summary}
      note={range && (clippedLow || clippedHigh) ? clippedText(range) : ""}
      width={width}
      height={height}
      zoom={zoom}
      readout={cursor && { x: left + xScale(x[i] as number), y: TOP + yScale(y[j] as number), rows }}
      onMove={(dx, dy) =>
        setCursor((before) =>
          before
            ? [moved(before[0], dx, x.length), moved(before[1], dy, y.length)]
            : [Math.floor((x.length - 1) / 2), Math.floor((y.length - 1) / 2)],
        )
      }
      onLeave={() => setCursor(null)}
    >
      {available > 0 && (
        <>
          <canvas
            ref={canvas}
            className="absolute"
            style={{ left, top: TOP, width: inner.width, height: inner.height }}
          />
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
            <g transform={`translate(${left},${TOP})`}>
              <BottomAxis
                ticks={xTicks.map((tick) => ({ ...tick, at: xScale(tick.value) }))}
                {...inner}
                label={xLabel}
                theme={theme}
                grid={false}
              />
              <LeftAxis
                ticks={yTicks.map((tick) => ({ ...tick, at: yScale(tick.value) }))}
                {...inner}
                label={yLabel}
                theme={theme}
                grid={false}
                offset={left}
              />
              {range && (
                <g
                  transform={
                    vertical ? `translate(${inner.width + 14},0)` : `translate(0,${inner.height + 44})`
                  }
                >
                  <ColorBar
                    map={map}
                    low={low}
                    high={high}
                    clippedLow={clippedLow}
                    clippedHigh={clippedHigh}
                    scale={scale}
                    levels={levels}
                    label={valueLabel}
                    theme={theme}
                    vertical={vertical}
                    length={vertical ? inner.height : inner.width}
                  />
                </g>
              )}
              <g clipPath={`url(#${clip})`}>
                <GridMarks
                  markers={props.markers}
                  path={props.path}
                  xScale={xScale}
                  yScale={yScale}
                  {...inner}
                />
                {cursor && (
                  <rect
                    data-transient
                    x={round(xScale(xEdges[i] as number))}
                    y={round(yScale(yEdges[j + 1] as number))}
                    width={round(xScale(xEdges[i + 1] as number) - xScale(xEdges[i] as number))}
                    height={round(yScale(yEdges[j] as number) - yScale(yEdges[j + 1] as number))}
                    fill="none"
                    stroke="#ffffff"
                    strokeWidth={1.5}
                    style={{ filter: "drop-shadow(0 0 1px #000)" }}
                  />
                )}
              </g>
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
        </>
      )}
    </PlotShell>
  );
}

/** The plot's area: both axes in the same unit where that fits, and never taller than most of the window. */
function innerSize(available: number, aspect: number): { width: number; height: number } {
  const ratio = Math.min(Math.max(Number.isFinite(aspect) ? aspect : 1, 0.8), 2);
  const tallest = Math.min(Math.max(window.innerHeight * 0.62, 260), 680);
  const width = Math.floor(Math.max(Math.min(available, tallest * ratio), 60));
  return { width, height: Math.floor(width / ratio) };
}
