import { Check, Copy } from "lucide-react";
import { useRef, useState } from "react";
import { cn } from "@/lib/utils";
import { Button } from "./button";

interface CopyBlockProps {
  readonly text: string;
  /** What the button does. */
  readonly label: string;
  /** Breaks long lines instead of scrolling them. */
  readonly wrap?: boolean;
}

/** Text to be pasted elsewhere, with a button that copies it. */
export function CopyBlock({ text, label, wrap = false }: CopyBlockProps) {
  const [state, setState] = useState<"idle" | "copied" | "marked">("idle");
  const block = useRef<HTMLElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setState("copied");
    } catch {
      // Without a secure context there is no clipboard: mark the text, so that Ctrl+C takes it.
      if (block.current) window.getSelection()?.selectAllChildren(block.current);
      setState("marked");
    }
  };
  return (
    <div className="flex items-start gap-1 rounded border bg-card py-1.5 pr-1.5 pl-3">
      <pre
        className={cn(
          "min-w-0 grow py-1 font-mono text-xs leading-[1.6]",
          wrap ? "whitespace-pre-wrap [overflow-wrap:anywhere]" : "overflow-x-auto",
        )}
        tabIndex={wrap ? undefined : 0}
      >
        <code ref={block}>{text}</code>
      </pre>
      <Button variant="ghost" size="iconSmall" aria-label={label} title={label} onClick={() => void copy()}>
        {state === "copied" ? <Check /> : <Copy />}
      </Button>
      <span className="sr-only" role="status">
        {state === "copied" && "Copied"}
        {state === "marked" && "Marked: press Ctrl+C to copy"}
      </span>
    </div>
  );
}
