/** Zoom and cursor of plots by key: plots with the same key move together, whichever of them is touched. */
import { useCallback, useSyncExternalStore } from "react";

export class Linked<T> {
  readonly #values = new Map<string, T>();
  readonly #listeners = new Map<string, Set<() => void>>();

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  /** undefined forgets the value. */
  set(key: string, value: T | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    for (const listener of this.#listeners.get(key) ?? []) listener();
  }

  subscribe(key: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(key) !== listeners) return;
      // Nobody looks at it any more: what comes back later begins anew.
      this.#listeners.delete(key);
      this.#values.delete(key);
    };
  }
}

export function useLinked<T>(store: Linked<T>, key: string): T | undefined {
  const subscribe = useCallback((listener: () => void) => store.subscribe(key, listener), [store, key]);
  return useSyncExternalStore(subscribe, () => store.get(key));
}

/** A place under the pointer in axis units; `source` is the plot that the pointer is in. */
export interface Cursor {
  readonly x: number;
  readonly y: number;
  readonly source: string;
}

export const cursors = new Linked<Cursor>();

/** A zoom that does not depend on the size of the plot: magnification, and the shift in widths and heights. */
export interface RelativeZoom {
  readonly k: number;
  readonly x: number;
  readonly y: number;
}

export const zooms = new Linked<RelativeZoom>();
