/** What all dashboards share: what they get, and their frame. */
import { memo, type ReactNode, type Ref, useDeferredValue, useMemo } from "react";
import { Disclosure, type Fact, SliceInfo } from "@/components/slice-info";
import { useSliceData } from "@/contexts/slice-data-context";
import { hasDownloads } from "@/lib/api";
import type { SliceData } from "@/lib/slice";
import type { Display } from "@/lib/view-state";
import { formatCount } from "@/maths/format";
import { MeasuresOverSteps } from "./measures-over-steps";

export interface DashboardProps {
  readonly sliceData: SliceData;
  /** The step that the reader chose; the slice may be another one, its tag's nearest. */
  readonly selectedStep: number;
  /** The element that is saved as a picture. */
  readonly figure: Ref<HTMLDivElement>;
}

interface DashboardFrameProps {
  readonly figure: Ref<HTMLDivElement>;
  readonly sliceData: SliceData;
  readonly selectedStep: number;
  /** What this kind of slice has to say before everything else; the same function each time. */
  readonly factsOf: (sliceData: SliceData) => readonly Fact[];
  /** The part of each axis that is in view; null where all is. */
  readonly visible?: readonly (readonly [number, number])[] | null;
  readonly children: ReactNode;
}

/** The plot, with the slice's numbers beside it where there is room, else folded away below. */
export function DashboardFrame(props: DashboardFrameProps) {
  const { figure, sliceData, selectedStep, factsOf, visible = null, children } = props;
  const { view } = useSliceData();
  // The plot comes first, and its numbers a moment later.
  const info = useDeferredValue(
    useMemo(
      () => <SliceInfo sliceData={sliceData} facts={factsOf(sliceData)} visible={visible} />,
      [sliceData, factsOf, visible],
    ),
    null,
  );
  return (
    <div className="@container">
      <div className="flex flex-col gap-3 @4xl:flex-row @4xl:gap-6">
        <div className="min-w-0 grow">
          <DisplaySwitch surface={sliceData.header.geometry === "grid"} />
          <div ref={figure}>
            {view.display === "steps" ? <MeasuresOverSteps sliceData={sliceData} /> : children}
          </div>
          {sliceData.step !== selectedStep && (
            <p className="mt-1 text-muted-foreground text-xs">
              This tag has no slice at step {formatCount(selectedStep)}; shown is the nearest,{" "}
              {formatCount(sliceData.step)}.
            </p>
          )}
        </div>
        <aside className="hidden w-72 shrink-0 border-l pl-5 @4xl:block" aria-label="Details">
          {info}
        </aside>
        <div className="text-xs @4xl:hidden">
          <Disclosure title={hasDownloads() ? "Details and downloads" : "Details"}>{info}</Disclosure>
        </div>
      </div>
    </div>
  );
}

const DISPLAYS: readonly { readonly value: Display; readonly label: string }[] = [
  { value: "flat", label: "Slice" },
  { value: "surface", label: "Surface" },
  { value: "steps", label: "Over steps" },
];

/** What is drawn: the slice itself, its surface, or how its measures change. One choice for all cards. */
const DisplaySwitch = memo(function DisplaySwitch({ surface }: { surface: boolean }) {
  const { view, change } = useSliceData();
  const current = view.display === "surface" && !surface ? "flat" : view.display;
  return (
    <fieldset className="mb-2 inline-flex rounded border" aria-label="View">
      {DISPLAYS.filter(({ value }) => surface || value !== "surface").map(({ value, label }) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === current}
          className="cursor-pointer px-2.5 py-1 text-muted-foreground text-xs first:rounded-l last:rounded-r not-first:border-l hover:bg-muted aria-pressed:bg-muted aria-pressed:font-medium aria-pressed:text-foreground"
          onClick={() => change({ display: value })}
        >
          {label}
        </button>
      ))}
    </fieldset>
  );
});
