import { select } from "d3-selection";
import { type D3ZoomEvent, type ZoomBehavior, type ZoomTransform, zoom, zoomIdentity } from "d3-zoom";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";

export interface Zoom {
  /** Give it to the element that takes the gestures: as large as the plot's inner area. */
  readonly ref: (element: SVGRectElement | null) => void;
  readonly transform: ZoomTransform;
  readonly zoomed: boolean;
  readonly zoomBy: (factor: number) => void;
  readonly panBy: (dx: number, dy: number) => void;
  readonly reset: () => void;
}

const MAX_ZOOM = 100;

/**
 * Zoom by Ctrl, Alt or ⌘ with the wheel, or two fingers; pan by dragging; a double click resets. The plain wheel
 * and one finger stay with the page, which is longer than the screen.
 */
export function useZoom(width: number, height: number): Zoom {
  const [transform, setTransform] = useState<ZoomTransform>(zoomIdentity);
  const [element, setElement] = useState<SVGRectElement | null>(null);
  const size = useRef({ width, height });

  const behavior: ZoomBehavior<SVGRectElement, unknown> = useMemo(
    () =>
      zoom<SVGRectElement, unknown>()
        .scaleExtent([1, MAX_ZOOM])
        .filter((event: Event) => {
          if (event instanceof WheelEvent) return event.ctrlKey || event.metaKey || event.altKey;
          if (event instanceof MouseEvent) return event.button === 0 && !event.ctrlKey;
          return !("touches" in event) || (event as TouchEvent).touches.length > 1;
        })
        .on("zoom", (event: D3ZoomEvent<SVGRectElement, unknown>) => setTransform(event.transform)),
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
    behavior.extent([
      [0, 0],
      [width, height],
    ]);
    behavior.translateExtent([
      [0, 0],
      [width, height],
    ]);
    const before = size.current;
    size.current = { width, height };
    if (!element || (before.width === width && before.height === height) || before.width <= 0) return;
    setTransform((current) => {
      if (current.k === 1) return current;
      const moved = zoomIdentity
        .translate((current.x * width) / before.width, (current.y * height) / before.height)
        .scale(current.k);
      // d3 keeps the transform of an element under this name; without it the next gesture would jump.
      (element as SVGRectElement & { __zoom: ZoomTransform }).__zoom = moved;
      return moved;
    });
  }, [behavior, element, width, height]);

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
  const zoomed = transform.k !== 1 || transform.x !== 0 || transform.y !== 0;
  return { ref: setElement, transform, zoomed, zoomBy, panBy, reset };
}
