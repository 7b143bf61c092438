/** TensorBoard imports this module and calls `render` in an empty document that is the plugin's own. */
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import styles from "./index.css?inline";
import { createQueryClient, prefetchTags } from "./lib/queries";

export function render(): void {
  const client = createQueryClient();
  prefetchTags(client);
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
