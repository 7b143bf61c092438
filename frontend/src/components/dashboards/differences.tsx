import { useMemo } from "react";
import { HeatMap, type HeatMapProps } from "@/components/plots/heat-map";
import type { LineSeries } from "@/components/plots/line-paths";
import { LinePlot } from "@/components/plots/line-plot";
import { type LineStyle, lineStyles, WHOLE_LINE } from "@/components/plots/line-styles";
import { seriesColor } from "@/components/plots/theme";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { comparable, leftOutText, type NameOf, nameOfCompared } from "@/lib/comparable";
import { seriesLabel, tailsOf } from "@/lib/describe";
import type { SliceData } from "@/lib/slice";
import { DIVERGING } from "@/maths/color";
import { curveDifference, gridDifference, symmetricRange } from "@/maths/difference";
import type { ValueRange } from "@/maths/range";
import { likeCenter } from "@/maths/significance";
import { curveSummary, gridSummary, summaries } from "@/maths/summary";
import { useGridProps } from "./random-direction-dashboard";

export interface ComparedPlot {
  readonly slice: SliceData;
  readonly color: string;
}

interface DifferencesProps {
  readonly compared: readonly ComparedPlot[];
}

interface ComparedPlotsProps {
  /** The first is what the others are compared with. */
  readonly compared: readonly ComparedPlot[];
  readonly name: NameOf;
}

/** What each slice differs in from the first: maps with one diverging range, or curves in one plot. */
export function Differences({ compared }: DifferencesProps) {
  const name = nameOfCompared(compared.map(({ slice }) => slice));
  const [grids, curves] = [comparable(compared, "grid"), comparable(compared, "curve")];
  const leftOut = [grids, curves].map((group) => leftOutText(group, name)).filter(Boolean);
  const subtracted = [grids, curves].some(({ alike }) => alike.length > 1);
  if (!subtracted && leftOut.length === 0) return null;
  return (
    <div className="space-y-4 border-t p-3" data-testid="differences">
      <h3 className="font-medium text-sm">Differences to the first</h3>
      {leftOut.map((text) => (
        <p key={text} className="text-muted-foreground text-xs [overflow-wrap:anywhere]">
          {text}
        </p>
      ))}
      {grids.alike.length > 1 && <ComparedGrids compared={grids.alike} name={name} />}
      {curves.alike.length > 1 && <ComparedCurves compared={curves.alike} name={name} />}
    </div>
  );
}

function ComparedGrids({ compared, name }: ComparedPlotsProps) {
  const [first, ...others] = compared;
  const differences = useMemo(
    () => others.map(({ slice }) => (first ? gridDifference(asGrid(first.slice), asGrid(slice)) : null)),
    [first, others],
  );
  const shared = useMemo(
    () => symmetricRange(differences.flatMap((difference) => difference?.values ?? [])),
    [differences],
  );
  if (!first) return null;
  return (
    <div className="grid grid-cols-[repeat(auto-fit,minmax(min(100%,22rem),1fr))] items-start gap-4">
      {others.map(({ slice }, index) => (
        <DifferenceMap
          key={keyOf(slice)}
          first={first.slice}
          second={slice}
          name={name}
          values={differences[index]?.values ?? EMPTY}
          stderr={differences[index]?.stderr ?? null}
          interpolated={differences[index]?.interpolated ?? false}
          range={shared}
        />
      ))}
    </div>
  );
}

interface DifferenceMapProps {
  readonly first: SliceData;
  readonly second: SliceData;
  readonly name: NameOf;
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
  readonly interpolated: boolean;
  readonly range: ValueRange | null;
}

