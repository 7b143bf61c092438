/** What the entry module calls in an empty document that is the plugin's own; `tags` is the list of tags, on its way. */
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import styles from "./index.css?inline";
import { readHash } from "./lib/host";
import { createQueryClient, prefetchView } from "./lib/queries";
import { readViewState } from "./lib/view-state";

export function render(tags?: Promise<Response | null>): void {
  const client = createQueryClient();
  void prefetchView(client, readViewState(readHash()), tags);
  document.documentElement.lang = "en";
  if (!document.title) document.title = "Loss Slicer";
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const root = document.createElement("div");
  document.body.append(root);
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  );
}
