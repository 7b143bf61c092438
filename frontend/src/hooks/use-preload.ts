import {
  type FetchQueryOptions,
  type QueryClient,
  QueryObserver,
  useQueryClient,
} from "@tanstack/react-query";
import { useEffect } from "react";
import { type Card, stepOf, useSliceData, useStep } from "@/contexts/slice-data-context";
import { ConnectionError } from "@/lib/api";
import { ARRAY_BUDGET_BYTES, arrayBytes } from "@/lib/cache-budget";
import { headersQuery } from "@/lib/many";
import { sliceQuery } from "@/lib/query-options";
import type { SliceData } from "@/lib/slice";

/** Milliseconds without a change, so that a step that is passed by is not loaded for every card. */
const REST = 1000;
const MOST_CARDS = 100;
/** More would drive out of memory what was loaded before. */
const MOST_BYTES = ARRAY_BUDGET_BYTES / 2;

/**
 * Loads what cards far from the screen will show, one after another while the page rests: a browser that prints does not
 * wait for them.
 */
export function usePreload(cards: readonly Card[]): void {
  const client = useQueryClient();
  const { view } = useSliceData();
  const step = useStep();
  const { metric, split, display } = view;
  useEffect(() => {
    let stopped = false;
    const load = async () => {
      const slices: SliceData[] = [];
      for (const card of cards.slice(0, MOST_CARDS)) {
        if (stopped || arrayBytes(slices) > MOST_BYTES) return;
        const shown = stepOf(card, step);
        if (shown === null || !card.steps) continue;
        const query = sliceQuery(card, shown, { metric, split });
        if (client.getQueryState(query.queryKey)?.status === "error") continue;
        try {
          slices.push(await ensured(client, query));
          if (stopped || display !== "steps") continue;
          await ensured(client, headersQuery(card, card.steps.steps));
        } catch (error) {
          // What the server refused, its own card says. A server that is gone is not asked for each.
          if (error instanceof ConnectionError) return;
        }
      }
    };
    const timer = setTimeout(() => void load(), REST);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [client, cards, step, metric, split, display]);
}

/**
 * The data of a query that is observed until it is there: else a card that is shown and taken away meanwhile, by
 * scrolling or for paper, would end the request as its last observer.
 */
async function ensured<Data, Key extends readonly unknown[]>(
  client: QueryClient,
  query: FetchQueryOptions<Data, Error, Data, Key>,
): Promise<Data> {
  const release = new QueryObserver(client, { ...query, refetchOnMount: false }).subscribe(() => {});
  try {
    return await client.ensureQueryData(query);
  } finally {
    release();
  }
}
