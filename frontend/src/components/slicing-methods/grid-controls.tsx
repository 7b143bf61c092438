import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { MAX_LEVELS } from "@/lib/view-state";
import { COLOR_MAPS, type ColorMapName } from "@/maths/color";
import { CheckboxField, Field, SliderField } from "./field";

const OPTIONS = COLOR_MAPS.map((name) => ({
  value: name,
  label: name.charAt(0).toUpperCase() + name.slice(1),
}));

/** Controls of slices of geometry grid. */
export function GridControls() {
  const { view, change } = useSliceData();
  return (
    <>
      <Field label="Colors">
        <Select
          label="Color map"
          value={view.colors}
          options={OPTIONS}
          onValueChange={(colors) => change({ colors: colors as ColorMapName })}
        />
      </Field>
      <SliderField
        label="Contour lines"
        value={view.levels}
        text={view.levels === 0 ? "none" : `about ${view.levels}`}
        min={0}
        max={MAX_LEVELS}
        step={1}
        onChange={(levels) => change({ levels })}
      />
      <CheckboxField
        label="Shade between points"
        checked={view.shading === "smooth"}
        onChange={(checked) => change({ shading: checked ? "smooth" : "cells" })}
      />
    </>
  );
}
