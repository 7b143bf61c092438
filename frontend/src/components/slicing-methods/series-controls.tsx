import { memo } from "react";
import { Select } from "@/components/ui/select";
import { useSliceData } from "@/contexts/slice-data-context";
import { type SeriesOptions, useSeriesOptions } from "@/hooks/use-series-options";
import { words } from "@/lib/describe";
import { displayName, LONGEST_LABEL } from "@/lib/names";
import { ALL_METRICS, ALL_SPLITS } from "@/lib/slice-loading";
import { CheckboxField, Field } from "./field";

const SPLITS = new Map([
  ["train", "Train"],
  ["test", "Test"],
]);

/** What is shown of each slice, and how its values become heights and colours: the same for every method. */
export function SeriesControls() {
  return <Choices {...useSeriesOptions()} />;
}

/** Another step seldom has other metrics. */
const Choices = memo(function Choices({ metrics, splits }: SeriesOptions) {
  const { view, change, cards } = useSliceData();
  const lines = cards.some((card) => card.geometry !== "grid");
  const splitOptions = splits.map((split) => ({
    value: split,
    label: SPLITS.get(split) ?? displayName(split, LONGEST_LABEL),
  }));
  if (lines && splits.length > 1) splitOptions.push({ value: ALL_SPLITS, label: "All splits" });
  const metricOptions = metrics.map((name) => ({ value: name, label: words(name) }));
  if (cards.some((card) => card.geometry === "curve")) {
    metricOptions.push({ value: ALL_METRICS, label: "All metrics" });
  }
  const metric = metricOptions.some((option) => option.value === view.metric) ? view.metric : metrics[0];
  const split = splitOptions.some((option) => option.value === view.split) ? view.split : splits[0];
  return (
    <>
      {metric !== undefined && metrics.length > 1 && (
        <Field label="Metric">
          <Select
            label="Metric"
            value={metric}
            options={metricOptions}
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
        <CheckboxField
          label="Same range for all steps and runs"
          checked={view.limits === "all"}
          onChange={(checked) => change({ limits: checked ? "all" : "card" })}
        />
        <CheckboxField
          label="Link zoom and cursor"
          checked={view.linked}
          onChange={(linked) => change({ linked })}
        />
      </div>
    </>
  );
});
