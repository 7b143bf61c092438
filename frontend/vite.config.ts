import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const TENSORBOARD = process.env.LOSS_SLICER_TENSORBOARD ?? "http://localhost:6006";
const PLUGIN = "../tb_plugin/tensorboard_loss_slicer";

const GROUPS = [{ name: "react", test: /node_modules\/(react|react-dom|scheduler)\/|src\/react-root\.ts$/ }];

/** The page that TensorBoard shows. */
const PAGE = {
  outDir: `${PLUGIN}/static`,
  emptyOutDir: true,
  target: "es2022",
  modulePreload: false,
  rolldownOptions: {
    input: { start: "src/start.ts" },
    // The entry module calls start() and render(): an application build would drop the exports.
    preserveEntrySignatures: "allow-extension",
    output: {
      entryFileNames: "[name].js",
      // The entry module asks for these by name, so that none waits for another.
      chunkFileNames: ({ name }: { readonly name: string }) =>
        ({ page: "index.js", react: "react.js", "rolldown-runtime": "runtime.js" })[name] ??
        "[name]-[hash].js",
      codeSplitting: { groups: GROUPS },
      // Chromium compiles the whole of such a script while it comes in, on another thread. Most of React is needed at
      // once; of the page's own script less is, and compiling all of it would keep the first plot waiting.
      postBanner: ({ name }: { readonly name: string }) =>
        name === "react" ? "//# allFunctionsCalledOnLoad" : "",
    },
  },
} as const;

/** The same as one script, which `loss-slicer export --format html` puts into a document. */
const REPORT = {
  ...PAGE,
  outDir: `${PLUGIN}/static_report`,
  rolldownOptions: {
    input: { report: "src/report.ts" },
    output: { entryFileNames: "[name].js", codeSplitting: false },
  },
} as const;

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig(({ mode }) => ({
  // TensorBoard may serve the page below any prefix.
  base: "./",
  plugins: [react(), tailwindcss()],
  resolve: {
    alias: [
      ...(mode === "report"
        ? [{ find: /^(@\/lib|\.)\/workers$/, replacement: source("lib/no-workers.ts") }]
        : []),
      { find: "@", replacement: source("").replace(/\/$/, "") },
    ],
  },
  server: { proxy: { "/data": { target: TENSORBOARD, changeOrigin: true } } },
  build: mode === "report" ? REPORT : PAGE,
  test: { include: ["tests/**/*.test.{ts,tsx}"], environment: "node" },
}));
