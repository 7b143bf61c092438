import { Slider as SliderPrimitive } from "radix-ui";
import type { ComponentProps } from "react";
import { cn } from "@/lib/utils";

type SliderProps = Omit<ComponentProps<typeof SliderPrimitive.Root>, "value" | "onValueChange"> & {
  readonly value: number;
  readonly onValueChange: (value: number) => void;
  readonly label: string;
  readonly valueText: string;
};

/** One thumb; arrow keys, Page Up/Down, Home and End move it. */
export function Slider({ className, value, onValueChange, label, valueText, ...props }: SliderProps) {
  return (
    <SliderPrimitive.Root
      className={cn("relative flex h-8 w-full touch-none select-none items-center", className)}
      value={[value]}
      onValueChange={([next]) => next !== undefined && onValueChange(next)}
      {...props}
    >
      <SliderPrimitive.Track className="relative h-1 grow overflow-hidden rounded-full bg-input/60 forced-colors:bg-[GrayText]">
        <SliderPrimitive.Range className="absolute h-full bg-primary" />
      </SliderPrimitive.Track>
      <SliderPrimitive.Thumb
        aria-label={label}
        aria-valuetext={valueText}
        className="block size-3.5 cursor-pointer rounded-full bg-primary shadow-sm ring-primary/25 transition-shadow hover:ring-4 data-[disabled]:cursor-default data-[disabled]:opacity-50"
      />
    </SliderPrimitive.Root>
  );
}
