/** What stands where there is nothing to draw: why, and the way on. */
import { RefreshCw } from "lucide-react";
import type { ReactNode } from "react";
import { Button } from "@/components/ui/button";

export function Failure({ error, onRetry }: { error: Error; onRetry: () => void }) {
  return (
    <Notice role="alert">
      <p className="max-w-prose text-destructive [overflow-wrap:anywhere]">{error.message}</p>
      <Button onClick={onRetry}>
        <RefreshCw />
        Try again
      </Button>
    </Notice>
  );
}

export function Notice({ role, children }: { role?: "alert" | "status"; children: ReactNode }) {
  return (
    <div
      role={role}
      className="flex min-h-48 flex-col items-center justify-center gap-3 p-4 text-center text-sm"
    >
      {children}
    </div>
  );
}

/** What paper has in place of what was not there when it was printed: nothing comes later there. */
export function NotLoaded() {
  return (
    <p className="hidden py-2 text-muted-foreground text-sm print:block">
      Not loaded yet: scroll to this card, then print again.
    </p>
  );
}
