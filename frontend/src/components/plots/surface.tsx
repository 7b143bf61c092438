import { useEffect, useMemo, useRef, useState } from "react";
import { usePlotWidth } from "@/hooks/use-size";
import { colorMap, placement, type ScaleName } from "@/maths/color";
import { contourLevels } from "@/maths/contour";
import { linearText } from "@/maths/scale";
import { extentOf, surfaceLines, surfaceMesh } from "@/maths/surface";
import { barExtent, ColorBar } from "./color-bar";
import type { HeatMapProps } from "./heat-map";
import { clippedText } from "./line-plot";
import { setPainter } from "./painters";
import { framed } from "./plot-shell";
import { SurfaceLabels } from "./surface-labels";
import type { Projection, SurfaceScene, View } from "./surface-scene";
import { SurfaceShell } from "./surface-shell";
import { useIsolines } from "./use-isolines";

interface SurfaceProps extends Omit<HeatMapProps, "onCut"> {
  /** The vertical scale as a multiple of the usual one. */
  readonly height: number;
  readonly camera: View | null;
  /** Called when the reader lets go. */
  readonly onCamera: (camera: View | null) => void;
}

export const USUAL_CAMERA: View = [32, 58, 1];
const TOP = 12;

/** A grid as a surface in space, with its contour lines, colour bar, axes and path. */
export function Surface(props: SurfaceProps) {
  const { x, y } = props;
  if (x.length < 2 || y.length < 2) {
    return (
      <p role="status" className="py-10 text-center text-muted-foreground text-sm">
        A surface needs two points along each axis; this grid has {x.length} × {y.length}. The map shows the
        same values.
      </p>
    );
  }
  return <SurfaceOfCells {...props} />;
}

function SurfaceOfCells(props: SurfaceProps) {
  const { x, y, values, range, theme, height: stretch, valueLabel } = props;
  const container = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width: available, unit } = usePlotWidth(container);
  const { scene, problem } = useScene();
  const [turned, setTurned] = useState<View | null>(null);
  const camera = turned ?? props.camera ?? USUAL_CAMERA;
  const [projection, setProjection] = useState<Projection | null>(null);

  const [low, high] = [range?.low ?? 0, range?.high ?? 1];
  const scale: ScaleName = props.scale === "log" && low > 0 ? "log" : "linear";
  const map = colorMap(props.colors);
  const place = useMemo(() => placement(low, high, scale), [low, high, scale]);
  const { count, at, spacing } = props.levels;
  const levels = useMemo(
    () =>
      range ? contourLevels(low, high, { count, at, spacing: scale === "log" ? "ratio" : spacing }) : [],
    [range, low, high, count, at, spacing, scale],
  );
  const contours = useIsolines(values, x.length, y.length, levels);
  const extent = useMemo(() => extentOf(x, y), [x, y]);

  const bar = range ? barExtent(low, high, scale, true) : 0;
  const width = Math.max(available - bar - 14, 60);
  const tallest = Math.max((window.innerHeight / unit) * 0.62, 260);
  const height = Math.min(Math.max(Math.round(width * 0.7), 220), tallest);

  useEffect(() => {
    scene?.show({
      mesh: surfaceMesh({ x, y, values, map, place }),
      lines: surfaceLines(contours, x, y, place),
      half: [
        Math.abs(extent.x(x[x.length - 1] ?? 0)) || 0.5,
        Math.abs(extent.y(y[y.length - 1] ?? 0)) || 0.5,
      ],
      lineColor: "#000000",
      frameColor: theme.axis,
    });
    return () => scene?.dispose();
  }, [scene, x, y, values, map, place, contours, extent, theme]);

  // After what the scene shows has changed, too.
  useEffect(() => {
    const target = canvas.current;
    if (!scene || !target || available <= 0) return;
    const aim = () => scene.look(camera, width / height, stretch);
    aim();
    scene.paint(target, width, height, (window.devicePixelRatio || 1) * unit);
    setPainter(target, {
      paint: (copy, ratio) => {
        aim();
        scene.paint(copy, width, height, ratio * unit);
      },
      lines: () => [],
    });
    const projected = scene.projection(width, height);
    setProjection(() => projected);
  }, [scene, camera, width, height, unit, available, stretch, x, y, values, map, place, contours, theme]);

  if (problem !== null) {
    return (
      <p role="alert" className="py-10 text-center text-muted-foreground text-sm">
        The surface needs WebGL, which this browser does not offer here ({problem}). The map shows the same
        values.
      </p>
    );
  }
  const clipped = range !== null && (range.low > range.min || range.high < range.max);
  return (
    <SurfaceShell
      ref={container}
      label={`${props.label}, as a surface`}
      summary={props.summary}
      note={[props.note ?? "", clipped ? clippedText(range) : "", linearText(props.scale, range?.low)]
        .filter(Boolean)
        .join(" ")}
      width={available}
      height={height + TOP}
      unit={unit}
      camera={camera}
      onTurn={setTurned}
      onDone={(view) => {
        setTurned(null);
        props.onCamera(view);
      }}
    >
      {available > 0 && (
        <>
          <canvas
            ref={canvas}
            className="absolute"
            style={{ left: 0, top: TOP * unit, width: width * unit, height: height * unit }}
          />
          <svg
            data-figure
            {...framed(available, height + TOP, unit)}
            className="absolute inset-0"
            aria-hidden="true"
          >
            <g transform={`translate(0,${TOP})`}>
              {projection && (
                <SurfaceLabels
                  {...{ x, y, values, extent, place, projection, theme, range, scale, width, height }}
                  xLabel={props.xLabel}
                  yLabel={props.yLabel}
                  markers={props.markers}
                  path={props.path}
                />
              )}
              {range && (
                <g transform={`translate(${width + 14},8)`}>
                  <ColorBar
                    {...{ map, low, high, scale, levels, theme }}
                    clippedLow={range.low > range.min}
                    clippedHigh={range.high < range.max}
                    label={valueLabel}
                    vertical
                    length={height - 16}
                  />
                </g>
              )}
            </g>
          </svg>
        </>
      )}
    </SurfaceShell>
  );
}

function useScene(): { scene: SurfaceScene | null; problem: string | null } {
  const [state, setState] = useState<{ scene: SurfaceScene | null; problem: string | null }>({
    scene: null,
    problem: null,
  });
  useEffect(() => {
    let current: SurfaceScene | null = null;
    let left = false;
    import("./surface-scene")
      .then((module) => {
        if (left) return;
        current = new module.SurfaceScene();
        setState({ scene: current, problem: null });
      })
      .catch((error: unknown) => {
        if (!left) setState({ scene: null, problem: error instanceof Error ? error.message : "unknown" });
      });
    return () => {
      left = true;
      current?.dispose();
    };
  }, []);
  return state;
}
