/** Draws the page into an empty document that is the plugin's own; `client` is what `start` gave. */
import { type QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { App } from "./App";
import styles from "./index.css?inline";
import { createRoot } from "./react-root";

export function render(client: QueryClient): void {
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
