import type { ReactNode } from "react";
import { Button } from "./button";

interface IconButtonProps {
  readonly label: string;
  readonly title?: string;
  /** The key that does the same. */
  readonly hint?: string;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
  readonly onClick: () => void;
  readonly children: ReactNode;
}

/** A button that is an icon: its name is its title, too. */
export function IconButton({ label, title, hint, pressed, disabled, onClick, children }: IconButtonProps) {
  return (
    <Button
      variant="ghost"
      size="iconSmall"
      aria-label={label}
      aria-pressed={pressed}
      aria-keyshortcuts={hint}
      title={`${title ?? label}${hint ? ` (${hint})` : ""}`}
      disabled={disabled}
      onClick={onClick}
      className={pressed ? "bg-muted text-primary" : ""}
    >
      {children}
    </Button>
  );
}
