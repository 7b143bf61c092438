/** Contour lines of large grids, off the main thread. */
import { isolines } from "@/maths/contour";
import type { ContourTask } from "./use-isolines";

self.onmessage = ({ data }: MessageEvent<ContourTask>) => {
  self.postMessage({ id: data.id, isolines: isolines(data.values, data.n0, data.n1, data.levels) });
};
