import { Link2, Link2Off, X } from "lucide-react";
import { Button } from "@/components/ui/button";
import { IconButton } from "@/components/ui/icon-button";
import { Swatch } from "@/components/ui/swatch";
import { useSliceData } from "@/contexts/slice-data-context";
import { type ComparedSlice, useComparedSlices } from "@/hooks/use-compared-slices";
import { BesideContext } from "@/hooks/use-shared-range";
import { sameCompared } from "@/lib/cards";
import { stepText } from "@/lib/describe";
import { cardName, displayName, tagName } from "@/lib/names";
import { formatCount } from "@/maths/format";
import { DASHBOARDS } from "./dashboards";
import { Differences } from "./dashboards/differences";
import { ErrorBoundary } from "./error-boundary";
import { Failure, Notice } from "./notice";

/** The slices that were chosen for comparing, as a list, and side by side where that is open. */
export function Comparison() {
  const { view, change } = useSliceData();
  const { slices, loaded } = useComparedSlices();
  const colored = slices.flatMap(({ data, color }) => (data ? [{ slice: data, color }] : []));
  if (slices.length === 0) return null;
  return (
    <section className="mb-3 rounded-md border bg-card" aria-label="Comparison" data-testid="comparison">
      <div className="flex flex-wrap items-center gap-2 px-3 py-2">
        <h2 className="font-medium text-sm">Compare</h2>
        <ul className="flex min-w-0 flex-wrap gap-1.5" aria-label="Compared slices">
          {slices.map((slice) => (
            <Chosen key={JSON.stringify(slice.key)} slice={slice} />
          ))}
        </ul>
        <div className="ml-auto flex gap-1.5">
          <Button
            size="small"
            variant={view.comparing ? "outline" : "primary"}
            aria-expanded={view.comparing}
            disabled={slices.length < 2}
            onClick={() => change({ comparing: !view.comparing })}
          >
            {view.comparing ? "Close" : "Side by side"}
          </Button>
          <Button size="small" onClick={() => change({ compared: [], comparing: false })}>
            Clear
          </Button>
        </div>
      </div>
      {slices.length < 2 && (
        <p className="px-3 pb-2 text-muted-foreground text-xs">
          Choose another card, or another step of this one.
        </p>
      )}
      {view.comparing && slices.length > 1 && (
        <div className="grid grid-cols-[repeat(auto-fit,minmax(min(100%,24rem),1fr))] gap-3 border-t p-3">
          <BesideContext value={loaded}>
            {slices.map((slice) => (
              <Side key={JSON.stringify(slice.key)} slice={slice} />
            ))}
          </BesideContext>
        </div>
      )}
      {view.comparing && <Differences compared={colored} />}
    </section>
  );
}

function Chosen({ slice: { key, step, color } }: { readonly slice: ComparedSlice }) {
  const { view, change } = useSliceData();
  const linked = key.step === null;
  const name = cardName(key);
  const others = view.compared.filter((entry) => !sameCompared(entry, key));
  const turned = { ...key, step: linked ? step : null };
  return (
    <li className="flex min-w-0 max-w-full items-center gap-1 rounded bg-muted py-0.5 pr-0.5 pl-2 text-xs">
      <Swatch color={color} />
      <bdi className="min-w-0 truncate" title={name}>
        {tagName(key.tag, 80)} · {displayName(key.run, 80)}
      </bdi>
      <span className="shrink-0 text-muted-foreground">
        {step === null ? "" : `step ${formatCount(step)}`}
      </span>
      <IconButton
        label={`Link the step of ${name}`}
        title={linked ? "Moves with the step of all cards" : "Stays at its own step"}
        pressed={linked}
        disabled={step === null || others.some((entry) => sameCompared(entry, turned))}
        onClick={() =>
          change({ compared: view.compared.map((entry) => (sameCompared(entry, key) ? turned : entry)) })
        }
      >
        {linked ? <Link2 /> : <Link2Off />}
      </IconButton>
      <IconButton
        label={`Leave ${name} out of the comparison`}
        onClick={() => change({ compared: others, comparing: view.comparing && others.length > 1 })}
      >
        <X />
      </IconButton>
    </li>
  );
}

function Side({ slice: { key, step, data, error, retry } }: { readonly slice: ComparedSlice }) {
  if (error && !data) return <Failure error={error} onRetry={retry} />;
  if (!data || step === null) {
    return (
      <Notice role="status">
        <p className="text-muted-foreground">Loading…</p>
      </Notice>
    );
  }
  const Dashboard = DASHBOARDS[data.header.geometry];
  return (
    <div className="min-w-0" data-testid="compared">
      <h3 className="mb-1 text-xs [overflow-wrap:anywhere]">
        <bdi className="font-medium">{tagName(key.tag)}</bdi> · <bdi>{displayName(key.run)}</bdi>{" "}
        <span className="text-muted-foreground">{stepText(data.header, step)}</span>
      </h3>
      <ErrorBoundary
        resetKey={`${data.header.id} ${step}`}
        fallback={(problem, again) => <Failure error={problem} onRetry={again} />}
      >
        <Dashboard sliceData={data} selectedStep={step} figure={null} />
      </ErrorBoundary>
    </div>
  );
}
