/**
 * The first of the page's scripts, small enough to be there before the others: asks for the slices that the view shows
 * first. `tags` is the list of tags, on its way.
 */
import type { QueryClient } from "@tanstack/react-query";
import { readHash } from "./lib/host";
import { createQueryClient, prefetchView } from "./lib/query-options";
import { readViewState } from "./lib/view-state";

export function start(tags?: Promise<Response | null>): QueryClient {
  const client = createQueryClient();
  void prefetchView(client, readViewState(readHash()), tags);
  return client;
}

/** The rest of the page. */
export const loadPage = () => import("./page");
