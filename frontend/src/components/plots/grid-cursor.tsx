import { useMemo } from "react";
import { digitsAmong, formatCount, formatNumber, formatWithError } from "@/maths/format";
import { cellAt } from "@/maths/grid";
import type { Scale } from "@/maths/scale";
import { STANDARD_ERRORS } from "@/maths/significance";
import { round } from "./axes";
import type { PathPoint } from "./grid-marks";
import { cursors, useLinked } from "./linked";
import { framed, ReadoutBox, type ReadoutRow } from "./plot-shell";

interface GridCursorProps {
  readonly cursorKey: string;
  /** Of this plot among those with the same cursor. */
  readonly id: string;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly xEdges: Float64Array;
  readonly yEdges: Float64Array;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
  readonly interpolated: Float64Array | null;
  readonly count: Float64Array | null;
  readonly shaded: Uint8Array | null;
  /** What shaded cells do not differ from. */
  readonly like: string;
  readonly valueLabel: string;
  readonly path: readonly PathPoint[];
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly left: number;
  readonly top: number;
  readonly inner: { readonly width: number; readonly height: number };
  readonly width: number;
  readonly height: number;
  /** Pixels of the page to one of these. */
  readonly unit: number;
}

/** The cell under the pointer, framed, and its numbers: alone, so that the rest of the plot is not drawn anew. */
export function GridCursor(props: GridCursorProps) {
  const { x, y, xEdges, yEdges, xScale, yScale, left, top, inner, width, height, unit } = props;
  const cursor = useLinked(cursors, props.cursorKey);
  const digits = useMemo(() => digitsAmong(props.values), [props.values]);
  if (!cursor) return null;
  const [i, j] = [cellAt(xEdges, cursor.x), cellAt(yEdges, cursor.y)];
  if (i < 0 || j < 0) return null;
  const place = { x: xScale(x[i] as number), y: yScale(y[j] as number) };
  if (place.x < -1 || place.y < -1 || place.x > inner.width + 1 || place.y > inner.height + 1) return null;
  const [x0, x1] = [xScale(xEdges[i] as number), xScale(xEdges[i + 1] as number)];
  const [y1, y0] = [yScale(yEdges[j] as number), yScale(yEdges[j + 1] as number)];
  const near = nearestPoint(props.path, xScale, yScale, xScale(cursor.x), yScale(cursor.y));
  return (
    <>
      <svg
        className="pointer-events-none absolute overflow-hidden"
        style={{ left: left * unit, top: top * unit }}
        {...framed(inner.width, inner.height, unit)}
        aria-hidden="true"
      >
        <g stroke="#ffffff" strokeOpacity={0.55} strokeDasharray="2 3">
          <line x1={round(place.x)} x2={round(place.x)} y2={inner.height} />
          <line y1={round(place.y)} y2={round(place.y)} x2={inner.width} />
        </g>
        <rect
          x={round(x0)}
          y={round(y0)}
          width={round(x1 - x0)}
          height={round(y1 - y0)}
          fill="none"
          stroke="#ffffff"
          strokeWidth={1.5}
          style={{ filter: "drop-shadow(0 0 1px #000)" }}
        />
      </svg>
      <ReadoutBox
        readout={{
          x: (left + place.x) * unit,
          y: (top + place.y) * unit,
          rows: cellRows(props, i, j, near, digits),
        }}
        width={width * unit}
        height={height * unit}
        follows={cursor.source !== props.id}
      />
    </>
  );
}

function cellRows(
  props: GridCursorProps,
  i: number,
  j: number,
  near: PathPoint | null,
  digits: number,
): ReadoutRow[] {
  const { x, y, values, stderr, interpolated, shaded } = props;
  const at = i * y.length + j;
  return [
    { label: props.xLabel, value: formatNumber(x[i] as number, digitsAmong(x)) },
    { label: props.yLabel, value: formatNumber(y[j] as number, digitsAmong(y)) },
    { label: props.valueLabel, value: formatWithError(values[at] as number, stderr?.[at], digits) },
    ...(props.count && !interpolated?.[at]
      ? [{ label: "samples", value: formatCount(props.count[at] as number) }]
      : []),
    ...(interpolated?.[at] ? [{ label: "interpolated", value: "yes" }] : []),
    ...(shaded?.[at]
      ? [{ label: `difference to ${props.like}`, value: `within ${STANDARD_ERRORS} SE` }]
      : []),
    ...(near
      ? [
          { label: "checkpoint", value: near.name },
          ...(near.loss === null ? [] : [{ label: "its own loss", value: formatNumber(near.loss, digits) }]),
          ...(near.residual === null
            ? []
            : [{ label: "off the plane", value: formatNumber(near.residual, 4) }]),
        ]
      : []),
  ];
}

const REACH = 9;

/** The checkpoint of the path under the pointer. */
function nearestPoint(
  path: readonly PathPoint[],
  xScale: Scale,
  yScale: Scale,
  across: number,
  down: number,
) {
  let [found, least] = [null as PathPoint | null, REACH];
  for (const point of path) {
    const distance = Math.hypot(xScale(point.x) - across, yScale(point.y) - down);
    if (distance < least) [found, least] = [point, distance];
  }
  return found;
}
