import type { ReactNode } from "react";
import { Checkbox } from "@/components/ui/checkbox";
import { Slider } from "@/components/ui/slider";

export function Field({ label, value, children }: { label: string; value?: string; children: ReactNode }) {
  return (
    <div>
      <div className="mb-0.5 flex justify-between gap-2 text-muted-foreground text-xs">
        <span>{label}</span>
        {value !== undefined && <span>{value}</span>}
      </div>
      {children}
    </div>
  );
}

interface SliderFieldProps {
  readonly label: string;
  readonly value: number;
  readonly text: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly onChange: (value: number) => void;
}

export function SliderField({ label, value, text, min, max, step, onChange }: SliderFieldProps) {
  return (
    <Field label={label} value={text}>
      <Slider
        label={label}
        valueText={text}
        value={value}
        min={min}
        max={max}
        step={step}
        onValueChange={onChange}
      />
    </Field>
  );
}

interface CheckboxFieldProps {
  readonly label: string;
  readonly checked: boolean;
  readonly onChange: (checked: boolean) => void;
}

export function CheckboxField({ label, checked, onChange }: CheckboxFieldProps) {
  return (
    <label className="flex min-h-8 cursor-pointer items-center gap-2 text-sm">
      <Checkbox checked={checked} onCheckedChange={(state) => onChange(state === true)} />
      {label}
    </label>
  );
}
