import { useMemo } from "react";
import type { GridMarker } from "@/components/plots/grid-marks";
import { HeatMap } from "@/components/plots/heat-map";
import type { Fact } from "@/components/slice-info";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { seriesLabel, tailsOf } from "@/lib/describe";
import type { SliceData } from "@/lib/slice";
import { formatNumber } from "@/maths/format";
import { extremes, gridSummary } from "@/maths/summary";
import { DashboardFrame, type DashboardProps } from "./dashboard";

/** A plane: the loss over two directions, whatever made the directions. */
export function RandomDirectionDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const { header, series } = sliceData;
  const [main] = series;
  const [horizontal, vertical] = header.axes;
  const markers = useMemo(() => gridMarkers(sliceData), [sliceData]);
  const path = useMemo(
    () => (header.trajectory?.coordinates ?? []).map((point) => [point[0] ?? 0, point[1] ?? 0] as const),
    [header.trajectory],
  );
  if (!horizontal || !vertical) return null;
  const label = seriesLabel(main);
  return (
    <DashboardFrame
      figure={figure}
      sliceData={sliceData}
      selectedStep={selectedStep}
      facts={gridFacts(sliceData)}
    >
      <HeatMap
        label={`${label} over ${horizontal.label} and ${vertical.label}, step ${sliceData.step}`}
        summary={gridSummary(
          label,
          [horizontal.label, vertical.label],
          horizontal.values,
          vertical.values,
          main.values,
        )}
        x={horizontal.values}
        xLabel={horizontal.label}
        y={vertical.values}
        yLabel={vertical.label}
        values={main.values}
        stderr={main.stderr}
        interpolated={main.interpolated}
        valueLabel={label}
        markers={markers}
        path={path}
        colors={view.colors}
        scale={view.scale}
        range={view.range}
        tails={tailsOf(main)}
        levels={view.levels}
        shading={view.shading}
        theme={theme}
      />
    </DashboardFrame>
  );
}

/** The header's markers, and a cross at the center where none of them stands there. */
function gridMarkers({ header }: SliceData): GridMarker[] {
  const found = header.markers.map((marker) => ({
    name: marker.name,
    x: marker.coordinates[0] ?? 0,
    y: marker.coordinates[1] ?? 0,
  }));
  if (found.some((marker) => marker.x === 0 && marker.y === 0)) return found;
  return [{ name: "", x: 0, y: 0 }, ...found];
}

function gridFacts({ header, series }: SliceData): Fact[] {
  const [main] = series;
  const found = extremes(main.values);
  const sizes = header.axes.map((axis) => axis.values.length).join(" × ");
  return [
    { label: "resolution", value: sizes },
    ...(found
      ? [
          { label: "lowest", value: formatNumber(found.min) },
          { label: "highest", value: formatNumber(found.max) },
        ]
      : []),
    ...(found && found.nonfinite > 0 ? [{ label: "not finite", value: String(found.nonfinite) }] : []),
  ];
}
