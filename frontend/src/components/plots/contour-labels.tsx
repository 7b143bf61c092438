/** The contour lines of a heat map as they are drawn, and the values that stand in their gaps. */
import { useDeferredValue, useMemo } from "react";
import { type ColorMap, cssColor, isLight } from "@/maths/color";
import type { Isoline, Levels } from "@/maths/contour";
import {
  type DrawnLine,
  LABEL_SIZE,
  type LabeledLines,
  type LineLabel,
  labeledLines,
  levelTexts,
} from "@/maths/contour-labels";
import { valueAtIndex } from "@/maths/grid";
import type { Scale } from "@/maths/scale";
import { round, textWidth } from "./axes";
import type { PlacedMarks } from "./grid-marks";
import { FONT } from "./theme";

interface Contours {
  readonly isolines: readonly Isoline[];
  readonly levels: Levels;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly inner: { readonly width: number; readonly height: number };
  readonly marks: PlacedMarks;
}

export function useLabeledLines(contours: Contours): LabeledLines {
  const { isolines, x, y, xScale, yScale, inner, marks } = contours;
  const { count, at, spacing } = contours.levels;
  // The lines come first, and their values a moment later; from then on with them.
  const labeled = useDeferredValue(true, false);
  return useMemo(() => {
    const lines = isolines.flatMap(({ level, lines }): DrawnLine[] =>
      lines.map((points) => ({
        level,
        points: points.map(([column, row]) => [
          xScale(valueAtIndex(x, column)),
          yScale(valueAtIndex(y, row)),
        ]),
      })),
    );
    if (!labeled) return { lines, labels: [] };
    const levels = isolines.map(({ level }) => level);
    const texts = levelTexts(levels, { count, at, spacing });
    const known = new Map(levels.map((level, index) => [level, texts[index] as string]));
    return labeledLines(
      lines,
      (level) => known.get(level) ?? "",
      (text) => textWidth(text, LABEL_SIZE),
      { ...inner, boxes: marks.boxes, ways: [marks.places] },
    );
  }, [labeled, isolines, count, at, spacing, x, y, xScale, yScale, inner, marks]);
}

interface ContourLabelsProps {
  readonly labels: readonly LineLabel[];
  readonly map: ColorMap;
  /** Where on the colour map the picture is below the middle of a label. */
  readonly below: (label: LineLabel) => number;
}

/** Black or white, in a halo of the colour below it: it reads on every colour map, and on cells larger than it is. */
export function ContourLabels({ labels, map, below }: ContourLabelsProps) {
  return (
    <g
      fontFamily={FONT}
      fontSize={LABEL_SIZE}
      textAnchor="middle"
      strokeWidth={3}
      strokeLinejoin="round"
      paintOrder="stroke"
      data-testid="contour-labels"
    >
      {labels.map((label) => (
        <text
          key={`${label.x} ${label.y}`}
          transform={`translate(${round(label.x)},${round(label.y)}) rotate(${round(label.angle)})`}
          dy="0.35em"
          fill={isLight(map, below(label)) ? "#000000" : "#ffffff"}
          stroke={cssColor(map, below(label))}
        >
          {label.text}
        </text>
      ))}
    </g>
  );
}
