import { Input } from "@/components/ui/input";
import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { FAMILY_SORTS, type FamilySort } from "@/lib/view-state";
import { CheckboxField, Field, SliderField } from "./field";

const ORDERS: Readonly<Record<FamilySort, string>> = {
  logged: "As logged",
  name: "Name",
  layer: "Layer",
  curvature: "Curvature, strongest first",
  range: "Range, widest first",
};

/** Controls of slices of geometry curves. */
export function FamilyControls() {
  const { view, change } = useSliceData();
  return (
    <>
      <Field label="Parameters">
        <Input
          aria-label="Filter parameters"
          placeholder="Name or layer (pattern)"
          value={view.parameters}
          onChange={(event) => change({ parameters: event.target.value })}
        />
      </Field>
      <Field label="Order">
        <Select
          label="Order"
          value={view.sort}
          options={FAMILY_SORTS.map((value) => ({ value, label: ORDERS[value] }))}
          onValueChange={(value) => change({ sort: value as FamilySort })}
        />
      </Field>
      <SliderField
        label="Bounds"
        value={view.bounds}
        text={view.bounds === 1 ? "whole range" : `${Math.round(view.bounds * 100)} %`}
        min={0.05}
        max={1}
        step={0.05}
        onChange={(bounds) => change({ bounds })}
      />
      <CheckboxField
        label="Same vertical axis for all"
        checked={view.shared}
        onChange={(shared) => change({ shared })}
      />
    </>
  );
}
