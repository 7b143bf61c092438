import { type RefObject, useLayoutEffect, useState } from "react";

/** Pixels of the root's letters where the reader has not asked for others. */
const USUAL_TEXT = 14;

/** How many times as large as usual the letters are: for what is measured in pixels and holds text. */
export function textScale(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / USUAL_TEXT || 1;
}

/** Pixels of the smallest letters of plots, where letters have their usual size. */
const SMALLEST_TEXT = 11;
/** A plot is drawn as if it were at least so wide: in a narrow one, letters grow no further. */
const NARROWEST = 240;

/** Pixels of the page to one of a plot this wide: plots are drawn larger where the reader asked for larger letters. */
export function plotUnit(available: number): number {
  const wanted = Math.max(textScale(), leastText() / SMALLEST_TEXT, 1);
  return Math.max(Math.min(wanted, available / NARROWEST), 1);
}

let least: number | null = null;

/** Below this size the browser draws no letters of pages; those of pictures it leaves as they are. Found out once. */
function leastText(): number {
  if (least !== null) return least;
  const probe = document.createElement("span");
  probe.style.fontSize = "1px";
  document.body.append(probe);
  least = Number.parseFloat(getComputedStyle(probe).fontSize) || 0;
  probe.remove();
  return least;
}

export interface PlotWidth {
  /** In pixels of the plot, of which each is `unit` pixels of the page. */
  readonly width: number;
  readonly unit: number;
}

/** The width that a plot has inside this element; 0 as `useWidth`. */
export function usePlotWidth(ref: RefObject<HTMLElement | null>): PlotWidth {
  const available = useWidth(ref);
  const unit = plotUnit(available);
  return { width: Math.floor(available / unit), unit };
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
