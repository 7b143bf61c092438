import { useMemo } from "react";
import { HeatMap } from "@/components/plots/heat-map";
import type { LineSeries } from "@/components/plots/line-paths";
import { LinePlot } from "@/components/plots/line-plot";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { seriesLabel, shortRun, tailsOf } from "@/lib/describe";
import type { SliceData } from "@/lib/slice";
import { DIVERGING } from "@/maths/color";
import { curveDifference, gridDifference, symmetricRange } from "@/maths/difference";
import { formatCount } from "@/maths/format";
import type { ValueRange } from "@/maths/range";
import { likeCenter } from "@/maths/significance";
import { curveSummary, gridSummary } from "@/maths/summary";
import { useGridProps } from "./random-direction-dashboard";

export interface ComparedPlot {
  readonly slice: SliceData;
  readonly color: string;
}

interface ComparedPlotsProps {
  /** The first is what the others are compared with. */
  readonly compared: readonly ComparedPlot[];
}

/** What each slice differs in from the first: maps with one diverging range, or curves in one plot. */
export function Differences({ compared }: ComparedPlotsProps) {
  const grids = compared.filter(({ slice }) => slice.header.geometry === "grid");
  const curves = compared.filter(({ slice }) => slice.header.geometry === "curve");
  return (
    <div className="space-y-4" data-testid="differences">
      {grids.length > 0 && <ComparedGrids compared={grids} />}
      {curves.length > 0 && <ComparedCurves compared={curves} />}
    </div>
  );
}

function ComparedGrids({ compared }: ComparedPlotsProps) {
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
    <>
      {others.length > 0 && (
        <Row>
          {others.map(({ slice }, index) => (
            <DifferenceMap
              key={keyOf(slice)}
              first={first.slice}
              second={slice}
              values={differences[index]?.values ?? EMPTY}
              stderr={differences[index]?.stderr ?? null}
              interpolated={differences[index]?.interpolated ?? false}
              range={shared}
            />
          ))}
        </Row>
      )}
    </>
  );
}

function Row({ children }: { children: React.ReactNode }) {
  return (
    <div className="grid grid-cols-[repeat(auto-fit,minmax(min(100%,22rem),1fr))] items-start gap-4">
      {children}
    </div>
  );
}

interface DifferenceMapProps {
  readonly first: SliceData;
  readonly second: SliceData;
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
  readonly interpolated: boolean;
  readonly range: ValueRange | null;
}

function DifferenceMap({ first, second, values, stderr, interpolated, range }: DifferenceMapProps) {
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
      <Caption text={`${nameOf(second)} minus ${nameOf(first)}`} />
      <HeatMap
        {...map}
        label={`${label}, ${nameOf(second)} minus ${nameOf(first)}`}
        summary={`${gridSummary(label, [map.xLabel, map.yLabel], map.x, map.y, values)}${interpolated ? " Read between the points of the second." : ""}`}
        note={stderr ? INDEPENDENT : "Without errors of the difference, which these slices do not have."}
        values={values}
        valueLabel={label}
        stderr={stderr}
        interpolated={null}
        count={null}
        shaded={shaded}
        like={`${nameOf(first)} (the first)`}
        colors={DIVERGING}
        scale="linear"
        levels={ZERO}
        path={[]}
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
const EMPTY = new Float64Array();

function ComparedCurves({ compared }: ComparedPlotsProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const [first] = compared;
  const lines = useMemo(
    () =>
      compared.map(({ slice, color }, index) =>
        lineOf(slice, color, index > 0 && color === compared[0]?.color),
      ),
    [compared],
  );
  const differences = useMemo(
    () =>
      lines.slice(1).map((line): LineSeries => {
        const { values, stderr } = curveDifference(lines[0] as LineSeries, line);
        return { ...line, x: (lines[0] as LineSeries).x, values, smoothed: values, stderr };
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
        summary={lines.map((line) => curveSummary(line.label, common.xLabel, line.x, line.values)).join(" ")}
        yLabel={label}
        series={lines}
        scale={view.scale}
        range={view.range}
        heightShare={0.35}
      />
      {differences.length > 0 && (
        <LinePlot
          {...common}
          label={`Differences to ${nameOf(first.slice)}`}
          summary={differences
            .map((line) =>
              curveSummary(`${line.label} minus ${nameOf(first.slice)}`, common.xLabel, line.x, line.values),
            )
            .join(" ")}
          yLabel={`${label} minus first`}
          series={differences}
          note={differences.some(({ stderr }) => stderr) ? INDEPENDENT : ""}
          scale="linear"
          range="full"
          heightShare={0.25}
        />
      )}
    </>
  );
}

function lineOf(slice: SliceData, color: string, dashed: boolean): LineSeries {
  const [main] = slice.series;
  return {
    ...{ key: keyOf(slice), label: nameOf(slice), color, dashed },
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

function nameOf({ run, step }: SliceData): string {
  return `${shortRun(run)}, step ${formatCount(step)}`;
}

function keyOf({ run, tag, step }: SliceData): string {
  return JSON.stringify([run, tag, step]);
}

function asGrid({ header, series }: SliceData) {
  const [x, y] = header.axes.map((axis) => axis.values);
  return { axes: [x ?? EMPTY, y ?? EMPTY] as const, values: series[0].values, stderr: series[0].stderr };
}
