import { Slash, X } from "lucide-react";
import { type PointerEvent, useCallback, useEffect, useId, useMemo, useRef, useState } from "react";
import { Button } from "@/components/ui/button";
import { usePlotWidth } from "@/hooks/use-size";
import { type ColorMapName, colorMap, placement, type ScaleName } from "@/maths/color";
import { contourLevels, type Levels } from "@/maths/contour";
import type { LineLabel } from "@/maths/contour-labels";
import type { Cut } from "@/maths/cut";
import { cellAt } from "@/maths/grid";
import type { ValueRange } from "@/maths/range";
import { linearText } from "@/maths/scale";
import { STANDARD_ERRORS } from "@/maths/significance";
import { BottomAxis, LeftAxis } from "./axes";
import { ColorBar } from "./color-bar";
import { ContourLabels, useLabeledLines } from "./contour-labels";
import { CutLayer } from "./cut-layer";
import { GridCells } from "./grid-cells";
import { GridCursor } from "./grid-cursor";
import { TOP, useGridFrame } from "./grid-frame";
import { type GridMarker, GridMarks, type PathPoint, placedMarks } from "./grid-marks";
import { clippedText, moved } from "./line-plot";
import { axesKey, cursors } from "./linked";
import { framed, PlotShell, placeIn } from "./plot-shell";
import type { PlotTheme } from "./theme";
import { useIsolines } from "./use-isolines";

export interface HeatMapProps {
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
  /** Samples of each point, where they are not the same everywhere. */
  readonly count: Float64Array | null;
  /** Not zero where a cell does not differ from the center, or from `like`, by two standard errors. */
  readonly shaded: Uint8Array | null;
  readonly like?: string;
  readonly note?: string;
  readonly valueLabel: string;
  readonly markers: readonly GridMarker[];
  readonly path: readonly PathPoint[];
  readonly colors: ColorMapName;
  readonly scale: ScaleName;
  /** What the colours span; null where no value is finite. */
  readonly range: ValueRange | null;
  readonly levels: Levels;
  readonly shading: "cells" | "smooth";
  /** Plots with the same axes zoom and point together. */
  readonly linked: boolean;
  readonly cut: Cut | null;
  /** Where there is no cut to draw, as in a comparison, nothing. */
  readonly onCut?: (cut: Cut | null) => void;
  /** Told the part of each axis that is in view; null where all is. */
  readonly onVisible?: (visible: Visible | null) => void;
  readonly theme: PlotTheme;
}

export type Visible = readonly [readonly [number, number], readonly [number, number]];

