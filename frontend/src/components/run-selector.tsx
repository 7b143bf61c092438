import { Checkbox } from "@/components/ui/checkbox";
import { Input } from "@/components/ui/input";
import { Swatch } from "@/components/ui/swatch";
import { VirtualList } from "@/components/ui/virtual-list";
import { useSliceData } from "@/contexts/slice-data-context";
import { textScale } from "@/hooks/use-size";
import { displayName } from "@/lib/names";
import { isRegularExpression, nameFilter } from "@/lib/pattern";

/** A search field is worth its place from this many runs on. */
const MANY = 8;
/** Pixels at the usual size of letters. */
const ROW_HEIGHT = 36;
const ROWS = 8;

/** The runs of the log in TensorBoard's colours; several can be shown at once. */
export function RunSelector() {
  const { runs, selectedRuns, runColor, view, change } = useSliceData();
  const listed = runs.filter(nameFilter(view.runFilter));
  const selected = new Set(selectedRuns);
  const choose = (chosen: readonly string[]) => {
    if (chosen.length > 0) change({ runs: chosen });
  };
  const outside = selectedRuns.filter((run) => !listed.includes(run)).length;
  return (
    <div>
      {(runs.length > MANY || view.runFilter !== "") && (
        <Input
          type="search"
          className="mb-1"
          aria-label="Filter runs"
          aria-invalid={!isRegularExpression(view.runFilter)}
          placeholder="Filter runs (pattern)"
          value={view.runFilter}
          onChange={(event) => change({ runFilter: event.target.value })}
        />
      )}
      {runs.length > 1 && (
        <div className="flex items-center justify-between gap-2 px-2 py-1 text-xs">
          <span className="text-muted-foreground" role="status">
            {selectedRuns.length} of {runs.length} chosen
            {outside > 0 && `, ${outside} not listed`}
          </span>
          <button
            type="button"
            className="cursor-pointer rounded px-1 py-0.5 font-medium hover:bg-muted disabled:opacity-40"
            disabled={listed.length === 0 || listed.every((run) => selected.has(run))}
            onClick={() => choose([...new Set([...selectedRuns, ...listed])])}
          >
            {listed.length < runs.length ? "Add all listed" : "Choose all"}
          </button>
        </div>
      )}
      <VirtualList
        label="Runs"
        items={listed}
        rowHeight={ROW_HEIGHT * textScale()}
        rows={ROWS}
        keyOf={(run) => run}
      >
        {(run) => (
          <RunRow
            run={run}
            color={runColor(run)}
            selected={selected.has(run)}
            only={selected.has(run) && selectedRuns.length === 1}
            several={runs.length > 1}
            onToggle={(checked) =>
              choose(checked ? [...selectedRuns, run] : selectedRuns.filter((entry) => entry !== run))
            }
            onOnly={() => choose([run])}
          />
        )}
      </VirtualList>
      {listed.length === 0 && <p className="px-2 py-1 text-muted-foreground text-xs">No run matches.</p>}
    </div>
  );
}

interface RunRowProps {
  readonly run: string;
  readonly color: string;
  readonly selected: boolean;
  /** Whether it is the last one that is chosen. */
  readonly only: boolean;
  readonly several: boolean;
  readonly onToggle: (checked: boolean) => void;
  readonly onOnly: () => void;
}

function RunRow({ run, color, selected, only, several, onToggle, onOnly }: RunRowProps) {
  const shown = displayName(run);
  return (
    <div className="group flex h-full items-center rounded hover:bg-muted">
      <label className="flex min-w-0 grow cursor-pointer items-center gap-2 px-2 text-sm" title={shown}>
        <Checkbox
          checked={selected}
          disabled={only}
          aria-label={`Show run ${shown}`}
          onCheckedChange={(checked) => onToggle(checked === true)}
        />
        <Swatch color={color} className="size-2.5" />
        <bdi className="line-clamp-2 min-w-0 leading-tight [overflow-wrap:anywhere]">{shown}</bdi>
      </label>
      {several && (
        <button
          type="button"
          aria-label={`Show only run ${shown}`}
          className="cursor-pointer rounded px-2 py-1 text-muted-foreground text-xs opacity-0 hover:text-foreground focus-visible:opacity-100 group-hover:opacity-100"
          onClick={onOnly}
        >
          only
        </button>
      )}
    </div>
  );
}
