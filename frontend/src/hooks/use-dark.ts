import { useEffect, useSyncExternalStore } from "react";
import { onDarkChange, readDark } from "@/lib/host";

/** TensorBoard's own theme, live; also marks the document, whose style sheet follows. */
export function useDark(): boolean {
  const dark = useSyncExternalStore(onDarkChange, readDark);
  useEffect(() => {
    document.documentElement.classList.toggle("dark", dark);
  }, [dark]);
  return dark;
}
