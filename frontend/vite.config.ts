import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const TENSORBOARD = process.env.LOSS_SLICER_TENSORBOARD ?? "http://localhost:6006";

export default defineConfig({
  // TensorBoard may serve the page below any prefix.
  base: "./",
  plugins: [react(), tailwindcss()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  server: { proxy: { "/data": { target: TENSORBOARD, changeOrigin: true } } },
  build: {
    outDir: "../tb_plugin/tensorboard_loss_slicer/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: { index: "src/index.tsx" },
      // TensorBoard imports the entry and calls its render(): an application build would drop the export.
      preserveEntrySignatures: "exports-only",
      output: { entryFileNames: "[name].js", chunkFileNames: "[name]-[hash].js" },
    },
  },
  test: { include: ["tests/**/*.test.{ts,tsx}"], environment: "node" },
});
