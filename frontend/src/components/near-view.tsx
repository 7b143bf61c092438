import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";

interface NearViewProps {
  readonly always: boolean;
  readonly children: ReactNode;
}

/** How far from the screen its contents are taken away, in pixels. */
const MARGIN = 1500;

/**
 * Its children while they are near the screen, else a place as high as they were: a long page stays as quick as a short
 * one. Paper has all of them, as far as they are loaded: a browser does not wait for the others (see `usePreload`).
 */
export function NearView({ always, children }: NearViewProps) {
  const place = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState<number | null>(always ? null : 400);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element || always) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry) return;
        const { height: measured } = entry.boundingClientRect;
        // A hidden tab has size 0: nothing is far away then.
        if (entry.isIntersecting) setHeight(null);
        else if (measured > 0) setHeight(measured);
      },
      { root: element.closest("main"), rootMargin: `${MARGIN}px 0px` },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [always]);
  const printing = usePrinting();
  if (always) return children;
  return (
    <div
      ref={place}
      className="min-w-0 has-[>.col-span-full]:col-span-full"
      style={height === null || printing ? undefined : { height }}
    >
      {(height === null || printing) && children}
    </div>
  );
}

function usePrinting(): boolean {
  const [printing, setPrinting] = useState(false);
  useEffect(() => {
    // The pages are made as soon as the listeners have returned.
    const begin = () => flushSync(() => setPrinting(true));
    const end = () => setPrinting(false);
    window.addEventListener("beforeprint", begin);
    window.addEventListener("afterprint", end);
    return () => {
      window.removeEventListener("beforeprint", begin);
      window.removeEventListener("afterprint", end);
    };
  }, []);
  return printing;
}
