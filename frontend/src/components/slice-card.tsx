import { useQueryClient } from "@tanstack/react-query";
import { memo, type ReactNode, useEffect, useRef } from "react";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { type Card, stepOf, useSliceData, useStep } from "@/contexts/slice-data-context";
import { ConnectionError } from "@/lib/api";
import { includesCard } from "@/lib/cards";
import { provisionalText, stepUnit } from "@/lib/describe";
import { displayName, displayText, tagName } from "@/lib/names";
import { useSlice, useSteps } from "@/lib/queries";
import { prefetchSlices } from "@/lib/query-options";
import { cn } from "@/lib/utils";
import { formatCount, plural } from "@/maths/format";
import { CardActions } from "./card-actions";
import { DASHBOARDS } from "./dashboards";
import { ErrorBoundary } from "./error-boundary";
import { Failure, Notice, NotLoaded } from "./notice";
import { SaveMenu } from "./plots/save-menu";
import { Swatch } from "./ui/swatch";

/** One tag of one run: its slice at the chosen step, or why there is none. */
export const SliceCard = memo(function SliceCard({ card }: { readonly card: Card }) {
  const { view, runColor } = useSliceData();
  const selectedStep = useStep();
  const step = stepOf(card, selectedStep);
  const steps = useSteps(card);
  const slice = useSlice(card, step, view);
  const data = slice.data;
  // Not before its own slice is there.
  usePrefetch(card, data && !slice.isPlaceholderData ? step : null, view.metric, view.split);
  const figure = useRef<HTMLDivElement>(null);
  const Dashboard = data && DASHBOARDS[data.header.geometry];

  // What was there before the connection was lost stays.
  const [stepsLost, sliceLost] = [steps.error, slice.error].map((error) => error instanceof ConnectionError);
  const refused = slice.isError && !(sliceLost && data);

  let body: ReactNode;
  if (steps.isError && !(stepsLost && card.steps)) {
    body = <Failure error={steps.error} onRetry={() => void steps.refetch()} />;
  } else if (step === null && card.steps) {
    body = (
      <Notice>
        <p>
          {card.steps.beyond ? "No step of this tag can be shown here." : "This tag has no slices any more."}
        </p>
      </Notice>
    );
  } else if (refused && !slice.isPlaceholderData) {
    body = <Failure error={slice.error} onRetry={() => void slice.refetch()} />;
  } else if (data && Dashboard) {
    body = (
      <div className={slice.isPlaceholderData ? "opacity-60 transition-opacity delay-150" : ""}>
        <ErrorBoundary
          resetKey={`${data.header.id} ${data.step}`}
          fallback={(error, retry) => <Failure error={error} onRetry={retry} />}
        >
          <Dashboard sliceData={data} selectedStep={selectedStep ?? data.step} figure={figure} />
        </ErrorBoundary>
      </div>
    );
  } else {
    body = <Skeleton />;
  }

  return (
    <article
      className={cn(
        "flex min-w-0 break-inside-avoid flex-col rounded-md border bg-card",
        card.pinned && "border-primary/60",
        includesCard(view.wide, card) && "col-span-full",
      )}
      aria-label={`${tagName(card.tag)}, run ${displayName(card.run)}`}
      aria-busy={slice.isFetching}
      data-testid="slice-card"
    >
      <header className="flex flex-wrap items-start gap-2 border-b py-2 pr-2 pl-4">
        <div className="min-w-32 grow basis-0">
          <h2 className="font-medium text-sm leading-[1.45] [overflow-wrap:anywhere]">
            <bdi>{tagName(card.tag)}</bdi>
          </h2>
          <p className="text-muted-foreground text-xs leading-[1.35] [overflow-wrap:anywhere]">
            <Swatch color={runColor(card.run)} className="mr-1.5 size-2" />
            <bdi>{displayName(card.run)}</bdi>
          </p>
        </div>
        <div className="ml-auto flex max-w-full flex-wrap items-center justify-end gap-1.5">
          {data?.header.provisional && (
            <Badge data-testid="provisional">{provisionalText(data.header)}</Badge>
          )}
          {step !== null && (
            <Badge data-testid="card-step">
              {data ? stepUnit(data.header) : "step"} {formatCount(step)}
            </Badge>
          )}
          <SaveMenu
            card={card}
            data={slice.isPlaceholderData || refused ? undefined : data}
            figure={figure}
          />
          <CardActions card={card} step={step} />
        </div>
      </header>
      {card.description && (
        <p
          // What scrolls has to be reached by keys.
          {...(isLong(card.description) ? { tabIndex: 0, role: "note", "aria-label": "Description" } : {})}
          className="max-h-36 overflow-y-auto whitespace-pre-line border-b px-4 py-2 text-muted-foreground text-xs [overflow-wrap:anywhere]"
        >
          {displayText(card.description)}
        </p>
      )}
      <div className="min-w-0 p-3">{body}</div>
      {(stepsLost || sliceLost) && data && (
        <LostNote onRetry={() => void Promise.all([steps.refetch(), slice.refetch()])} />
      )}
      {card.steps?.beyond ? <BeyondNote count={card.steps.beyond} /> : null}
      {card.steps?.sampled && (
        <p className="border-t px-4 py-2 text-muted-foreground text-xs">
          TensorBoard keeps {formatCount(card.steps.limit)} steps of a tag, so some may be missing. To see all
          of them, start it with <code className="font-mono">--samples_per_plugin loss_slicer=0</code>.
        </p>
      )}
    </article>
  );
});

/** Why what is shown may have changed since. */
function LostNote({ onRetry }: { readonly onRetry: () => void }) {
  return (
    <p
      role="status"
      className="flex flex-wrap items-center gap-2 border-t px-4 py-2 text-muted-foreground text-xs"
    >
      TensorBoard does not answer: this is what it sent before.
      <Button size="small" onClick={onRetry}>
        Try again
      </Button>
    </p>
  );
}

/** What is not shown, since it can't be asked for. */
function BeyondNote({ count }: { readonly count: number }) {
  return (
    <p className="border-t px-4 py-2 text-muted-foreground text-xs" data-testid="beyond">
      {plural(count, "step is", "steps are")} not shown: beyond ±{formatCount(Number.MAX_SAFE_INTEGER)} a
      browser can’t tell them apart. <code className="font-mono">loss-slicer plot</code> and{" "}
      <code className="font-mono">loss-slicer export</code> read them.
    </p>
  );
}

/** Whether a description may need more than the lines it has room for. */
function isLong(description: string): boolean {
  return description.length > 400 || description.split("\n").length > 6;
}

/** The steps beside the shown one, so that the slider does not wait. */
function usePrefetch(card: Card, step: number | null, metric: string, split: string) {
  const client = useQueryClient();
  const { run, tag, steps } = card;
  useEffect(() => {
    if (step === null || !steps) return;
    const timer = setTimeout(() => {
      const index = steps.steps.indexOf(step);
      const beside = [steps.steps[index + 1], steps.steps[index - 1]].filter((entry) => entry !== undefined);
      prefetchSlices(client, { run, tag }, beside, { metric, split });
    }, 250);
    return () => clearTimeout(timer);
  }, [client, run, tag, step, steps, metric, split]);
}

function Skeleton() {
  return (
    <>
      <div
        role="status"
        className="min-h-72 animate-pulse rounded bg-muted/60 motion-reduce:animate-none print:hidden"
      >
        <span className="sr-only">Loading</span>
      </div>
      <NotLoaded />
    </>
  );
}
