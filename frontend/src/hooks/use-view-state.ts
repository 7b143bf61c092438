import { useCallback, useEffect, useState } from "react";
import { onHashChange, readHash, replaceHash } from "@/lib/host";
import { hasViewState, isOurTab, readViewState, type ViewState, writeViewState } from "@/lib/view-state";

/** Milliseconds. */
const WRITE_DELAY = 30;

/** The view, kept in TensorBoard's address: it survives a reload, a change of tabs, and can be sent to others. */
export function useViewState(): [ViewState, (change: Partial<ViewState>) => void] {
  const [view, setView] = useState(() => readViewState(readHash()));
  useEffect(() => {
    const write = () => {
      const hash = readHash();
      // While another tab is open the address is not ours to change.
      if (!isOurTab(hash)) return;
      const next = writeViewState(hash, view);
      if (next !== hash) replaceHash(next);
    };
    // Changing the address makes TensorBoard's own page work: after the plots have changed.
    const timer = setTimeout(write, WRITE_DELAY);
    const stop = onHashChange(() => {
      const hash = readHash();
      if (isOurTab(hash) && hasViewState(hash)) setView(readViewState(hash));
      else write();
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [view]);
  const change = useCallback((part: Partial<ViewState>) => setView((before) => ({ ...before, ...part })), []);
  return [view, change];
}
