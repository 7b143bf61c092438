import type { ReactNode } from "react";
import { RunSelector } from "./run-selector";
import { MethodControls } from "./slicing-methods/method-controls";
import { SeriesControls } from "./slicing-methods/series-controls";
import { SliceMethodSelector } from "./slicing-methods/slice-method-selector";

/** Everything that is chosen once for all cards: beside the plots, or in a sheet where the page is narrow. */
export function Controls() {
  return (
    <div className="divide-y">
      <Section title="Runs">
        <RunSelector />
      </Section>
      <Section title="Slicing method">
        <SliceMethodSelector />
      </Section>
      <Section title="Display">
        <div className="space-y-2 px-2">
          <SeriesControls />
          <MethodControls />
        </div>
      </Section>
    </div>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="px-2 py-3">
      <h2 className="mb-1 px-2 font-medium text-sm">{title}</h2>
      {children}
    </section>
  );
}
