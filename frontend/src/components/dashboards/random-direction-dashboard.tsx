import { useCallback, useMemo, useState } from "react";
import type { GridMarker, PathPoint } from "@/components/plots/grid-marks";
import { HeatMap, type HeatMapProps, type Visible } from "@/components/plots/heat-map";
import { Surface } from "@/components/plots/surface";
import type { View } from "@/components/plots/surface-scene";
import type { Fact } from "@/components/slice-info";
import { type Settings, useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { useSharedRange } from "@/hooks/use-shared-range";
import { centerOf, seriesLabel, stepText } from "@/lib/describe";
import type { SliceData } from "@/lib/slice";
import { parseLevels } from "@/maths/contour";
import type { Cut } from "@/maths/cut";
import { formatEnds } from "@/maths/format";
import { likeCenter, valueAtOrigin } from "@/maths/significance";
import { extremes, gridSummary } from "@/maths/summary";
import { CutCurve } from "./cut-curve";
import { DashboardFrame, type DashboardProps } from "./dashboard";

/** A plane: the loss over two directions, whatever made the directions. */
export function RandomDirectionDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view, change } = useSliceData();
  const { range, note } = useSharedRange(sliceData);
  const onCamera = useCallback((camera: View | null) => change({ camera }), [change]);
  const map = useGridProps(sliceData, view);
  const [visible, setVisible] = useState<Visible | null>(null);
  if (!map) return null;
  return (
    <DashboardFrame
      figure={figure}
      sliceData={sliceData}
      selectedStep={selectedStep}
      factsOf={gridFacts}
      visible={visible}
    >
      {view.display === "surface" ? (
        <Surface
          {...map}
          {...{ range, note }}
          height={view.height}
          camera={view.camera as View | null}
          onCamera={onCamera}
        />
      ) : (
        <>
          <HeatMap {...map} {...{ range, note }} onCut={(cut) => change({ cut })} onVisible={setVisible} />
          {map.cut && <CutCurve sliceData={sliceData} cut={map.cut} />}
        </>
      )}
    </DashboardFrame>
  );
}

/** What a heat map draws of a slice, but for the range of its colours. */
export function useGridProps(
  sliceData: SliceData,
  view: Settings,
): Omit<HeatMapProps, "range" | "onCut" | "onVisible"> | null {
  const theme = usePlotTheme();
  const { header, series, step } = sliceData;
  const [main] = series;
  const [horizontal, vertical] = header.axes;
  const markers = useMemo(() => gridMarkers(sliceData), [sliceData]);
  const path = useMemo(() => pathPoints(sliceData), [sliceData]);
  const shaded = useMemo(
    () => (view.significance ? shadedCells(sliceData) : null),
    [sliceData, view.significance],
  );
  const at = useMemo(() => parseLevels(view.at) ?? [], [view.at]);
  if (!horizontal || !vertical) return null;
  const label = seriesLabel(main);
  const axes = [horizontal.label, vertical.label] as const;
  return {
    label: `${label} over ${axes[0]} and ${axes[1]}, ${stepText(header, step)}`,
    summary: gridSummary(
      label,
      axes,
      horizontal.values,
      vertical.values,
      main.values,
      centerOf(header, main),
    ),
    x: horizontal.values,
    xLabel: horizontal.label,
    y: vertical.values,
    yLabel: vertical.label,
    values: main.values,
    stderr: main.stderr,
    interpolated: main.interpolated,
    count: main.count,
    shaded,
    valueLabel: label,
    markers,
    path,
    colors: view.colors,
    scale: view.scale,
    levels: { count: view.levels, at, spacing: view.spacing },
    shading: view.shading,
    linked: view.linked,
    cut: view.cut as Cut | null,
    theme,
  };
}

/** The header's markers, and a cross at the center where none of them stands there. */
function gridMarkers({ header }: SliceData): GridMarker[] {
  const found = header.markers.map((marker) => ({
    name: marker.name,
    x: marker.coordinates[0] ?? 0,
    y: marker.coordinates[1] ?? 0,
  }));
  if (found.some((marker) => marker.x === 0 && marker.y === 0)) return found;
  return [{ name: "center", x: 0, y: 0 }, ...found];
}

function pathPoints({ header, series }: SliceData): PathPoint[] {
  const { trajectory } = header;
  if (!trajectory) return [];
  const [main] = series;
  const losses = main.name === "loss" ? trajectory.losses[main.split] : undefined;
  return trajectory.coordinates.map((point, index) => ({
    x: point[0] ?? 0,
    y: point[1] ?? 0,
    name: stepText(header, trajectory.steps[index] ?? index),
    loss: losses?.[index] ?? null,
    residual: trajectory.residuals[index] ?? null,
  }));
}

/** The cells that can't be told from the center; null where the log does not say. */
function shadedCells({ header, series }: SliceData): Uint8Array | null {
  const [main] = series;
  if (!main.differenceStderr) return null;
  const center = valueAtOrigin(
    main.values,
    header.axes.map((axis) => axis.values),
  );
  const known = center ?? (main.name === "loss" ? header.center?.loss[main.split] : undefined);
  return known === undefined ? null : likeCenter(main.values, main.differenceStderr, known);
}

function gridFacts({ header, series }: SliceData): Fact[] {
  const [main] = series;
  const found = extremes(main.values);
  const [lowest, highest] = found ? formatEnds(found.min, found.max, 7) : ["", ""];
  const sizes = header.axes.map((axis) => axis.values.length).join(" × ");
  return [
    { label: "resolution", value: sizes },
    ...(found
      ? [
          { label: "lowest", value: lowest },
          { label: "highest", value: highest },
        ]
      : []),
    ...(found && found.nonfinite > 0 ? [{ label: "not finite", value: String(found.nonfinite) }] : []),
  ];
}
