import { ChevronLeft, ChevronRight, ChevronsRight } from "lucide-react";
import { Button } from "@/components/ui/button";
import { Slider } from "@/components/ui/slider";
import { useSliceData } from "@/contexts/slice-data-context";
import { formatCount } from "@/maths/format";

/** Through the steps of training: all shown cards move together. */
export function StepSlider() {
  const { steps, step, change, followNewest } = useSliceData();
  if (steps.length === 0 || step === null) return null;
  // A chosen step that is not there (yet, or in these runs) stands where it would be.
  const index = Math.max(
    steps.findLastIndex((entry) => entry <= step),
    0,
  );
  const last = steps.length - 1;
  const go = (to: number) => {
    const next = steps[Math.min(Math.max(to, 0), last)];
    if (next !== undefined) change({ step: next });
  };
  return (
    <fieldset className="flex min-w-0 grow items-center gap-2" aria-label="Step">
      <div className="flex shrink-0">
        <Button
          variant="ghost"
          size="iconSmall"
          aria-label="Previous step"
          disabled={index === 0}
          onClick={() => go(index - 1)}
        >
          <ChevronLeft />
        </Button>
        <Button
          variant="ghost"
          size="iconSmall"
          aria-label="Next step"
          disabled={index === last}
          onClick={() => go(index + 1)}
        >
          <ChevronRight />
        </Button>
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
        className="min-w-16"
      />
      <output className="shrink-0 whitespace-nowrap text-right text-sm" data-testid="step">
        <span className="text-muted-foreground text-xs">step </span>
        <span className="font-medium">{formatCount(step)}</span>{" "}
        <span className="ml-1.5 inline-block min-w-14 text-muted-foreground text-xs">
          {index + 1} / {steps.length}
        </span>
      </output>
      <Button
        variant="ghost"
        size="iconSmall"
        aria-label="Newest step"
        title="Newest step"
        disabled={index === last}
        onClick={followNewest}
      >
        <ChevronsRight />
      </Button>
    </fieldset>
  );
}
