import { useQueryClient } from "@tanstack/react-query";
import { SlidersHorizontal } from "lucide-react";
import { useDeferredValue, useEffect, useState } from "react";
import { Comparison } from "@/components/comparison";
import { Controls } from "@/components/controls";
import { EmptyState } from "@/components/empty-state";
import { NearView } from "@/components/near-view";
import { Failure, Notice } from "@/components/notice";
import { SliceCard } from "@/components/slice-card";
import { StepSlider } from "@/components/step-slider";
import { TagFilter } from "@/components/tag-filter";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { SliceDataProvider, useSliceData } from "@/contexts/slice-data-context";
import { ThemeProvider } from "@/contexts/theme-context";
import { useMobile } from "@/hooks/use-mobile";
import { usePreload } from "@/hooks/use-preload";
import { onDataReloaded } from "@/lib/host";
import { displayName, tagName } from "@/lib/names";
import { isDrawnElsewhere } from "@/lib/overlay";
import { refresh } from "@/lib/query-options";
import { CARDS_A_PAGE, CARDS_AT_ONCE } from "@/lib/selection";
import { formatCount, plural } from "@/maths/format";

export function App() {
  const client = useQueryClient();
  useEffect(() => onDataReloaded(() => void refresh(client)), [client]);
  return (
    <ThemeProvider>
      <SliceDataProvider>
        <Page />
      </SliceDataProvider>
    </ThemeProvider>
  );
}

function Page() {
  const { status, error, retry, runs } = useSliceData();
  const mobile = useMobile();
  // The cards come first.
  const controls = useDeferredValue(true, false);
  if (status === "error" && error) {
    return <Failure error={error} onRetry={retry} />;
  }
  if (status === "pending") {
    return (
      <Notice role="status">
        <p className="text-muted-foreground">Loading…</p>
      </Notice>
    );
  }
  if (runs.length === 0) return <EmptyState />;
  return (
    // Paper has no place to scroll nor anything to choose.
    <div className="flex h-dvh print:block print:h-auto">
      {!mobile && (
        <nav className="w-64 shrink-0 overflow-y-auto border-r bg-card print:hidden" aria-label="Controls">
          {controls && <Controls />}
        </nav>
      )}
      <div className="flex min-w-0 grow flex-col print:block">
        {controls ? <Toolbar mobile={mobile} /> : <div className="min-h-[45px] border-b bg-card" />}
        <Cards />
      </div>
    </div>
  );
}

function Toolbar({ mobile }: { mobile: boolean }) {
  const [open, setOpen] = useState(false);
  return (
    <header className="flex flex-wrap items-center gap-x-4 gap-y-1.5 border-b bg-card px-3 py-1.5 print:hidden">
      <h1 className="sr-only">Loss Slicer</h1>
      <div className="flex w-full items-center gap-2 sm:w-auto">
        {mobile && (
          <Button onClick={() => setOpen(true)}>
            <SlidersHorizontal />
            Controls
          </Button>
        )}
        <TagFilter />
      </div>
      <StepSlider />
      <Dialog open={mobile && open} onOpenChange={setOpen} title="Controls" side="left">
        <Controls />
      </Dialog>
    </header>
  );
}

/** More of them say nothing new. */
const SHOWN_PROBLEMS = 20;

function Cards() {
  const { cards, count, hidden, showMore, problems, view } = useSliceData();
  usePreload(cards);
  const all = Math.min(hidden, CARDS_AT_ONCE);
  const wide = cards.length <= 1 || cards.some((card) => card.geometry === "curves");
  return (
    <main className="min-h-0 grow overflow-y-auto p-3 print:overflow-visible">
      {problems.length > 0 && (
        <ul role="alert" className="mb-3 space-y-1 rounded-md border bg-card px-4 py-2 text-xs">
          {problems.slice(0, SHOWN_PROBLEMS).map((tag) => (
            <li key={`${tag.run}\n${tag.tag}`} className="[overflow-wrap:anywhere]">
              <bdi className="font-medium">{tagName(tag.tag)}</bdi> of <bdi>{displayName(tag.run)}</bdi> can’t
              be shown: {tag.problem ?? "its form is unknown to this version"}
            </li>
          ))}
          {problems.length > SHOWN_PROBLEMS && (
            <li>and {formatCount(problems.length - SHOWN_PROBLEMS)} more</li>
          )}
        </ul>
      )}
      <Comparison />
      {view.filter !== "" && (
        <p role="status" className="mb-2 px-1 text-muted-foreground text-xs">
          {formatCount(count.matching)} of {formatCount(count.all)} tags match
        </p>
      )}
      <div
        className={
          wide
            ? "grid gap-3"
            : "grid grid-cols-[repeat(auto-fit,minmax(min(100%,30rem),1fr))] items-start gap-3"
        }
      >
        {cards
          .filter((card) => !(view.overlay && isDrawnElsewhere(cards, card)))
          .map((card, index) => (
            <NearView key={`${card.run}\n${card.tag}`} always={index < CARDS_A_PAGE}>
              <SliceCard card={card} />
            </NearView>
          ))}
      </div>
      {cards.length === 0 && (
        <Notice>
          <p className="text-muted-foreground">
            {view.filter
              ? "No tag matches the pattern."
              : "The chosen runs hold no slices that this version can show."}
          </p>
        </Notice>
      )}
      {hidden > 0 && (
        <div className="py-4 text-center">
          <Button className="print:hidden" onClick={() => showMore(CARDS_A_PAGE)}>
            Show more ({formatCount(hidden)})
          </Button>{" "}
          {all > CARDS_A_PAGE && (
            <Button className="print:hidden" onClick={() => showMore(all)}>
              {all < hidden ? `Show the next ${formatCount(all)}` : "Show all"}
            </Button>
          )}
          <p className="hidden text-sm print:block">
            {plural(hidden, "more slice is", "more slices are")} not shown.
          </p>
        </div>
      )}
    </main>
  );
}
