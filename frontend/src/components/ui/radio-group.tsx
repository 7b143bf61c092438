import { RadioGroup as RadioGroupPrimitive } from "radix-ui";
import type { ComponentProps } from "react";
import { cn } from "@/lib/utils";

export function RadioGroup({ className, ...props }: ComponentProps<typeof RadioGroupPrimitive.Root>) {
  return <RadioGroupPrimitive.Root className={cn("flex flex-col", className)} {...props} />;
}

/** One option as a row that is wholly clickable. */
export function RadioRow({ className, children, ...props }: ComponentProps<typeof RadioGroupPrimitive.Item>) {
  return (
    <RadioGroupPrimitive.Item
      className={cn(
        "group flex min-h-8 w-full cursor-pointer items-center gap-2 rounded px-2 py-1 text-left text-sm hover:bg-muted disabled:cursor-default disabled:opacity-45 disabled:hover:bg-transparent data-[state=checked]:bg-muted data-[state=checked]:font-medium",
        className,
      )}
      {...props}
    >
      <span className="flex size-3.5 shrink-0 items-center justify-center rounded-full border border-input group-data-[state=checked]:border-primary">
        <RadioGroupPrimitive.Indicator className="size-2 rounded-full bg-primary" />
      </span>
      {children}
    </RadioGroupPrimitive.Item>
  );
}
