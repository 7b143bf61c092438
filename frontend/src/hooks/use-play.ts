import { useIsFetching } from "@tanstack/react-query";
import { useCallback, useEffect, useState } from "react";

interface Play {
  readonly playing: boolean;
  readonly toggle: () => void;
}

/**
 * Goes through `length` places, so many a second, from `index` on, and stops at the last. A step waits until all slices of
 * the one before are on the screen: none is skipped on a slow line.
 */
export function usePlay(index: number, length: number, speed: number, go: (index: number) => void): Play {
  const [playing, setPlaying] = useState(false);
  const loading = useIsFetching({ queryKey: ["slice"], predicate: (query) => query.isActive() }) > 0;
  const last = length - 1;
  useEffect(() => {
    if (!playing || loading) return;
    if (index >= last) {
      setPlaying(false);
      return;
    }
    const timer = setTimeout(() => go(index + 1), 1000 / speed);
    return () => clearTimeout(timer);
  }, [playing, loading, index, last, speed, go]);
  const toggle = useCallback(() => {
    if (!playing && index >= last) go(0);
    setPlaying(!playing);
  }, [playing, index, last, go]);
  return { playing, toggle };
}
