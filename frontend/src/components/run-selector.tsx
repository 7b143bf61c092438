import { useState } from "react";
import { Checkbox } from "@/components/ui/checkbox";
import { Input } from "@/components/ui/input";
import { useSliceData } from "@/contexts/slice-data-context";
import { nameFilter } from "@/lib/utils";

/** A search field is worth its place from this many runs on. */
const MANY = 8;

/** The runs of the log; several can be shown at once. */
export function RunSelector() {
  const { runs, selectedRuns, change } = useSliceData();
  const [pattern, setPattern] = useState("");
  const listed = runs.filter(nameFilter(pattern));
  const choose = (chosen: readonly string[]) => {
    if (chosen.length > 0) change({ runs: chosen });
  };
  return (
    <div>
      {runs.length > MANY && (
        <Input
          className="mb-1"
          aria-label="Filter runs"
          placeholder="Filter runs (pattern)"
          value={pattern}
          onChange={(event) => setPattern(event.target.value)}
        />
      )}
      <ul className="max-h-64 overflow-y-auto" aria-label="Runs">
        {listed.map((run) => {
          const selected = selectedRuns.includes(run);
          return (
            <li key={run} className="group flex items-center rounded hover:bg-muted">
              <label className="flex min-h-8 min-w-0 grow cursor-pointer items-center gap-2 px-2 py-1 text-sm">
                <Checkbox
                  checked={selected}
                  disabled={selected && selectedRuns.length === 1}
                  aria-label={`Show run ${run}`}
                  onCheckedChange={(checked) =>
                    choose(
                      checked === true
                        ? [...selectedRuns, run]
                        : selectedRuns.filter((entry) => entry !== run),
                    )
                  }
                />
                <span className="min-w-0 leading-snug [overflow-wrap:anywhere]">{run}</span>
              </label>
              {runs.length > 1 && (
                <button
                  type="button"
                  aria-label={`Show only run ${run}`}
                  className="cursor-pointer rounded px-2 py-1 text-muted-foreground text-xs opacity-0 hover:text-foreground focus-visible:opacity-100 group-hover:opacity-100"
                  onClick={() => choose([run])}
                >
                  only
                </button>
              )}
            </li>
          );
        })}
      </ul>
      {listed.length === 0 && <p className="px-2 py-1 text-muted-foreground text-xs">No run matches.</p>}
    </div>
  );
}
