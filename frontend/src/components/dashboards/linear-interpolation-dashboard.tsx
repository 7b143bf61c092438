import { useDeferredValue, useMemo } from "react";
import type { LineSeries } from "@/components/plots/line-paths";
import { type LineMarker, LinePlot } from "@/components/plots/line-plot";
import { lineStyles, WHOLE_LINE } from "@/components/plots/line-styles";
import { type PlotTheme, seriesColor } from "@/components/plots/theme";
import type { Fact } from "@/components/slice-info";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { useGhosts, useHiddenRunsNote, useOtherRuns } from "@/hooks/use-overlays";
import { useSharedRange } from "@/hooks/use-shared-range";
import { centerOf, seriesLabel, shortRun, stepText, stepUnit, tailsOf, words } from "@/lib/describe";
import type { Series, SliceData } from "@/lib/slice";
import { digitsAmong, formatCount, formatNumber, formatWithError, plural } from "@/maths/format";
import { smooth } from "@/maths/smoothing";
import { curveSummary, summaries } from "@/maths/summary";
import { DashboardFrame, type DashboardProps } from "./dashboard";
import { EndsTable } from "./ends-table";

/** One curve: the loss along a line, whatever made the line. */
export function LinearInterpolationDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view, runColor } = useSliceData();
  const theme = usePlotTheme();
  const axis = sliceData.header.axes[0];
  const [main] = sliceData.series;
  // They come one by one: not all of many lines are drawn anew for each.
  const others = useDeferredValue(useOtherRuns(sliceData));
  const hidden = useHiddenRunsNote(sliceData.tag);
  const ghosts = useGhosts(sliceData);
  const { range, shared, note } = useSharedRange(sliceData);
  const lines = useMemo(
    () => [
      ...namedLines([sliceData, ...others], theme, runColor, view.smoothing),
      ...ghostLines(
        ghosts,
        main,
        others.length > 0 ? runColor(sliceData.run) : seriesColor(theme, 0),
        view.smoothing,
      ),
    ],
    [sliceData, others, ghosts, main, theme, runColor, view.smoothing],
  );
  const markers = useMemo(() => curveMarkers(sliceData), [sliceData]);
  if (!axis) return null;
  const named = [sliceData, ...others];
  const summary = summaries(
    named.flatMap(({ run, header, series }) =>
      series.map((entry) =>
        curveSummary(
          others.length > 0 ? `${shortRun(run)}, ${seriesLabel(entry)}` : seriesLabel(entry),
          axis.label,
          header.axes[0]?.values ?? EMPTY,
          entry.values,
          centerOf(header, entry),
        ),
      ),
    ),
  );
  const right = [...new Set(lines.filter((line) => line.right).map((line) => line.metric))];
  return (
    <DashboardFrame figure={figure} sliceData={sliceData} selectedStep={selectedStep} factsOf={curveFacts}>
      <LinePlot
        label={`${sliceData.series.map(seriesLabel).join(" and ")} along ${axis.label}, ${stepText(sliceData.header, sliceData.step)}`}
        summary={summary}
        xLabel={axis.label}
        yLabel={sliceData.series.length > 1 ? words(main.name) : seriesLabel(main)}
        rightLabel={right.map(words).join(", ")}
        series={lines}
        markers={markers}
        scale={view.scale}
        across={view.across}
        range={view.range}
        limits={shared ? range : null}
        tails={tailsOf(main)}
        linked={view.linked}
        note={[
          ghosts.length > 0 ? ghostNote(ghosts) : "",
          spreadNote(sliceData),
          note,
          view.overlay ? hidden : "",
        ]
          .filter(Boolean)
          .join(" ")}
        theme={theme}
      />
      <EndsTable header={sliceData.header} />
    </DashboardFrame>
  );
}

interface MetricLine extends LineSeries {
  readonly metric: string;
}

/**
 * One line a run, metric and split. Colours tell runs apart where there are several, else metrics and splits; dashes tell
 * apart what has one colour.
 */
function namedLines(
  slices: readonly SliceData[],
  theme: PlotTheme,
  runColor: (run: string) => string,
  smoothing: number,
): MetricLine[] {
  const several = slices.length > 1;
  const [first] = slices;
  const lines = slices.flatMap((slice) =>
    slice.series.map((series, index) => ({
      key: `${slice.run}\n${series.name}\n${series.split}`,
      label: several
        ? [
            shortRun(slice.run),
            seriesLabel(series),
            slice.step !== first?.step && stepText(slice.header, slice.step),
          ]
            .filter(Boolean)
            .join(" · ")
        : seriesLabel(series),
      metric: series.name,
      color: several ? runColor(slice.run) : seriesColor(theme, index),
      x: slice.header.axes[0]?.values ?? EMPTY,
      values: series.values,
      smoothed: smooth(series.values, smoothing),
      stderr: series.stderr,
      spread: series.spread ?? null,
      right: series.name !== first?.series[0].name,
      dashed: several ? index > 0 : series.name !== first?.series[0].name,
    })),
  );
  const styles = lineStyles(lines);
  return lines.map((line, index) => ({ ...line, style: styles[index] ?? WHOLE_LINE }));
}

function ghostLines(
  ghosts: readonly SliceData[],
  main: Series,
  color: string,
  smoothing: number,
): MetricLine[] {
  return ghosts.flatMap((slice) =>
    slice.series
      .filter((series) => series.name === main.name && series.split === main.split)
      .map((series) => ({
        key: `step ${slice.step}`,
        label: stepText(slice.header, slice.step),
        metric: series.name,
        color,
        x: slice.header.axes[0]?.values ?? EMPTY,
        values: series.values,
        smoothed: smooth(series.values, smoothing),
        stderr: null,
        ghost: true,
      })),
  );
}

const EMPTY = new Float64Array();

function ghostNote(ghosts: readonly SliceData[]): string {
  const [first, last] = [ghosts[0]?.step ?? 0, ghosts[ghosts.length - 1]?.step ?? 0];
  const unit = ghosts[0] ? stepUnit(ghosts[0].header) : "step";
  return `Faint lines: ${plural(ghosts.length, `other ${unit}`)}, from ${formatCount(first)} to ${formatCount(last)}.`;
}

function spreadNote({ header, series }: SliceData): string {
  if (!series.some(({ spread }) => spread)) return "";
  const repeats = header.directions[0]?.recipe.repeats;
  const all = typeof repeats === "number" ? `${repeats} directions` : "all directions";
  return `The line is that of the first direction; the lighter band reaches from the lowest to the highest of ${all}, and the dotted line is their mean.`;
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

function curveFacts({ header, series: [main] }: SliceData): Fact[] {
  const { values, stderr, split, name } = main;
  const x = header.axes[0]?.values ?? EMPTY;
  const last = x.length - 1;
  const digits = digitsAmong(values, 5);
  const at = (index: number) => formatWithError(values[index] as number, stderr?.[index], digits);
  return [
    { label: "resolution", value: plural(x.length, "point") },
    { label: `left (${formatNumber(x[0] ?? 0, 4)})`, value: at(0) },
    ...(last > 0 ? [{ label: `right (${formatNumber(x[last] ?? 0, 4)})`, value: at(last) }] : []),
    ...(name === "loss"
      ? header.markers.flatMap((marker) =>
          marker.loss[split] === undefined
            ? []
            : [
                {
                  label: `loss at ${marker.name}`,
                  value: formatNumber(marker.loss[split], Math.max(digits, 7)),
                },
              ],
        )
      : []),
  ];
}
