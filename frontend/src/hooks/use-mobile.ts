import { useSyncExternalStore } from "react";

// In letters, so that large ones have as much room.
const QUERY = "(max-width: 47.9375em)";

function subscribe(listener: () => void): () => void {
  const media = window.matchMedia(QUERY);
  media.addEventListener("change", listener);
  return () => media.removeEventListener("change", listener);
}

/** Whether the page is too narrow for controls beside the plots. */
export function useMobile(): boolean {
  return useSyncExternalStore(subscribe, () => window.matchMedia(QUERY).matches);
}
