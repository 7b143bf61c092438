import { RadioGroup, RadioRow } from "@/components/ui/radio-group";
import { useSliceData } from "@/contexts/slice-data-context";
import { methodLabel } from "@/lib/methods";

/** Which kind of slice to look at; only kinds that the chosen runs hold can be chosen. */
export function SliceMethodSelector() {
  const { methods, method, change } = useSliceData();
  return (
    <RadioGroup
      aria-label="Slicing method"
      value={method ?? ""}
      onValueChange={(value) => change({ method: value })}
    >
      {methods.map((choice) => (
        <RadioRow
          key={choice.method}
          value={choice.method}
          disabled={choice.count === 0}
          title={choice.count === 0 ? "No such slices in the chosen runs" : undefined}
        >
          <span className="min-w-0 grow [overflow-wrap:anywhere]">{methodLabel(choice.method)}</span>
          <span className="text-muted-foreground text-xs">{choice.count}</span>
        </RadioRow>
      ))}
    </RadioGroup>
  );
}
