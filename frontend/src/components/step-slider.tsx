import { ChevronLeft, ChevronRight, ChevronsRight, Pause, Play, Radio } from "lucide-react";
import { useCallback, useMemo } from "react";
import { IconButton } from "@/components/ui/icon-button";
import { Select } from "@/components/ui/select";
import { Slider } from "@/components/ui/slider";
import { useSliceData, useStep } from "@/contexts/slice-data-context";
import { usePlay } from "@/hooks/use-play";
import { useShortcuts } from "@/hooks/use-shortcuts";
import { nearestStep } from "@/lib/steps";
import { SPEEDS } from "@/lib/view-state";
import { formatCount } from "@/maths/format";

const SPEED_OPTIONS = SPEEDS.map((speed) => ({ value: String(speed), label: `${speed}/s` }));

/** Through the steps of training: all shown cards move together. */
export function StepSlider() {
  const { steps, view, change, followNewest } = useSliceData();
  const step = useStep();
  // A chosen step that is not there (yet, or in these runs) stands at the nearest that is.
  const index = Math.max(steps.indexOf(nearestStep(steps, step) ?? Number.NaN), 0);
  const last = steps.length - 1;
  const go = useCallback(
    (to: number) => {
      const next = steps[Math.min(Math.max(to, 0), last)];
      if (next !== undefined) change({ step: next, follow: false });
    },
    [steps, last, change],
  );
  const { playing, toggle } = usePlay(index, steps.length, view.speed, go);
  useShortcuts(
    useMemo(() => ({ "[": () => go(index - 1), "]": () => go(index + 1), p: toggle }), [go, index, toggle]),
  );
  if (steps.length === 0 || step === null) return null;
  return (
    <fieldset className="flex min-w-0 grow flex-wrap items-center gap-x-2 sm:flex-nowrap" aria-label="Step">
      <div className="flex shrink-0">
        <IconButton label="Previous step" hint="[" disabled={index === 0} onClick={() => go(index - 1)}>
          <ChevronLeft />
        </IconButton>
        <IconButton
          label={playing ? "Pause" : "Play through the steps"}
          hint="p"
          disabled={last === 0}
          onClick={toggle}
        >
          {playing ? <Pause /> : <Play />}
        </IconButton>
        <IconButton label="Next step" hint="]" disabled={index === last} onClick={() => go(index + 1)}>
          <ChevronRight />
        </IconButton>
      </div>
      <Slider
        label="Step"
        valueText={`step ${step}, ${index + 1} of ${steps.length}`}
        value={index}
        min={0}
        max={Math.max(last, 1)}
        step={1}
        disabled={last === 0}
        onValueChange={go}
        className="w-auto min-w-16 grow basis-16"
      />
      <output className="shrink-0 whitespace-nowrap text-right text-sm" data-testid="step">
        <span className="text-muted-foreground text-xs">step </span>
        <span className="font-medium">{formatCount(step)}</span>{" "}
        <span className="ml-1.5 inline-block min-w-14 text-muted-foreground text-xs">
          {index + 1} / {steps.length}
        </span>
      </output>
      <div className="flex shrink-0 items-center">
        <Select
          label="Speed of playing, in steps a second"
          value={String(view.speed)}
          options={SPEED_OPTIONS}
          onValueChange={(speed) => change({ speed: Number(speed) })}
          disabled={last === 0}
          className="h-7 w-18 px-2 text-xs"
        />
        <IconButton label="Newest step" disabled={index === last} onClick={followNewest}>
          <ChevronsRight />
        </IconButton>
        <IconButton
          label="Follow newest"
          title="Follow newest: new data moves the step"
          pressed={view.follow}
          onClick={() => change(view.follow ? { follow: false, step } : { follow: true, step: null })}
        >
          <Radio />
        </IconButton>
      </div>
    </fieldset>
  );
}
