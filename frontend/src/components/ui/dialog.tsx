import { X } from "lucide-react";
import { Dialog as DialogPrimitive } from "radix-ui";
import { type ReactNode, useRef } from "react";
import { cn } from "@/lib/utils";
import { Button } from "./button";

interface DialogProps {
  readonly open: boolean;
  readonly onOpenChange: (open: boolean) => void;
  readonly title: string;
  readonly children: ReactNode;
  /** In the middle of the page, or a sheet at its left side. */
  readonly side?: "center" | "left";
}

export function Dialog({ open, onOpenChange, title, children, side = "center" }: DialogProps) {
  // What has no trigger of its own gives the focus back to whatever opened it.
  const opener = useRef<Element | null>(null);
  return (
    <DialogPrimitive.Root open={open} onOpenChange={onOpenChange}>
      <DialogPrimitive.Portal>
        <DialogPrimitive.Overlay className="fixed inset-0 z-40 bg-black/40" />
        <DialogPrimitive.Content
          aria-describedby={undefined}
          onOpenAutoFocus={() => {
            opener.current = document.activeElement;
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            if (opener.current instanceof HTMLElement) opener.current.focus();
          }}
          className={cn(
            "fixed z-50 flex flex-col overflow-hidden border bg-card shadow-xl",
            side === "center"
              ? "top-1/2 left-1/2 max-h-[92dvh] w-[min(900px,calc(100vw-1rem))] -translate-x-1/2 -translate-y-1/2 rounded-md"
              : "inset-y-0 left-0 w-[min(23rem,88vw)]",
          )}
        >
          <div className="flex items-start justify-between gap-2 border-b py-2 pr-2 pl-4">
            <DialogPrimitive.Title className="min-w-0 py-1 font-medium text-sm [overflow-wrap:anywhere]">
              {title}
            </DialogPrimitive.Title>
            <DialogPrimitive.Close asChild>
              <Button variant="ghost" size="icon" aria-label="Close">
                <X />
              </Button>
            </DialogPrimitive.Close>
          </div>
          <div className="min-h-0 overflow-y-auto">{children}</div>
        </DialogPrimitive.Content>
      </DialogPrimitive.Portal>
    </DialogPrimitive.Root>
  );
}
