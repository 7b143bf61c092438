import { Minus, Plus, RotateCcw } from "lucide-react";
import { type KeyboardEvent, type PointerEvent, type ReactNode, type Ref, useId } from "react";
import { Button } from "@/components/ui/button";
import { Swatch } from "@/components/ui/swatch";
import type { Zoom } from "./use-zoom";

export interface ReadoutRow {
  readonly label: string;
  readonly value: string;
  readonly color?: string;
}

export interface Readout {
  /** Where the point is, in pixels of the plot. */
  readonly x: number;
  readonly y: number;
  readonly rows: readonly ReadoutRow[];
}

interface PlotShellProps {
  readonly ref: Ref<HTMLDivElement>;
  readonly label: string;
  readonly summary: string;
  /** What a saved picture has to say, too. */
  readonly note: string;
  readonly width: number;
  readonly height: number;
  /** Pixels of the page to one of these. */
  readonly unit: number;
  readonly zoom: Zoom;
  /** Moves the cursor by so many points; false where there is nothing to move. */
  readonly onMove: (dx: number, dy: number) => void;
  readonly onLeave: () => void;
  /** What other keys do. */
  readonly keys?: Readonly<Record<string, () => void>>;
  /** More buttons beside those of the zoom. */
  readonly tools?: ReactNode;
  readonly children: ReactNode;
}

const PAN = 60;

/** The attributes of a picture of this size, each pixel of which is `unit` pixels of the page. */
export function framed(width: number, height: number, unit: number) {
  return { width: width * unit, height: height * unit, viewBox: `0 0 ${width} ${height}` };
}

/** Where in the rectangle the pointer is, in the rectangle's own pixels. */
export function placeIn(event: PointerEvent<SVGRectElement>): readonly [number, number] {
  const box = event.currentTarget.getBoundingClientRect();
  const { width, height } = event.currentTarget;
  return [
    ((event.clientX - box.left) / box.width) * width.baseVal.value,
    ((event.clientY - box.top) / box.height) * height.baseVal.value,
  ];
}

/** What every zoomable plot has: a name and a text summary, keys, the readout beside the cursor, zoom buttons. */
export function PlotShell(props: PlotShellProps) {
  const { ref, label, summary, note, width, height, unit, zoom, onMove, onLeave, tools, children } = props;
  const id = useId();
  const keys: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => onMove(-1, 0),
    ArrowRight: () => onMove(1, 0),
    ArrowUp: () => onMove(0, 1),
    ArrowDown: () => onMove(0, -1),
    "+": () => zoom.zoomBy(1.5),
    "=": () => zoom.zoomBy(1.5),
    "-": () => zoom.zoomBy(1 / 1.5),
    "0": zoom.reset,
    Escape: onLeave,
    ...props.keys,
  };
  const pans: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => zoom.panBy(PAN, 0),
    ArrowRight: () => zoom.panBy(-PAN, 0),
    ArrowUp: () => zoom.panBy(0, PAN),
    ArrowDown: () => zoom.panBy(0, -PAN),
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = (event.shiftKey ? pans[event.key] : undefined) ?? keys[event.key];
    if (!action) return;
    // Escape also closes the dialog that the plot may be in.
    if (event.key !== "Escape") {
      event.preventDefault();
      event.stopPropagation();
    }
    action();
  };
  return (
    <div ref={ref} className="w-full min-w-0">
      <div
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys read the plot point by point.
        tabIndex={0}
        aria-roledescription="plot"
        aria-label={label}
        aria-describedby={id}
        onKeyDown={onKeyDown}
        onBlur={onLeave}
        className="relative mx-auto rounded-sm"
        style={{ width: width * unit, height: height * unit }}
        data-testid="plot"
      >
        {children}
      </div>
      <div className="mt-1 flex flex-wrap items-start gap-x-2">
        <div className="flex shrink-0">
          <Button variant="ghost" size="iconSmall" aria-label="Zoom in" onClick={() => zoom.zoomBy(1.5)}>
            <Plus />
          </Button>
          <Button
            variant="ghost"
            size="iconSmall"
            aria-label="Zoom out"
            disabled={!zoom.zoomed}
            onClick={() => zoom.zoomBy(1 / 1.5)}
          >
            <Minus />
          </Button>
          <Button
            variant="ghost"
            size="iconSmall"
            aria-label="Reset zoom"
            disabled={!zoom.zoomed}
            onClick={zoom.reset}
          >
            <RotateCcw />
          </Button>
          {tools}
        </div>
        <p
          id={id}
          className="min-w-40 grow basis-0 pt-1 text-muted-foreground text-xs leading-[1.6] [overflow-wrap:anywhere]"
        >
          {summary} <span data-figure-note>{note}</span>
        </p>
      </div>
    </div>
  );
}

const GAP = 14;

interface ReadoutBoxProps {
  readonly readout: Readout;
  readonly width: number;
  readonly height: number;
  /** Whether the pointer is in another plot, whose cursor this one follows: that one is read aloud. */
  readonly follows: boolean;
}

/** The values at the cursor, beside it and for those who listen. */
export function ReadoutBox({ readout, width, height, follows }: ReadoutBoxProps) {
  const left = readout.x > width / 2;
  const above = readout.y > height / 2;
  return (
    <>
      <dl
        data-testid={follows ? "readout-linked" : "readout"}
        className="pointer-events-none absolute z-10 grid will-change-transform max-w-72 grid-cols-[auto_auto] gap-x-3 gap-y-0.5 rounded border bg-popover px-2 py-1.5 text-xs shadow-md"
        style={{
          ...(left ? { right: width - readout.x + GAP } : { left: readout.x + GAP }),
          ...(above ? { bottom: height - readout.y + GAP } : { top: readout.y + GAP }),
        }}
      >
        {readout.rows.map((row, index) => (
          <div key={`${index} ${row.label}`} className="contents">
            <dt className="flex items-center gap-1.5 text-muted-foreground [overflow-wrap:anywhere]">
              {row.color && <Swatch color={row.color} />}
              {row.label}
            </dt>
            <dd className="whitespace-nowrap text-right font-medium">{row.value}</dd>
          </div>
        ))}
      </dl>
      {!follows && (
        <div className="sr-only" aria-live="polite">
          {readout.rows.map((row) => `${row.label} ${row.value}`).join(", ")}
        </div>
      )}
    </>
  );
}
