import { useQueries } from "@tanstack/react-query";
import { useCallback, useMemo, useState } from "react";
import { Failure, NotLoaded } from "@/components/notice";
import type { LineSeries } from "@/components/plots/line-paths";
import { LinePlot } from "@/components/plots/line-plot";
import { lineStyles, WHOLE_LINE } from "@/components/plots/line-styles";
import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { useHiddenRunsNote } from "@/hooks/use-overlays";
import { shortRun, stepText, stepUnit } from "@/lib/describe";
import { type Evolution, evolution } from "@/lib/evolution";
import { headersQuery } from "@/lib/many";
import { tagName } from "@/lib/names";
import { useSteps } from "@/lib/queries";
import type { SliceData, SliceHeader } from "@/lib/slice";
import { formatCount, formatNumber, formatWithError } from "@/maths/format";
import { curveSummary, lowerBoundsText, summaries } from "@/maths/summary";

interface RunEvolution extends Evolution {
  readonly run: string;
}

/** The measures of a tag over its steps, as a chart and as a table; the same tag of all runs on the page together. */
export function MeasuresOverSteps({ sliceData }: { readonly sliceData: SliceData }) {
  const { view, runColor } = useSliceData();
  const theme = usePlotTheme();
  const { runs, failed, retry } = useEvolutions(sliceData);
  const unit = stepUnit(sliceData.header);
  const hidden = useHiddenRunsNote(sliceData.tag);
  const names = [...new Set(runs.flatMap((run) => run.columns.map((column) => column.name)))];
  const [wanted, setWanted] = useState("");
  const chosen = names.includes(wanted) ? wanted : names[0];
  const series = useMemo(() => {
    // Of all runs, so that a run looks the same in each measure's chart.
    const styles = lineStyles(runs.map(({ run }) => ({ color: runColor(run) })));
    return runs.flatMap((run, index): LineSeries[] => {
      const column = run.columns.find((entry) => entry.name === chosen);
      if (!column) return [];
      return [
        {
          ...{
            key: run.run,
            label: shortRun(run.run),
            color: runColor(run.run),
            style: styles[index] ?? WHOLE_LINE,
          },
          ...{ x: run.steps, values: column.values, smoothed: column.values, stderr: column.errors },
          ...{ atLeast: column.cut, gaps: true },
        },
      ];
    });
  }, [runs, chosen, runColor]);
  const own = runs.find((run) => run.run === sliceData.run);
  if (!own && failed) return <Failure error={failed} onRetry={retry} />;
  if (!own)
    return (
      <>
        <p role="status" className="py-10 text-center text-muted-foreground text-sm print:hidden">
          Loading…
        </p>
        <NotLoaded />
      </>
    );
  if (chosen === undefined) {
    return <p className="py-10 text-center text-muted-foreground text-sm">These slices carry no measures.</p>;
  }
  return (
    <div className="space-y-3" data-testid="evolution">
      <div className="max-w-72">
        <Select
          label="Measure"
          value={chosen}
          options={names.map((name) => ({ value: name, label: name }))}
          onValueChange={setWanted}
        />
      </div>
      <LinePlot
        label={`${chosen} over the steps of ${tagName(sliceData.tag)}`}
        summary={summaries(
          series.map(
            (line) =>
              curveSummary(`${chosen}, ${line.label}`, unit, line.x, line.values) +
              lowerBoundsText(line.atLeast ?? new Uint8Array()),
          ),
        )}
        note={[
          series.some((line) => line.atLeast?.includes(1))
            ? "Open triangles: at least; the range of the slice cuts the width."
            : "",
          hidden,
        ]
          .filter(Boolean)
          .join(" ")}
        xLabel={unit}
        yLabel={chosen}
        series={series}
        markers={
          own.steps.length > 1
            ? [{ name: stepText(sliceData.header, sliceData.step), x: sliceData.step, y: null }]
            : []
        }
        scale={view.scale}
        across={view.across}
        counts
        range="full"
        tails="both"
        linked={view.linked}
        theme={theme}
        heightShare={0.42}
      />
      <MeasureTable evolution={own} step={sliceData.step} unit={unit} />
    </div>
  );
}

interface Evolutions {
  /** The own run first. */
  readonly runs: readonly RunEvolution[];
  /** Why the own run's are not there. */
  readonly failed: Error | null;
  readonly retry: () => void;
}

function useEvolutions({ run, tag }: SliceData): Evolutions {
  const { cards } = useSliceData();
  const steps = useSteps({ run, tag });
  // A slice that is compared may have no card.
  const shown = [
    { run, tag, steps: steps.data },
    ...cards.filter((card) => card.tag === tag && card.run !== run && card.steps),
  ];
  const select = useCallback((headers: ReadonlyMap<number, SliceHeader>) => evolution(headers), []);
  const found = useQueries({
    queries: shown.map((card) => ({ ...headersQuery(card, card.steps?.steps ?? []), select })),
    combine: evolutionsOf,
  });
  const names = JSON.stringify(shown.map((card) => card.run));
  const runs = useMemo(
    () =>
      (JSON.parse(names) as string[]).flatMap((name, index) => {
        const data = found[index]?.data;
        return data ? [{ ...data, run: name }] : [];
      }),
    [found, names],
  );
  const [own] = found;
  return {
    runs,
    failed: steps.error ?? own?.error ?? null,
    retry: () => void (steps.error ? steps.refetch() : own?.refetch()),
  };
}

interface Result {
  readonly data: Evolution | undefined;
  readonly error: Error | null;
  readonly refetch: () => Promise<unknown>;
}

function evolutionsOf(results: readonly Result[]): readonly Result[] {
  return results.map(({ data, error, refetch }) => ({ data, error, refetch }));
}

interface MeasureTableProps {
  readonly evolution: Evolution;
  readonly step: number;
  readonly unit: string;
}

function MeasureTable({ evolution: { steps, columns }, step, unit }: MeasureTableProps) {
  return (
    <section
      className="max-h-80 overflow-auto rounded border"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keys.
      tabIndex={0}
      aria-label="Measures at each step"
    >
      <table className="w-full text-xs">
        <thead className="sticky top-0 bg-muted">
          <tr>
            <th scope="col" className="px-3 py-1.5 text-right font-medium">
              {unit}
            </th>
            {columns.map((column) => (
              <th
                key={column.name}
                scope="col"
                className="min-w-24 max-w-56 px-3 py-1.5 text-right font-medium [overflow-wrap:anywhere]"
              >
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {Array.from(steps, (entry, row) => (
            <tr key={entry} className={entry === step ? "border-t bg-muted font-medium" : "border-t"}>
              <th scope="row" className="px-3 py-1 text-right font-normal">
                {formatCount(entry)}
              </th>
              {columns.map((column) => (
                <td key={column.name} className="whitespace-nowrap px-3 py-1 text-right">
                  {column.cut[row] ? "≥ " : ""}
                  {cellText(column.values[row] as number, column.errors[row] as number)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function cellText(value: number, error: number): string {
  return Number.isNaN(value)
    ? "–"
    : Number.isNaN(error)
      ? formatNumber(value, 5)
      : formatWithError(value, error, 5);
}
