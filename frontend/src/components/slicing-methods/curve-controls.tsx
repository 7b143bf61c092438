import { useSliceData } from "@/contexts/slice-data-context";
import { MAX_SMOOTHING } from "@/lib/view-state";
import { SliderField } from "./field";

/** Controls of slices of geometry curve. */
export function CurveControls() {
  const { view, change } = useSliceData();
  return (
    <SliderField
      label="Smoothing"
      value={view.smoothing}
      text={view.smoothing === 0 ? "off" : `${view.smoothing} points`}
      min={0}
      max={MAX_SMOOTHING}
      step={0.5}
      onChange={(smoothing) => change({ smoothing })}
    />
  );
}
