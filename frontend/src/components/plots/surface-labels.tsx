import type { ScaleName } from "@/maths/color";
import type { Box } from "@/maths/contour-labels";
import { valueAt } from "@/maths/cut";
import type { Extent } from "@/maths/surface";
import { axisTicks } from "@/maths/ticks";
import { fitted, TICK_SIZE, textWidth } from "./axes";
import { type GridMarker, GridMarks, overlap, type PathPoint, placedMarks } from "./grid-marks";
import type { Projection } from "./surface-scene";
import { FONT, type PlotTheme } from "./theme";

interface SurfaceLabelsProps {
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly values: Float64Array;
  readonly extent: Extent;
  readonly place: (value: number) => number;
  readonly projection: Projection;
  /** What the vertical axis reaches; null where no value is finite. */
  readonly range: { readonly low: number; readonly high: number } | null;
  readonly scale: ScaleName;
  readonly width: number;
  readonly height: number;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly markers: readonly GridMarker[];
  readonly path: readonly PathPoint[];
  readonly theme: PlotTheme;
}

const TICK = 14;
const TITLE = 28;
const TITLE_SIZE = 12;
const FURTHEST = 120;

/** What a text around this point takes. */
function boxOf([x, y]: readonly [number, number], text: string, size: number): Box {
  const half = textWidth(text, size) / 2 + 3;
  return [x - half, y - size / 2 - 2, x + half, y + size / 2 + 2];
}

