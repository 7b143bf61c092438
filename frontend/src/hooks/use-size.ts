import { type RefObject, useLayoutEffect, useState } from "react";

/** Pixels of the root's letters where the reader has not asked for others. */
const USUAL_TEXT = 14;

/** How many times as large as usual the letters are: for what is measured in pixels and holds text. */
export function textScale(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / USUAL_TEXT || 1;
}

/** The width of an element's content box in whole pixels; 0 until it is laid out or while its tab is hidden. */
export function useWidth(ref: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = () => {
      const measured = Math.floor(element.getBoundingClientRect().width);
      // A hidden tab has size 0: keep the last size, so that nothing is drawn anew when it comes back.
      if (measured > 0) setWidth(measured);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return width;
}
