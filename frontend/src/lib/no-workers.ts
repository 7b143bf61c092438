/** In place of `workers.ts` where the page is one file on disk, from which browsers load no worker. */

export function startDecodeWorker(): Worker | null {
  return null;
}

export function startContourWorker(): Worker | null {
  return null;
}
