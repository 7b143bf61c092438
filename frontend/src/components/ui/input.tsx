import type { ComponentProps } from "react";
import { cn } from "@/lib/utils";

export function Input({ className, ...props }: ComponentProps<"input">) {
  return (
    <input
      className={cn(
        "h-8 w-full min-w-0 rounded border border-input bg-card px-2.5 text-sm aria-invalid:border-destructive",
        className,
      )}
      {...props}
    />
  );
}
