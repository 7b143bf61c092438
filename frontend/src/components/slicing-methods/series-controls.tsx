import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { useSeriesOptions } from "@/hooks/use-series-options";
import { words } from "@/lib/describe";
import { ALL_SPLITS } from "@/lib/queries";
import { CheckboxField, Field } from "./field";

const SPLITS: Readonly<Record<string, string>> = { train: "Train", test: "Test" };

/** What is shown of each slice, and how its values become heights and colours: the same for every method. */
export function SeriesControls() {
  const { view, change, cards } = useSliceData();
  const { metrics, splits } = useSeriesOptions();
  const lines = cards.some((card) => card.geometry !== "grid");
  const splitOptions = splits.map((split) => ({ value: split, label: SPLITS[split] ?? split }));
  if (lines && splits.length > 1) splitOptions.push({ value: ALL_SPLITS, label: "All splits" });
  const metric = metrics.includes(view.metric) ? view.metric : metrics[0];
  const split = splitOptions.some((option) => option.value === view.split) ? view.split : splits[0];
  return (
    <>
      {metric !== undefined && metrics.length > 1 && (
        <Field label="Metric">
          <Select
            label="Metric"
            value={metric}
            options={metrics.map((name) => ({ value: name, label: words(name) }))}
            onValueChange={(value) => change({ metric: value === metrics[0] ? "" : value })}
          />
        </Field>
      )}
      {split !== undefined && splits.length > 1 && (
        <Field label="Split">
          <Select
            label="Split"
            value={split}
            options={splitOptions}
            onValueChange={(value) => change({ split: value === splits[0] ? "" : value })}
          />
        </Field>
      )}
      <div>
        <CheckboxField
          label="Logarithmic values"
          checked={view.scale === "log"}
          onChange={(checked) => change({ scale: checked ? "log" : "linear" })}
        />
        <CheckboxField
          label="Clip outliers"
          checked={view.range === "robust"}
          onChange={(checked) => change({ range: checked ? "robust" : "full" })}
        />
      </div>
    </>
  );
}