/** A grid of values as colours with contour lines, a colour bar, and the values under the cursor. */
export function HeatMap(props: HeatMapProps) {
  const { x, y, values, interpolated, shaded, theme, valueLabel, xLabel, yLabel, range, cut, onCut } = props;
  const like = props.like ?? "the center";
  const id = useId();
  const container = useRef<HTMLDivElement>(null);
  const { width: available, unit } = usePlotWidth(container);
  const [drawing, setDrawing] = useState(false);

  const [low, high] = [range?.low ?? 0, range?.high ?? 1];
  const scale: ScaleName = props.scale === "log" && low > 0 ? "log" : "linear";
  const map = colorMap(props.colors);
  const place = useMemo(() => placement(low, high, scale), [low, high, scale]);
  const { count, at } = props.levels;
  const spacing = scale === "log" ? "ratio" : props.levels.spacing;
  const levels = useMemo(
    () => (range ? contourLevels(low, high, { count, at, spacing }) : []),
    [range, low, high, count, at, spacing],
  );
  const contours = useIsolines(values, x.length, y.length, levels);

  const axes = `${xLabel} ${yLabel} ${x[0]} ${x[x.length - 1]} ${y[0]} ${y[y.length - 1]}`;
  const key = props.linked ? axesKey(axes) : id;
  const bar = useMemo(() => (range ? { low, high, scale } : null), [range, low, high, scale]);
  const frame = useGridFrame(x, y, available, unit, bar, key);
  const { xEdges, yEdges, left, inner, width, height, vertical, zoom, xScale, yScale } = frame;

  const { markers, path } = props;
  const marks = useMemo(
    () => placedMarks({ markers, path, xScale, yScale, ...inner }),
    [markers, path, xScale, yScale, inner],
  );
  const { lines, labels } = useLabeledLines({
    isolines: contours,
    levels: { count, at, spacing },
    ...{ x, y, xScale, yScale, inner, marks },
  });

  const below = ({ x: across, y: down, level }: LineLabel) => {
    const [i, j] = [cellAt(xEdges, xScale.invert(across)), cellAt(yEdges, yScale.invert(down))];
    const value = props.shading === "cells" ? values[i * y.length + j] : level;
    return place(Number.isFinite(value) ? (value as number) : level);
  };

  const { onVisible } = props;
  const { zoomed } = zoom;
  useEffect(() => {
    const { width: wide, height: high } = inner;
    onVisible?.(
      zoomed
        ? [
            [xScale.invert(0), xScale.invert(wide)],
            [yScale.invert(high), yScale.invert(0)],
          ]
        : null,
    );
  }, [onVisible, zoomed, xScale, yScale, inner]);

  const picture = useMemo(
    () => ({
      ...{ x, y, xEdges, yEdges, values, xScale, yScale, map, place, lines, shaded },
      ...inner,
      dotted: interpolated,
      interpolate: props.shading === "smooth",
      hatch: theme.hatch,
    }),
    [
      x,
      y,
      xEdges,
      yEdges,
      values,
      xScale,
      yScale,
      map,
      place,
      lines,
      shaded,
      inner,
      interpolated,
      props.shading,
      theme,
    ],
  );

  const onPointer = (event: PointerEvent<SVGRectElement>) => {
    const [left, top] = placeIn(event);
    const [across, up] = [xScale.invert(left), yScale.invert(top)];
    const outside = cellAt(xEdges, across) < 0 || cellAt(yEdges, up) < 0;
    cursors.set(key, outside ? undefined : { x: across, y: up, source: id });
  };
  const onLeave = useCallback(() => cursors.set(key, undefined), [key]);
  const onMove = (dx: number, dy: number) => {
    const before = cursors.get(key);
    const [i, j] = before
      ? [moved(cellAt(xEdges, before.x), dx, x.length), moved(cellAt(yEdges, before.y), dy, y.length)]
      : [Math.floor((x.length - 1) / 2), Math.floor((y.length - 1) / 2)];
    cursors.set(key, { x: x[i] as number, y: y[j] as number, source: id });
  };
  const cutThrough = (horizontal: boolean) => {
    const cursor = cursors.get(key) ?? { x: 0, y: 0 };
    const [x0, x1, y0, y1] = [x[0], x[x.length - 1], y[0], y[y.length - 1]] as [
      number,
      number,
      number,
      number,
    ];
    onCut?.(horizontal ? [x0, cursor.y, x1, cursor.y] : [cursor.x, y0, cursor.x, y1]);
  };

  const clippedLow = range !== null && range.low > range.min;
  const clippedHigh = range !== null && range.high < range.max;
  const notes = [
    props.note ?? "",
    range && (clippedLow || clippedHigh) ? clippedText(range) : "",
    linearText(props.scale, range?.low),
    shaded?.includes(1)
      ? `Lined cells differ from ${like} by less than ${STANDARD_ERRORS} standard errors of the difference.`
      : "",
    interpolated?.some(Boolean) ? "Dots mark interpolated cells." : "",
  ];
  return (
    <PlotShell
      ref={container}
      label={props.label}
      summary={props.summary}
      note={notes.filter(Boolean).join(" ")}
      width={width}
      height={height}
      unit={unit}
      zoom={zoom}
      onMove={onMove}
      onLeave={onLeave}
      {...(onCut ? { keys: { h: () => cutThrough(true), v: () => cutThrough(false) } } : {})}
      tools={onCut && <CutTools drawing={drawing} onDrawing={setDrawing} cut={cut} onCut={onCut} />}
    >
      {available > 0 && (
        <>
          <GridCells picture={picture} left={left} top={TOP} unit={unit} />
          <svg
            data-figure
            {...framed(width, height, unit)}
            className="absolute inset-0 touch-pan-y"
            aria-hidden="true"
          >
            <clipPath id={id}>
              <rect {...inner} />
            </clipPath>
            <g transform={`translate(${left},${TOP})`}>
              <BottomAxis ticks={frame.xTicks} {...inner} label={xLabel} theme={theme} grid={false} />
              <LeftAxis
                ticks={frame.yTicks}
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
                    {...{ map, low, high, clippedLow, clippedHigh, scale, levels, theme, vertical }}
                    label={valueLabel}
                    length={vertical ? inner.height : inner.width}
                  />
                </g>
              )}
              <g clipPath={`url(#${id})`}>
                <ContourLabels labels={labels} map={map} below={below} />
                <GridMarks marks={marks} />
              </g>
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
              <g clipPath={`url(#${id})`} pointerEvents={drawing ? undefined : "none"}>
                <CutLayer
                  cut={cut}
                  drawing={drawing}
                  onCut={(drawn) => {
                    setDrawing(false);
                    onCut?.(drawn);
                  }}
                  {...{ xScale, yScale }}
                  {...inner}
                />
              </g>
            </g>
          </svg>
          <GridCursor
            {...{ x, y, xEdges, yEdges, xLabel, yLabel, values, interpolated, shaded, valueLabel }}
            {...{ xScale, yScale, left, inner, width, height, unit, id, like }}
            stderr={props.stderr}
            count={props.count}
            path={props.path}
            cursorKey={key}
            top={TOP}
          />
        </>
      )}
    </PlotShell>
  );
}

interface CutToolsProps {
  readonly drawing: boolean;
  readonly onDrawing: (drawing: boolean) => void;
  readonly cut: Cut | null;
  readonly onCut: (cut: Cut | null) => void;
}

function CutTools({ drawing, onDrawing, cut, onCut }: CutToolsProps) {
  return (
    <>
      <Button
        variant={drawing ? "primary" : "ghost"}
        size="iconSmall"
        aria-label="Draw a cut"
        title="Draw a cut: drag a line whose values become a curve (h, v: through the cursor)"
        aria-pressed={drawing}
        onClick={() => onDrawing(!drawing)}
      >
        <Slash />
      </Button>
      {cut && (
        <Button variant="ghost" size="iconSmall" aria-label="Remove the cut" onClick={() => onCut(null)}>
          <X />
        </Button>
      )}
    </>
  );
}
