import { type RefObject, useCallback, useEffect, useLayoutEffect, useState } from "react";
import { flushSync } from "react-dom";
import { setPreparation } from "@/components/plots/figures";

/** Rows drawn beyond the edge of the window, so that none is missing while it scrolls. */
const MARGIN = 3;

/**
 * First and last + 1 of the rows of equal height that are in sight of whatever scrolls around the container.
 * All of them while a picture is taken.
 */
export function useVisibleRows(
  container: RefObject<HTMLElement | null>,
  height: number,
  rows: number,
): readonly [number, number] {
  const [range, setRange] = useState<readonly [number, number]>([0, 0]);
  const [whole, setWhole] = useState(false);

  const measure = useCallback(() => {
    const element = container.current;
    if (!element) return;
    const { top } = element.getBoundingClientRect();
    const first = Math.max(Math.floor(-top / height) - MARGIN, 0);
    const last = Math.ceil((window.innerHeight - top) / height) + MARGIN;
    setRange((before) => (before[0] === first && before[1] === last ? before : [first, last]));
  }, [container, height]);

  useLayoutEffect(measure);

  useEffect(() => {
    const element = container.current;
    if (!element) return;
    setPreparation(element, async () => {
      flushSync(() => setWhole(true));
      return () => setWhole(false);
    });
    // Scrolling does not bubble, but can be caught on its way down: whichever ancestor it is that scrolls.
    window.addEventListener("scroll", measure, { capture: true, passive: true });
    window.addEventListener("resize", measure);
    return () => {
      window.removeEventListener("scroll", measure, { capture: true });
      window.removeEventListener("resize", measure);
    };
  }, [container, measure]);

  if (whole) return [0, rows];
  const first = Math.min(range[0], rows);
  return [first, Math.min(Math.max(range[1], first), rows)];
}
