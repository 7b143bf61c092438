import { useMemo, useRef, useState } from "react";
import { CurveTile, TILE_HEIGHT, type TileLine, tileMargin } from "@/components/plots/curve-tile";
import { clippedText, LinePlot } from "@/components/plots/line-plot";
import { NOT_FINITE_NOTE } from "@/components/plots/not-finite";
import { seriesColor } from "@/components/plots/theme";
import { Dialog } from "@/components/ui/dialog";
import { Swatch } from "@/components/ui/swatch";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { useSharedRange } from "@/hooks/use-shared-range";
import { usePlotWidth } from "@/hooks/use-size";
import { useVisibleRows } from "@/hooks/use-visible-rows";
import { seriesLabel, stepText, tailsOf, words } from "@/lib/describe";
import { nameFilter } from "@/lib/pattern";
import type { Curve, SliceData } from "@/lib/slice";
import type { FamilySort } from "@/lib/view-state";
import {
  boundedIndices,
  type CurveDomain,
  curvatureAtCenter,
  curveDomain,
  descending,
  familyMembers,
  reachOf,
} from "@/maths/family";
import { formatNumber, plural } from "@/maths/format";
import { chosenRange } from "@/maths/range";
import { linearCurvesText, linearText } from "@/maths/scale";
import { curveSummary, familySummary, summaries } from "@/maths/summary";
import { DashboardFrame, type DashboardProps } from "./dashboard";

const TILE_WIDTH = 210;

/** A family of curves, one small plot each: a parameter or a layer at a time. Only those in sight are drawn. */
export function AxisParallelDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const container = useRef<HTMLDivElement>(null);
  const { width, unit } = usePlotWidth(container);
  const [open, setOpen] = useState<number | null>(null);
  const { range: whole, shared: beside, note } = useSharedRange(sliceData);
  const { header, series } = sliceData;
  const axis = header.axes[0];
  const tails = tailsOf(series[0]);
  const wholeX = axis?.values ?? EMPTY;

  const kept = useMemo(() => boundedIndices(wholeX, view.bounds), [wholeX, view.bounds]);
  const x = useMemo(() => wholeX.subarray(kept[0], kept[1]), [wholeX, kept]);
  const members = useMemo(
    () =>
      series.map((entry) => ({
        label: seriesLabel(entry),
        values: familyMembers(entry.values, wholeX.length, kept),
        stderr: entry.stderr && familyMembers(entry.stderr, wholeX.length, kept),
      })),
    [series, wholeX, kept],
  );
  const chosen = useMemo(() => {
    const passes = nameFilter(view.parameters);
    const found = header.curves.flatMap((curve, index) =>
      passes(curve.name) || passes(curve.layer) ? [index] : [],
    );
    return sorted(found, view.sort, header.curves, x, members[0]?.values ?? []);
  }, [header.curves, view.parameters, view.sort, x, members]);
  const shared = useMemo(() => {
    if (beside) return whole;
    const values = chosen.flatMap((index) => members.flatMap((entry) => [...(entry.values[index] ?? [])]));
    return chosenRange(values, view.range, tails);
  }, [chosen, members, view.range, beside, whole, tails]);

  const lines = useMemo(
    () =>
      header.curves.map((_, index): TileLine[] =>
        members.map((entry, place) => ({
          label: entry.label,
          color: seriesColor(theme, place),
          values: entry.values[index] ?? EMPTY,
          stderr: entry.stderr?.[index] ?? null,
        })),
      ),
    [header.curves, members, theme],
  );

  const alike = view.shared || beside;
  const domains = useMemo(() => {
    const how = { scale: view.scale, range: view.range };
    return lines.map((entry) => curveDomain(entry, how, tails, alike ? shared : null));
  }, [lines, view.scale, view.range, alike, tails, shared]);
  const left = useMemo(() => tileMargin(domains), [domains]);
  const xDomain = useMemo(() => [x[0] ?? 0, x[x.length - 1] ?? 1] as const, [x]);

  const rowHeight = TILE_HEIGHT * unit;
  const columns = Math.max(Math.floor(width / TILE_WIDTH), 1);
  const rows = Math.ceil(chosen.length / columns);
  const [first, last] = useVisibleRows(container, rowHeight, rows);
  const shown = chosen.slice(first * columns, last * columns);
  const openCurve = open === null ? undefined : header.curves[open];
  const summary = series.map((entry) =>
    familySummary(seriesLabel(entry), header.curves.length, wholeX.length, entry.values),
  );
  const clipped = alike && shared && (shared.low > shared.min || shared.high < shared.max);
  const cut = alike ? 0 : chosen.filter((index) => domains[index]?.clipped).length;
  const crossed = chosen.some((index) => lines[index]?.some((entry) => !entry.values.every(Number.isFinite)));
  const linear = alike
    ? linearText(view.scale, shared?.low)
    : linearCurvesText(
        view.scale,
        chosen.map((index) => domains[index]?.low ?? Number.NaN),
      );

  return (
    <DashboardFrame figure={figure} sliceData={sliceData} selectedStep={selectedStep} factsOf={familyFacts}>
      <div
        ref={container}
        className="w-full min-w-0"
        style={{ paddingTop: first * rowHeight, paddingBottom: (rows - last) * rowHeight }}
        data-figure-part
        data-testid="tiles"
      >
        {width > 0 && (
          <div className="grid" style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
            {shown.map((index) => (
              <CurveTile
                key={index}
                index={index}
                name={header.curves[index]?.name ?? ""}
                layer={placeOf(header.curves[index])}
                center={header.curves[index]?.center ?? null}
                x={x}
                xDomain={xDomain}
                domain={domains[index] ?? UNKNOWN}
                left={left}
                scale={view.scale}
                lines={lines[index] ?? []}
                width={Math.floor(width / columns)}
                unit={unit}
                theme={theme}
                onOpen={setOpen}
              />
            ))}
          </div>
        )}
      </div>
      {chosen.length === 0 && (
        <p className="py-8 text-center text-muted-foreground text-sm">No parameter matches the pattern.</p>
      )}
      <p className="mt-2 text-muted-foreground text-xs leading-[1.6] [overflow-wrap:anywhere]">
        {chosen.length < header.curves.length && `${chosen.length} of ${header.curves.length} shown. `}
        {summaries(summary)}{" "}
        <span data-figure-note>
          {note} {clipped && clippedText(shared)}
          {cut > 0 &&
            `${plural(cut, "curve leaves its plot", "curves leave their plots")} at clipped values.`}{" "}
          {linear} {crossed && NOT_FINITE_NOTE}
        </span>{" "}
        Horizontal: {axis?.label}.{series.length > 1 && <SeriesKey labels={lines[0] ?? []} />}
      </p>
      <Dialog open={openCurve !== undefined} onOpenChange={() => setOpen(null)} title={openCurve?.name ?? ""}>
        {openCurve && open !== null && (
          <div className="space-y-2 p-4">
            <p className="text-muted-foreground text-xs">{caption(openCurve)}</p>
            <LinePlot
              label={`${seriesLabel(series[0])} along ${openCurve.name}, ${stepText(header, sliceData.step)}`}
              summary={summaries(
                (lines[open] ?? []).map((entry) =>
                  curveSummary(entry.label, axis?.label ?? "", x, entry.values),
                ),
              )}
              xLabel={axis?.label ?? ""}
              yLabel={series.length > 1 ? words(series[0].name) : seriesLabel(series[0])}
              series={(lines[open] ?? []).map((entry) => ({
                ...entry,
                ...{ key: entry.label, x, smoothed: entry.values },
              }))}
              markers={
                x.length > 0 && xDomain[0] <= 0 && xDomain[1] >= 0 ? [{ name: "center", x: 0, y: null }] : []
              }
              scale={view.scale}
              range={view.range}
              tails={tails}
              theme={theme}
            />
          </div>
        )}
      </Dialog>
    </DashboardFrame>
  );
}

