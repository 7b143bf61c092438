import { useCallback, useEffect, useState } from "react";
import { onHashChange, readHash, replaceHash } from "@/lib/host";
import { hasViewState, isOurTab, readViewState, type ViewState, writeViewState } from "@/lib/view-state";

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
    write();
    return onHashChange(() => {
      const hash = readHash();
      if (isOurTab(hash) && hasViewState(hash)) setView(readViewState(hash));
      else write();
    });
  }, [view]);
  const change = useCallback((part: Partial<ViewState>) => setView((before) => ({ ...before, ...part })), []);
  return [view, change];
}
