/** Where a heat map's parts lie: its area, its scales through the zoom, and its ticks. */
import { useMemo, useState } from "react";
import type { ScaleName } from "@/maths/color";
import { cellEdges } from "@/maths/grid";
import { type Scale, scaleOf } from "@/maths/scale";
import { axisTicks } from "@/maths/ticks";
import { leftMargin, type PlacedTick } from "./axes";
import { barExtent } from "./color-bar";
import { useZoom, type Zoom } from "./use-zoom";

export interface GridFrame {
  readonly xEdges: Float64Array;
  readonly yEdges: Float64Array;
  readonly left: number;
  readonly inner: { readonly width: number; readonly height: number };
  readonly width: number;
  readonly height: number;
  /** Whether the colour bar stands beside the map rather than below it. */
  readonly vertical: boolean;
  readonly zoom: Zoom;
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly xTicks: readonly PlacedTick[];
  readonly yTicks: readonly PlacedTick[];
}

export interface BarRange {
  readonly low: number;
  readonly high: number;
  readonly scale: ScaleName;
}

export const TOP = 14;

export function useGridFrame(
  x: Float64Array,
  y: Float64Array,
  available: number,
  unit: number,
  bar: BarRange | null,
  zoomKey: string,
): GridFrame {
  const [left, setLeft] = useState(56);
  const xEdges = useMemo(() => cellEdges(x), [x]);
  const yEdges = useMemo(() => cellEdges(y), [y]);
  const xSpan: [number, number] = [xEdges[0] as number, xEdges[x.length] as number];
  const ySpan: [number, number] = [yEdges[0] as number, yEdges[y.length] as number];

  const vertical = available >= 440;
  const beside = bar ? barExtent(bar.low, bar.high, bar.scale, vertical) : 0;
  const right = vertical ? beside + 14 : 12;
  const size = innerSize(available - left - right, (xSpan[1] - xSpan[0]) / (ySpan[1] - ySpan[0]), unit);
  const inner = useMemo(() => ({ width: size.width, height: size.height }), [size.width, size.height]);
  const zoom = useZoom(inner.width, inner.height, zoomKey);

  const { transform } = zoom;
  const xBase = scaleOf(xSpan, [0, inner.width]);
  const yBase = scaleOf(ySpan, [inner.height, 0]);
  const [x0, x1] = [transform.invertX(0), transform.invertX(inner.width)].map((at) => xBase.invert(at)) as [
    number,
    number,
  ];
  const [y0, y1] = [transform.invertY(inner.height), transform.invertY(0)].map((at) => yBase.invert(at)) as [
    number,
    number,
  ];
  const xScale = useMemo(() => scaleOf([x0, x1], [0, inner.width]), [x0, x1, inner.width]);
  const yScale = useMemo(() => scaleOf([y0, y1], [inner.height, 0]), [y0, y1, inner.height]);
  const xTicks = useMemo(
    () => placedTicks(x0, x1, Math.max(inner.width / 70, 2), xScale),
    [x0, x1, inner.width, xScale],
  );
  const yTicks = useMemo(
    () => placedTicks(y0, y1, Math.max(inner.height / 50, 2), yScale),
    [y0, y1, inner.height, yScale],
  );
  const wanted = leftMargin(yTicks);
  if (wanted !== left) setLeft(wanted);
  return {
    ...{ xEdges, yEdges, left, inner, vertical, zoom, xScale, yScale, xTicks, yTicks },
    width: Math.min(left + inner.width + right, available),
    height: TOP + inner.height + 44 + (vertical ? 0 : beside),
  };
}

function placedTicks(low: number, high: number, count: number, scale: Scale): PlacedTick[] {
  return axisTicks(low, high, count).map((tick) => ({ ...tick, at: scale(tick.value) }));
}

/** The plot's area: both axes in the same unit where that fits, and never taller than most of the window. */
function innerSize(available: number, aspect: number, unit: number): { width: number; height: number } {
  const ratio = Math.min(Math.max(Number.isFinite(aspect) ? aspect : 1, 0.8), 2);
  const tallest = Math.min(Math.max((window.innerHeight / unit) * 0.62, 260), 680);
  const width = Math.floor(Math.max(Math.min(available, tallest * ratio), 60));
  return { width, height: Math.floor(width / ratio) };
}
