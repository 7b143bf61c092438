import { Minus, Plus, RotateCcw } from "lucide-react";
import {
  type KeyboardEvent,
  type PointerEvent,
  type ReactNode,
  type Ref,
  useEffect,
  useId,
  useRef,
} from "react";
import { Button } from "@/components/ui/button";
import type { View } from "./surface-scene";

interface SurfaceShellProps {
  readonly ref: Ref<HTMLDivElement>;
  readonly label: string;
  readonly summary: string;
  readonly note: string;
  readonly width: number;
  readonly height: number;
  /** Pixels of the page to one of these. */
  readonly unit: number;
  readonly camera: View;
  /** While the reader turns it. */
  readonly onTurn: (camera: View) => void;
  /** When it stands still; null for the usual view. */
  readonly onDone: (camera: View | null) => void;
  readonly children: ReactNode;
}

const DEGREES_A_PIXEL = 0.4;
const KEY_DEGREES = 10;

/** What turns a surface: dragging, arrow keys, Ctrl with the wheel, buttons; and its name and text summary. */
export function SurfaceShell(props: SurfaceShellProps) {
  const { ref, label, summary, note, width, height, unit, camera, onTurn, onDone, children } = props;
  const id = useId();
  const area = useRef<HTMLDivElement>(null);
  const drag = useRef<{ readonly x: number; readonly y: number; readonly from: View } | null>(null);
  const by = (azimuth: number, polar: number, zoom = 1) => onDone(turned(camera, azimuth, polar, zoom));
  const keys: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => by(-KEY_DEGREES, 0),
    ArrowRight: () => by(KEY_DEGREES, 0),
    ArrowUp: () => by(0, -KEY_DEGREES),
    ArrowDown: () => by(0, KEY_DEGREES),
    "+": () => by(0, 0, 1 / 1.2),
    "=": () => by(0, 0, 1 / 1.2),
    "-": () => by(0, 0, 1.2),
    "0": () => onDone(null),
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  const viewOf = (event: PointerEvent) => {
    const start = drag.current;
    if (!start) return null;
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    return turned(start.from, -dx * DEGREES_A_PIXEL, -dy * DEGREES_A_PIXEL, 1);
  };
  useEffect(() => {
    const element = area.current;
    // React's own wheel listeners are passive, and could not keep the browser from zooming the page.
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) return;
      event.preventDefault();
      onDone(turned(camera, 0, 0, Math.exp(event.deltaY / 500)));
    };
    element?.addEventListener("wheel", onWheel, { passive: false });
    return () => element?.removeEventListener("wheel", onWheel);
  }, [camera, onDone]);
  return (
    <div ref={ref} className="w-full min-w-0">
      <div
        ref={area}
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys turn the surface.
        tabIndex={0}
        aria-roledescription="surface"
        aria-label={label}
        aria-describedby={id}
        className="relative cursor-grab touch-pan-y rounded-sm active:cursor-grabbing"
        style={{ width: width * unit || undefined, height: height * unit }}
        data-testid="surface"
        onKeyDown={onKeyDown}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          drag.current = { x: event.clientX, y: event.clientY, from: camera };
        }}
        onPointerMove={(event) => {
          const view = viewOf(event);
          if (view) onTurn(view);
        }}
        onPointerUp={(event) => {
          const view = viewOf(event);
          drag.current = null;
          if (view) onDone(view);
        }}
        onPointerCancel={() => {
          drag.current = null;
        }}
      >
        {children}
      </div>
      <div className="mt-1 flex flex-wrap items-start gap-x-2">
        <div className="flex shrink-0">
          <Button variant="ghost" size="iconSmall" aria-label="Nearer" onClick={() => by(0, 0, 1 / 1.2)}>
            <Plus />
          </Button>
          <Button variant="ghost" size="iconSmall" aria-label="Further away" onClick={() => by(0, 0, 1.2)}>
            <Minus />
          </Button>
          <Button variant="ghost" size="iconSmall" aria-label="Usual view" onClick={() => onDone(null)}>
            <RotateCcw />
          </Button>
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

/** Never from below, nor so near or far that nothing is seen; whole degrees keep the address short. */
function turned([azimuth, polar, distance]: View, around: number, down: number, zoom: number): View {
  const bound = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  return [
    Math.round((((azimuth + around) % 360) + 360) % 360),
    Math.round(bound(polar + down, 1, 89)),
    Number(bound(distance * zoom, 0.4, 4).toPrecision(3)),
  ];
}
