import { useMemo } from "react";
import { type LineMarker, LinePlot, type LineSeries } from "@/components/plots/line-plot";
import { seriesColor } from "@/components/plots/theme";
import type { Fact } from "@/components/slice-info";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { seriesLabel, tailsOf } from "@/lib/describe";
import type { Series, SliceData } from "@/lib/slice";
import { formatNumber, formatWithError, plural } from "@/maths/format";
import { smooth } from "@/maths/smoothing";
import { curveSummary } from "@/maths/summary";
import { DashboardFrame, type DashboardProps } from "./dashboard";

/** One curve: the loss along a line, whatever made the line. */
export function LinearInterpolationDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const axis = sliceData.header.axes[0];
  const [main] = sliceData.series;
  const lines = useMemo(
    (): LineSeries[] =>
      sliceData.series.map((series, index) => ({
        label: seriesLabel(series),
        color: seriesColor(theme, index),
        values: series.values,
        smoothed: smooth(series.values, view.smoothing),
        stderr: series.stderr,
      })),
    [sliceData.series, theme, view.smoothing],
  );
  const markers = useMemo(() => curveMarkers(sliceData), [sliceData]);
  if (!axis) return null;
  const label = seriesLabel(main);
  const summary = sliceData.series
    .map((series) => curveSummary(seriesLabel(series), axis.label, axis.values, series.values))
    .join(" ");
  return (
    <DashboardFrame
      figure={figure}
      sliceData={sliceData}
      selectedStep={selectedStep}
      facts={curveFacts(sliceData, main)}
    >
      <LinePlot
        label={`${sliceData.series.map(seriesLabel).join(" and ")} along ${axis.label}, step ${sliceData.step}`}
        summary={summary}
        x={axis.values}
        xLabel={axis.label}
        yLabel={sliceData.series.length > 1 ? main.name : label}
        series={lines}
        markers={markers}
        scale={view.scale}
        range={view.range}
        tails={tailsOf(main)}
        theme={theme}
      />
    </DashboardFrame>
  );
}

/** The header's markers, and the center where none of them stands there. */
function curveMarkers({ header, series }: SliceData): LineMarker[] {
  const [main] = series;
  const lossShown = main.name === "loss";
  const found = header.markers.map((marker) => ({
    name: marker.name,
    x: marker.coordinates[0] ?? 0,
    y: lossShown ? (marker.loss[main.split] ?? null) : null,
  }));
  const values = header.axes[0]?.values;
  const inside = values && (values[0] ?? 1) <= 0 && (values[values.length - 1] ?? -1) >= 0;
  if (header.center && inside && !found.some((marker) => marker.x === 0)) {
    found.unshift({ name: "center", x: 0, y: lossShown ? (header.center.loss[main.split] ?? null) : null });
  }
  return found.sort((a, b) => a.x - b.x);
}

function curveFacts({ header }: SliceData, { values, stderr }: Series): Fact[] {
  const x = header.axes[0]?.values ?? new Float64Array();
  const last = x.length - 1;
  const at = (index: number) => formatWithError(values[index] as number, stderr?.[index], 5);
  return [
    { label: "resolution", value: plural(x.length, "point") },
    { label: `start (${formatNumber(x[0] ?? 0, 4)})`, value: at(0) },
    ...(last > 0 ? [{ label: `end (${formatNumber(x[last] ?? 0, 4)})`, value: at(last) }] : []),
  ];
}
