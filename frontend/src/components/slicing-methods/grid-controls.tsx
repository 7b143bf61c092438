import { Input } from "@/components/ui/input";
import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { MAX_LEVELS } from "@/lib/view-state";
import { COLOR_MAPS, type ColorMapName } from "@/maths/color";
import { parseLevels } from "@/maths/contour";
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
      <Field label="Levels, instead of a number of them">
        <Input
          aria-label="Contour levels"
          placeholder="0.1, 0.5, 2"
          value={view.at}
          aria-invalid={parseLevels(view.at) === null}
          onChange={(event) => change({ at: event.target.value })}
        />
      </Field>
      <CheckboxField
        label="Levels at equal ratios"
        checked={view.spacing === "ratio"}
        onChange={(checked) => change({ spacing: checked ? "ratio" : "even" })}
      />
      <CheckboxField
        label="Mark cells like the center"
        checked={view.significance}
        onChange={(significance) => change({ significance })}
      />
      {view.display === "surface" && (
        <SliderField
          label="Height of surfaces"
          value={view.height}
          text={`${view.height}×`}
          min={0.2}
          max={3}
          step={0.1}
          onChange={(height) => change({ height })}
        />
      )}
      <CheckboxField
        label="Shade between points"
        checked={view.shading === "smooth"}
        onChange={(checked) => change({ shading: checked ? "smooth" : "cells" })}
      />
    </>
  );
}
