import { useMemo } from "react";
import { LinePlot } from "@/components/plots/line-plot";
import { seriesColor } from "@/components/plots/theme";
import { useSliceData } from "@/contexts/slice-data-context";
import { usePlotTheme } from "@/contexts/theme-context";
import { seriesLabel, stepText, tailsOf } from "@/lib/describe";
import type { SliceData } from "@/lib/slice";
import { type Cut, profile } from "@/maths/cut";
import { formatNumber } from "@/maths/format";
import { curveSummary } from "@/maths/summary";

/** The values of a plane along the line that the reader drew through it. */
export function CutCurve({ sliceData, cut }: { readonly sliceData: SliceData; readonly cut: Cut }) {
  const { view } = useSliceData();
  const theme = usePlotTheme();
  const [main] = sliceData.series;
  const [horizontal, vertical] = sliceData.header.axes;
  const along = useMemo(
    () => horizontal && vertical && profile(horizontal.values, vertical.values, main.values, cut),
    [horizontal, vertical, main.values, cut],
  );
  const label = seriesLabel(main);
  const series = useMemo(
    () =>
      along
        ? [
            {
              ...{ key: "cut", label, color: seriesColor(theme, 0), stderr: null },
              ...{ x: along.share, values: along.values, smoothed: along.values },
            },
          ]
        : [],
    [along, label, theme],
  );
  const place = (x: number, y: number) => `(${formatNumber(x, 3)}, ${formatNumber(y, 3)})`;
  if (!along) {
    return <p className="py-3 text-muted-foreground text-xs">The cut lies outside of this slice.</p>;
  }
  const name = `along the cut from A ${place(cut[0], cut[1])} to B ${place(cut[2], cut[3])}`;
  return (
    <div className="mt-3" data-testid="cut">
      <LinePlot
        label={`${label} ${name}, ${stepText(sliceData.header, sliceData.step)}`}
        summary={curveSummary(label, "share", along.share, along.values)}
        xLabel={name}
        yLabel={label}
        series={series}
        markers={[]}
        scale={view.scale}
        range="full"
        tails={tailsOf(main)}
        linked={view.linked}
        note="Read between the points of the grid by linear interpolation."
        theme={theme}
        heightShare={0.32}
      />
    </div>
  );
}
