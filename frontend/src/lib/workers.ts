/**
 * The page's threads. Files of their own: TensorBoard's policy refuses blob workers. A page on disk has none, see
 * `no-workers.ts`.
 */

export function startDecodeWorker(): Worker | null {
  if (typeof Worker === "undefined") return null;
  return new Worker(new URL("../maths/decode.worker.ts", import.meta.url), { type: "module" });
}

export function startContourWorker(): Worker | null {
  if (typeof Worker === "undefined") return null;
  return new Worker(new URL("../components/plots/contour-worker.ts", import.meta.url), { type: "module" });
}