function DifferenceMap(props: DifferenceMapProps) {
  const { first, second, name, values, stderr, interpolated, range } = props;
  const { view } = useSliceData();
  const map = useGridProps(first, view);
  const shaded = useMemo(
    () => (view.significance && stderr ? likeCenter(values, stderr, 0) : null),
    [view.significance, values, stderr],
  );
  if (!map) return null;
  const label = `difference of ${seriesLabel(first.series[0])}`;
  return (
    <figure className="min-w-0" data-testid="difference">
      <Caption text={`${name(second)} minus ${name(first)}`} />
      <HeatMap
        {...map}
        label={`${label}, ${name(second)} minus ${name(first)}`}
        summary={`${gridSummary(label, [map.xLabel, map.yLabel], map.x, map.y, values)}${interpolated ? " Read between the points of the second." : ""}`}
        note={stderr ? INDEPENDENT : "Without errors of the difference, which these slices do not have."}
        values={values}
        valueLabel={label}
        stderr={stderr}
        interpolated={null}
        count={null}
        shaded={shaded}
        like={`${name(first)} (the first)`}
        colors={DIVERGING}
        scale="linear"
        levels={ZERO}
        path={NO_PATH}
        range={range}
        cut={null}
      />
    </figure>
  );
}

/** The log has the errors of paired differences to a slice's own center, not to another slice. */
const INDEPENDENT =
  "Errors of differences are those of both slices, as if independent: too large where both have the same samples.";

const ZERO = { count: 0, at: [0], spacing: "even" } as const;
const NO_PATH: HeatMapProps["path"] = [];
const EMPTY = new Float64Array();

function ComparedCurves({ compared, name }: ComparedPlotsProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const [first] = compared;
  // Steps of one run would all have its color.
  const distinct = new Set(compared.map(({ color }) => color)).size === compared.length;
  const lines = useMemo(() => {
    const colors = compared.map(({ color }, index) => (distinct ? color : seriesColor(theme, index)));
    const styles = lineStyles(colors.map((color) => ({ color })));
    return compared.map(({ slice }, index) =>
      lineOf(slice, name(slice), colors[index] ?? theme.foreground, styles[index] ?? WHOLE_LINE),
    );
  }, [compared, name, distinct, theme]);
  const differences = useMemo(
    () =>
      lines.slice(1).map((line): LineSeries => {
        const { values, stderr } = curveDifference(lines[0] as LineSeries, line);
        return { ...line, x: (lines[0] as LineSeries).x, values, smoothed: values, stderr, gaps: true };
      }),
    [lines],
  );
  if (!first) return null;
  const axis = first.slice.header.axes[0];
  const label = seriesLabel(first.slice.series[0]);
  const common = {
    ...{ xLabel: axis?.label ?? "", markers: [], across: view.across, theme, linked: view.linked },
    tails: tailsOf(first.slice.series[0]),
  };
  return (
    <>
      <LinePlot
        {...common}
        label={`${label} of ${compared.length} slices`}
        summary={summaries(lines.map((line) => curveSummary(line.label, common.xLabel, line.x, line.values)))}
        yLabel={label}
        series={lines}
        scale={view.scale}
        range={view.range}
        heightShare={0.35}
      />
      <LinePlot
        {...common}
        label={`Differences to ${name(first.slice)}`}
        summary={summaries(
          differences.map((line) =>
            curveSummary(`${line.label} minus ${name(first.slice)}`, common.xLabel, line.x, line.values),
          ),
        )}
        yLabel={`${label} minus first`}
        series={differences}
        note={differences.some(({ stderr }) => stderr) ? INDEPENDENT : ""}
        scale="linear"
        range="full"
        heightShare={0.25}
      />
    </>
  );
}

function lineOf(slice: SliceData, label: string, color: string, style: LineStyle): LineSeries {
  const [main] = slice.series;
  return {
    ...{ key: keyOf(slice), label, color, style },
    ...{
      x: slice.header.axes[0]?.values ?? EMPTY,
      values: main.values,
      smoothed: main.values,
      stderr: main.stderr,
    },
  };
}

function Caption({ text }: { text: string }) {
  return (
    <figcaption className="mb-1 flex items-center gap-1.5 font-medium text-xs [overflow-wrap:anywhere]">
      <bdi>{text}</bdi>
    </figcaption>
  );
}

function keyOf({ run, tag, step }: SliceData): string {
  return JSON.stringify([run, tag, step]);
}

function asGrid({ header, series }: SliceData) {
  const [x, y] = header.axes.map((axis) => axis.values);
  return { axes: [x ?? EMPTY, y ?? EMPTY] as const, values: series[0].values, stderr: series[0].stderr };
}
