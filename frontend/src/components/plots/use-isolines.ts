import { useEffect, useMemo, useState } from "react";
import { startContourWorker } from "@/lib/workers";
import { type Isoline, isolines } from "@/maths/contour";

export interface ContourTask {
  readonly id: number;
  readonly values: Float64Array;
  readonly n0: number;
  readonly n1: number;
  readonly levels: readonly number[];
}

interface Finished {
  readonly id: number;
  readonly isolines: readonly Isoline[];
}

/** Points above which a frame would be missed: those grids go to the worker. */
const MAX_AT_ONCE = 30_000;
const NONE: readonly Isoline[] = [];

let worker: Worker | null | undefined;
let counter = 0;

function contourWorker(): Worker | null {
  if (worker === undefined) worker = startContourWorker();
  return worker;
}

/** The contour lines of a grid: at once where it is small, else when the worker has them; none until then. */
export function useIsolines(
  values: Float64Array,
  n0: number,
  n1: number,
  levels: readonly number[],
): readonly Isoline[] {
  const small = values.length <= MAX_AT_ONCE;
  const atOnce = useMemo(
    () => (small ? isolines(values, n0, n1, levels) : NONE),
    [small, values, n0, n1, levels],
  );
  const [finished, setFinished] = useState<{
    values: Float64Array;
    levels: readonly number[];
    isolines: readonly Isoline[];
  }>();
  useEffect(() => {
    if (small || levels.length === 0) return;
    const id = ++counter;
    const thread = contourWorker();
    const here = () => setFinished({ values, levels, isolines: isolines(values, n0, n1, levels) });
    if (!thread) {
      here();
      return;
    }
    const onMessage = ({ data }: MessageEvent<Finished>) => {
      if (data.id === id) setFinished({ values, levels, isolines: data.isolines });
    };
    thread.addEventListener("message", onMessage);
    thread.addEventListener("error", here);
    thread.postMessage({ id, values, n0, n1, levels } satisfies ContourTask);
    return () => {
      thread.removeEventListener("message", onMessage);
      thread.removeEventListener("error", here);
    };
  }, [small, values, n0, n1, levels]);
  if (small) return atOnce;
  return finished?.values === values && finished.levels === levels ? finished.isolines : NONE;
}