/** Axes, markers and path of a surface, drawn flat over it: sharp at any size, and part of saved pictures. */
export function SurfaceLabels(props: SurfaceLabelsProps) {
  const { x, y, extent, place, projection, theme, range, scale } = props;
  const ends = { x: [extent.x(x[0] as number), extent.x(x[x.length - 1] as number)] as const };
  const deep = [extent.y(y[0] as number), extent.y(y[y.length - 1] as number)] as const;
  const middle = projection(0, 0, 0);
  // Labels stand on the edges that are lowest in the picture: nearest to the reader.
  const front = [...deep].sort((a, b) => projection(0, 0, b)[1] - projection(0, 0, a)[1])[0] as number;
  const side = [...ends.x].sort((a, b) => projection(b, 0, 0)[1] - projection(a, 0, 0)[1])[0] as number;
  const leftmost = ends.x
    .flatMap((across) => deep.map((back) => [across, back] as const))
    .sort((a, b) => projection(a[0], 0, a[1])[0] - projection(b[0], 0, b[1])[0])[0] as readonly [
    number,
    number,
  ];
  const outward = (at: readonly [number, number], by: number) => {
    const [dx, dy] = [at[0] - middle[0], at[1] - middle[1]];
    const size = Math.hypot(dx, dy) || 1;
    return [at[0] + (by * dx) / size, at[1] + (by * dy) / size] as const;
  };
  const label = (key: string, at: readonly [number, number], text: string, title = false) => (
    <text
      key={key}
      x={Math.round(at[0])}
      y={Math.round(at[1])}
      dy="0.32em"
      textAnchor="middle"
      {...(title ? { fill: theme.foreground, fontSize: TITLE_SIZE } : {})}
    >
      {text}
    </text>
  );
  const up = range ? axisTicks(range.low, range.high, 4, scale) : [];
  const allXTicks = axisTicks(x[0] as number, x[x.length - 1] as number, 4).map((tick) => ({
    ...tick,
    at: outward(projection(extent.x(tick.value), 0, front), TICK),
  }));
  const allYTicks = axisTicks(y[0] as number, y[y.length - 1] as number, 4).map((tick) => ({
    ...tick,
    at: outward(projection(side, 0, extent.y(tick.value)), TICK),
  }));
  // Beside the vertical axis stand its own numbers alone.
  const [beside, bottom] = projection(leftmost[0], 0, leftmost[1]);
  const clear = ({ at }: { readonly at: readonly [number, number] }) =>
    at[0] > beside || Math.abs(at[1] - bottom) > TICK;
  // Where the edges meet, both axes would have a number at one place.
  const [xBoxes, yBoxes] = [allXTicks, allYTicks].map((ticks) =>
    ticks.map((tick) => boxOf(tick.at, tick.label, TICK_SIZE)),
  ) as [Box[], Box[]];
  const free = (box: Box | undefined, others: readonly Box[]) =>
    box !== undefined && box[3] <= props.height && !others.some((other) => overlap(box, other));
  const xTicks = allXTicks.filter((tick, index) => clear(tick) && free(xBoxes[index], yBoxes));
  const yTicks = allYTicks.filter((tick, index) => clear(tick) && free(yBoxes[index], xBoxes));
  const taken = [...xTicks, ...yTicks].map((tick) => boxOf(tick.at, tick.label, TICK_SIZE));
  /**
   * As near to the axis as its ticks let it: a wide name leaves an edge that goes upwards further than a short one.
   * Beside the surface stands its colour bar: a name that would reach it, or leave the picture, is moved inwards.
   */
  const titleAt = (edge: readonly [number, number], text: string) => {
    const half = textWidth(text, TITLE_SIZE) / 2 + 3;
    const within = (at: readonly [number, number]) =>
      [
        Math.max(Math.min(at[0], props.width - half), half),
        Math.min(at[1], props.height - TITLE_SIZE / 2),
      ] as const;
    const steps = Array.from({ length: (FURTHEST - TITLE) / 4 }, (_, index) => TITLE + 4 * index);
    const places = [
      ...steps.map((by) => within(outward(edge, by))),
      ...steps.map((by) => within([edge[0], edge[1] + by])),
    ];
    const roomy = places.find((at) => {
      const box = boxOf(at, text, TITLE_SIZE);
      return !taken.some((other) => overlap(box, other));
    });
    const found = roomy ?? within(outward(edge, TITLE));
    taken.push(boxOf(found, text, TITLE_SIZE));
    return found;
  };
  // Both have room side by side.
  const longest = Math.max(props.width / 2 - 8, 60);
  const [xTitle, yTitle] = [props.xLabel, props.yLabel].map((text) => fitted(text, longest, TITLE_SIZE)) as [
    string,
    string,
  ];
  return (
    <g fontFamily={FONT} fontSize={TICK_SIZE} fill={theme.muted}>
      {xTicks.map((tick) => label(`x ${tick.value}`, tick.at, tick.label))}
      {label("x", titleAt(projection(0, 0, front), xTitle), xTitle, true)}
      {yTicks.map((tick) => label(`y ${tick.value}`, tick.at, tick.label))}
      {label("y", titleAt(projection(side, 0, 0), yTitle), yTitle, true)}
      {up.map((tick) => {
        const [left, top] = projection(leftmost[0], place(tick.value), leftmost[1]);
        return (
          <text
            key={`up ${tick.value}`}
            x={Math.max(left - 6, textWidth(tick.label, TICK_SIZE) + 2)}
            y={top}
            dy="0.32em"
            textAnchor="end"
          >
            {tick.label}
          </text>
        );
      })}
      <Marks {...props} />
    </g>
  );
}

/** Markers and path at their heights: a checkpoint's own loss where the log has it, else the surface below it. */
function Marks({
  x,
  y,
  values,
  extent,
  place,
  projection,
  markers,
  path,
  width,
  height,
}: SurfaceLabelsProps) {
  const flat = (across: number, up: number, loss: number | null) => {
    const found = loss ?? valueAt(x, y, values, across, up);
    return projection(extent.x(across), Number.isFinite(found) ? place(found) : 0, extent.y(up));
  };
  const placed = <T extends { readonly x: number; readonly y: number }>(mark: T, loss: number | null): T => {
    const [left, top] = flat(mark.x, mark.y, loss);
    return { ...mark, x: left, y: top };
  };
  return (
    <GridMarks
      marks={placedMarks({
        markers: markers.map((marker) => placed(marker, null)),
        path: path.map((point) => placed(point, point.loss)),
        xScale: same,
        yScale: same,
        ...{ width, height },
      })}
    />
  );
}

const same = (pixels: number) => pixels;
