import { useSliceData } from "@/contexts/slice-data-context";
import { MAX_SMOOTHING } from "@/lib/view-state";
import { CheckboxField, SliderField } from "./field";

/** Controls of slices of geometry curve. */
export function CurveControls() {
  const { view, change } = useSliceData();
  return (
    <>
      <SliderField
        label="Smoothing"
        value={view.smoothing}
        text={view.smoothing === 0 ? "off" : `${view.smoothing} ${view.smoothing === 1 ? "point" : "points"}`}
        min={0}
        max={MAX_SMOOTHING}
        step={0.5}
        onChange={(smoothing) => change({ smoothing })}
      />
      <div>
        <CheckboxField
          label="Other steps behind"
          checked={view.ghosts}
          onChange={(ghosts) => change({ ghosts })}
        />
        <CheckboxField
          label="All runs in one plot"
          checked={view.overlay}
          onChange={(overlay) => change({ overlay })}
        />
        <CheckboxField
          label="Logarithmic horizontal axis"
          checked={view.across === "log"}
          onChange={(checked) => change({ across: checked ? "log" : "linear" })}
        />
      </div>
    </>
  );
}
