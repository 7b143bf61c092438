import { useEffect, useRef } from "react";
import { axesOf, keyOfAxes, zooms } from "@/components/plots/linked";
import { MAX_ZOOMS, type ViewState, type ZoomKey } from "@/lib/view-state";

/** Milliseconds without a change after which a zoom is part of the view: an address is not for each turn of a wheel. */
const SETTLED = 250;
/** A hundred-thousandth of a plot is finer than any screen. */
const DIGITS = 5;

/** Keeps the zoom of plots with the same axes in the view, and restores what the view says. */
export function useZoomsInView(wanted: ViewState["zooms"], change: (part: Partial<ViewState>) => void): void {
  const known = useRef<ViewState["zooms"]>([]);
  useEffect(() => {
    if (wanted === known.current) return;
    known.current = wanted;
    const keys = new Set(wanted.map(({ axes }) => keyOfAxes(axes)));
    for (const [key] of zooms.entries()) {
      if (axesOf(key) !== null && !keys.has(key)) zooms.set(key, undefined);
    }
    for (const { axes, k, x, y } of wanted) zooms.set(keyOfAxes(axes), { k, x, y });
  }, [wanted]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = zooms.subscribeAny(() => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        const now = shown();
        if (JSON.stringify(now) === JSON.stringify(known.current)) return;
        known.current = now;
        change({ zooms: now });
      }, SETTLED);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [change]);
}

function shown(): ZoomKey[] {
  return zooms
    .entries()
    .flatMap(([key, { k, x, y }]) => {
      const axes = axesOf(key);
      const within = (shift: number) => Math.min(Math.max(rounded(shift), 1 - rounded(k)), 0);
      return axes === null ? [] : [{ axes, k: rounded(k), x: within(x), y: within(y) }];
    })
    .slice(-MAX_ZOOMS);
}

function rounded(value: number): number {
  return Number(value.toFixed(DIGITS));
}