const EMPTY = new Float64Array();
const UNKNOWN: CurveDomain = { low: Number.NaN, high: Number.NaN, clipped: false, bounds: [0, 1] };

/** The members in the reader's order; curvature and range descend, by the first series. */
function sorted(
  indices: readonly number[],
  sort: FamilySort,
  curves: readonly Curve[],
  x: Float64Array,
  values: readonly Float64Array[],
): readonly number[] {
  const text = (key: (curve: Curve) => string) => {
    // `layer2` before `layer10`.
    const { compare } = new Intl.Collator("en", { numeric: true });
    return indices.toSorted((a, b) => compare(key(curves[a] as Curve), key(curves[b] as Curve)));
  };
  if (sort === "name") return text((curve) => curve.name);
  if (sort === "layer") return text((curve) => curve.layer);
  if (sort === "curvature") {
    return descending(indices, (index) => Math.abs(curvatureAtCenter(x, values[index] ?? EMPTY)));
  }
  if (sort === "range") return descending(indices, (index) => reachOf(values[index] ?? EMPTY));
  return indices;
}

function SeriesKey({ labels }: { labels: readonly TileLine[] }) {
  return labels.map((entry) => (
    <span key={entry.label} className="ml-2 inline-flex items-center gap-1.5">
      <Swatch color={entry.color} />
      {entry.label}
    </span>
  ));
}

/** The layer, and which entry of its tensor it is where the name does not say. */
function placeOf(curve: Curve | undefined): string {
  if (!curve) return "";
  const index = curve.index.length > 0 ? `[${curve.index.join(", ")}]` : "";
  const told = index !== "" && curve.name.replaceAll(" ", "").endsWith(index.replaceAll(" ", ""));
  return [curve.layer !== curve.name ? curve.layer : "", told ? "" : index].filter(Boolean).join(" ");
}

function caption(curve: Curve): string {
  const shape = curve.shape.length > 0 ? ` of ${curve.shape.join(" × ")}` : "";
  return [
    curve.layer !== curve.name && curve.layer ? `layer ${curve.layer}` : "",
    curve.index.length > 0 ? `entry [${curve.index.join(", ")}]${shape}` : "",
    curve.center === null ? "" : `center ${formatNumber(curve.center, 5)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function familyFacts({ header }: SliceData) {
  const layers = new Set(header.curves.map((curve) => curve.layer).filter(Boolean));
  return [
    { label: "curves", value: String(header.curves.length) },
    ...(layers.size > 0 ? [{ label: "layers", value: String(layers.size) }] : []),
    { label: "resolution", value: plural(header.axes[0]?.values.length ?? 0, "point") },
  ];
}
