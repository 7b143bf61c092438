import { select } from "d3-selection";
import { type D3ZoomEvent, type ZoomBehavior, ZoomTransform, zoom, zoomIdentity } from "d3-zoom";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { MAX_ZOOM } from "@/lib/view-state";
import { useLinked, zooms } from "./linked";

export interface Zoom {
  /** Give it to the element that takes the gestures: as large as the plot's inner area. */
  readonly ref: (element: SVGRectElement | null) => void;
  readonly transform: ZoomTransform;
  readonly zoomed: boolean;
  readonly zoomBy: (factor: number) => void;
  readonly panBy: (dx: number, dy: number) => void;
  readonly reset: () => void;
}

/**
 * Zoom by Ctrl, Alt or ⌘ with the wheel, or two fingers; pan by dragging; a double click resets. The plain wheel
 * and one finger stay with the page, which is longer than the screen. Plots with the same key have the same zoom.
 */
export function useZoom(width: number, height: number, key: string): Zoom {
  const [element, setElement] = useState<SVGRectElement | null>(null);
  const relative = useLinked(zooms, key);
  const transform = useMemo(
    () => (relative ? new ZoomTransform(relative.k, relative.x * width, relative.y * height) : zoomIdentity),
    [relative, width, height],
  );
  const frame = useRef({ width, height, key });
  useEffect(() => {
    frame.current = { width, height, key };
  }, [width, height, key]);

  const behavior: ZoomBehavior<SVGRectElement, unknown> = useMemo(
    () =>
      zoom<SVGRectElement, unknown>()
        .scaleExtent([1, MAX_ZOOM])
        .filter((event: Event) => {
          if (event instanceof WheelEvent) return event.ctrlKey || event.metaKey || event.altKey;
          if (event instanceof MouseEvent) return event.button === 0 && !event.ctrlKey;
          return !("touches" in event) || (event as TouchEvent).touches.length > 1;
        })
        .on("zoom", ({ transform: { k, x, y } }: D3ZoomEvent<SVGRectElement, unknown>) => {
          const { width: wide, height: high, key: own } = frame.current;
          zooms.set(own, k === 1 && x === 0 && y === 0 ? undefined : { k, x: x / wide, y: y / high });
        }),
    [],
  );

  useEffect(() => {
    if (!element) return;
    select(element)
      .call(behavior)
      .on("dblclick.zoom", () => behavior.transform(select(element), zoomIdentity));
    return () => {
      select(element).on(".zoom", null);
    };
  }, [element, behavior]);

  useEffect(() => {
    if (width <= 0 || height <= 0) return;
    const extent: [[number, number], [number, number]] = [
      [0, 0],
      [width, height],
    ];
    behavior.extent(extent).translateExtent(extent);
  }, [behavior, width, height]);

  useEffect(() => {
    // d3 keeps the transform of an element under this name: gestures go on from where another plot or size left it.
    if (element) (element as SVGRectElement & { __zoom: ZoomTransform }).__zoom = transform;
  }, [element, transform]);

  const zoomBy = useCallback(
    (factor: number) => element && behavior.scaleBy(select(element), factor),
    [behavior, element],
  );
  const panBy = useCallback(
    (dx: number, dy: number) => {
      if (element) behavior.translateBy(select(element), dx / transform.k, dy / transform.k);
    },
    [behavior, element, transform.k],
  );
  const reset = useCallback(
    () => element && behavior.transform(select(element), zoomIdentity),
    [behavior, element],
  );
  return { ref: setElement, transform, zoomed: transform !== zoomIdentity, zoomBy, panBy, reset };
}
