/** Zoom and cursor of plots by key: plots with the same key move together, whichever of them is touched. */
import { useCallback, useSyncExternalStore } from "react";
import { textHash } from "@/lib/utils";

export class Linked<T> {
  readonly #values = new Map<string, T>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #anyListeners = new Set<() => void>();

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  /** undefined forgets the value. */
  set(key: string, value: T | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    for (const listener of this.#listeners.get(key) ?? []) listener();
    this.#tell();
  }

  entries(): readonly (readonly [string, T])[] {
    return [...this.#values];
  }

  /** Calls the listener when the value of any key has changed. */
  subscribeAny(listener: () => void): () => void {
    this.#anyListeners.add(listener);
    return () => this.#anyListeners.delete(listener);
  }

  #tell(): void {
    for (const listener of this.#anyListeners) listener();
  }

  subscribe(key: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(key) !== listeners) return;
      // Nobody looks at it any more: what comes back later begins anew.
      this.#listeners.delete(key);
      if (this.#values.delete(key)) this.#tell();
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

const SHARED = "axes ";

/** The key of plots with the same axes: short enough for an address, whatever the axes are called. */
export function axesKey(axes: string): string {
  return SHARED + textHash(axes);
}

/** What stands for the axes in such a key; null of a plot that is linked to none. */
export function axesOf(key: string): string | null {
  return key.startsWith(SHARED) ? key.slice(SHARED.length) : null;
}

export function keyOfAxes(axes: string): string {
  return SHARED + axes;
}
