import { useMemo, useRef, useState } from "react";
import { CurveTile, type TileLine, tileMargin } from "@/components/plots/curve-tile";
import { clippedText, LinePlot } from "@/components/plots/line-plot";
import { seriesColor } from "@/components/plots/theme";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { useWidth } from "@/hooks/use-size";
import { seriesLabel, tailsOf } from "@/lib/describe";
import type { Curve, SliceData } from "@/lib/slice";
import { nameFilter } from "@/lib/utils";
import { boundedIndices, type CurveDomain, curveDomain, familyMembers } from "@/maths/family";
import { formatNumber, plural } from "@/maths/format";
import { chosenRange } from "@/maths/range";
import { curveSummary, familySummary } from "@/maths/summary";
import { DashboardFrame, type DashboardProps } from "./dashboard";

/** Tiles drawn at first, and by each press of the button: hundreds stay quick, thousands would not. */
const TILES_A_PAGE = 120;
const TILE_WIDTH = 210;

/** A family of curves, one small plot each: a parameter or a layer at a time. */
export function AxisParallelDashboard({ sliceData, selectedStep, figure }: DashboardProps) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const container = useRef<HTMLDivElement>(null);
  const width = useWidth(container);
  const [pages, setPages] = useState(1);
  const [open, setOpen] = useState<number | null>(null);
  const { header, series } = sliceData;
  const axis = header.axes[0];
  const tails = tailsOf(series[0]);
  const wholeX = axis?.values ?? EMPTY;

  const kept = useMemo(() => boundedIndices(wholeX, view.bounds), [wholeX, view.bounds]);
  const x = useMemo(() => wholeX.subarray(kept[0], kept[1]), [wholeX, kept]);
  const chosen = useMemo(() => {
    const passes = nameFilter(view.parameters);
    return header.curves.flatMap((curve, index) =>
      passes(curve.name) || passes(curve.layer) ? [index] : [],
    );
  }, [header.curves, view.parameters]);
  const members = useMemo(
    () =>
      series.map((entry) => ({
        label: seriesLabel(entry),
        values: familyMembers(entry.values, wholeX.length, kept),
        stderr: entry.stderr && familyMembers(entry.stderr, wholeX.length, kept),
      })),
    [series, wholeX, kept],
  );
  const shared = useMemo(() => {
    const values = chosen.flatMap((index) => members.flatMap((entry) => [...(entry.values[index] ?? [])]));
    return chosenRange(values, view.range, tails);
  }, [chosen, members, view.range, tails]);

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

  const domains = useMemo(() => {
    const how = { scale: view.scale, range: view.range };
    return lines.map((entry) => curveDomain(entry, how, tails, view.shared ? shared : null));
  }, [lines, view.scale, view.range, view.shared, tails, shared]);
  const left = useMemo(() => tileMargin(domains), [domains]);
  const xDomain = useMemo(() => [x[0] ?? 0, x[x.length - 1] ?? 1] as const, [x]);

  const columns = Math.max(Math.floor(width / TILE_WIDTH), 1);
  const shown = chosen.slice(0, pages * TILES_A_PAGE);
  const captions = useMemo(() => header.curves.map(caption), [header.curves]);
  const openCurve = open === null ? undefined : header.curves[open];
  const summary = series.map((entry) =>
    familySummary(seriesLabel(entry), header.curves.length, wholeX.length, entry.values),
  );
  const clipped = view.shared && shared && (shared.low > shared.min || shared.high < shared.max);
  const cut = view.shared ? 0 : chosen.filter((index) => domains[index]?.clipped).length;

  return (
    <DashboardFrame
      figure={figure}
      sliceData={sliceData}
      selectedStep={selectedStep}
      facts={familyFacts(sliceData)}
    >
      <div ref={container} className="w-full min-w-0" data-testid="tiles">
        {width > 0 && (
          <div className="grid" style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
            {shown.map((index) => (
              <CurveTile
                key={index}
                index={index}
                name={header.curves[index]?.name ?? ""}
                layer={header.curves[index]?.layer ?? ""}
                center={header.curves[index]?.center ?? null}
                x={x}
                xDomain={xDomain}
                domain={domains[index] ?? UNKNOWN}
                left={left}
                scale={view.scale}
                lines={lines[index] ?? []}
                width={Math.floor(width / columns)}
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
      <div className="mt-2 flex flex-wrap items-center gap-3">
        {shown.length < chosen.length && (
          <Button onClick={() => setPages(pages + 1)}>
            Show {Math.min(TILES_A_PAGE, chosen.length - shown.length)} more of {chosen.length}
          </Button>
        )}
        <p className="text-muted-foreground text-xs leading-5 [overflow-wrap:anywhere]">
          {summary.join(" ")}{" "}
          <span data-figure-note>
            {clipped && clippedText(shared)}
            {cut > 0 &&
              `${plural(cut, "curve leaves its plot", "curves leave their plots")} at clipped values.`}
          </span>{" "}
          Horizontal: {axis?.label}.{series.length > 1 && <SeriesKey labels={lines[0] ?? []} />}
        </p>
      </div>
      <Dialog open={openCurve !== undefined} onOpenChange={() => setOpen(null)} title={openCurve?.name ?? ""}>
        {openCurve && open !== null && (
          <div className="space-y-2 p-4">
            <p className="text-muted-foreground text-xs">{captions[open]}</p>
            <LinePlot
              label={`${seriesLabel(series[0])} along ${openCurve.name}, step ${sliceData.step}`}
              summary={(lines[open] ?? [])
                .map((entry) => curveSummary(entry.label, axis?.label ?? "", x, entry.values))
                .join(" ")}
              x={x}
              xLabel={axis?.label ?? ""}
              yLabel={series.length > 1 ? series[0].name : seriesLabel(series[0])}
              series={(lines[open] ?? []).map((entry) => ({ ...entry, smoothed: entry.values }))}
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

function SeriesKey({ labels }: { labels: readonly TileLine[] }) {
  return labels.map((entry) => (
    <span key={entry.label} className="ml-2 inline-flex items-center gap-1.5">
      <span className="size-2 rounded-full" style={{ background: entry.color }} />
      {entry.label}
    </span>
  ));
}

function caption(curve: Curve): string {
  return [
    curve.layer !== curve.name ? curve.layer : "",
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
