/** Axes drawn by hand: grid lines, ticks and labels as plain SVG attributes, so that an exported picture has them. */
import { memo } from "react";
import { beginning, ending } from "@/lib/names";
import type { Tick } from "@/maths/ticks";
import { FONT, type PlotTheme } from "./theme";

export interface Margins {
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

export interface PlacedTick extends Tick {
  /** Pixels from the start of the inner area. */
  readonly at: number;
}

export const TICK_SIZE = 11;

/** Average width of a character as a share of its size, where there is nothing to measure with. */
const AVERAGE = 0.6;
let ruler: CanvasRenderingContext2D | null | undefined;

/** The width of a text in the font of plots. */
export function textWidth(text: string, size = TICK_SIZE): number {
  if (ruler === undefined) ruler = document.createElement("canvas").getContext("2d");
  if (!ruler) return text.length * AVERAGE * size;
  ruler.font = `${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

/** Text cut in the middle so that it fits: both ends of a parameter's name tell something. */
export function fitted(text: string, width: number, size = TICK_SIZE): string {
  const whole = textWidth(text, size);
  if (whole <= width) return text;
  const most = Math.max(Math.floor((width / whole) * text.length) - 1, 4);
  const tail = Math.floor((most - 1) / 2);
  return `${beginning(text, most - 1 - tail)}…${ending(text, tail)}`;
}

export interface PlacedLabel {
  readonly text: string;
  /** The middle of the text, from the start of the axis. */
  readonly at: number;
}

/** Between two labels in a row, and beyond the end of an axis. */
const GAP = 6;
const BEYOND = 12;

/** The labels below a horizontal axis: every one, or every second, third… so that none touches its neighbour or leaves the picture. */
export function labelsBelow(ticks: readonly PlacedTick[], length: number, size = TICK_SIZE): PlacedLabel[] {
  const all = ticks.map(({ label, at }) => {
    const half = textWidth(label, size) / 2;
    return { text: label, at: Math.min(at, length + BEYOND - half), half };
  });
  for (let every = 1; every < all.length; every++) {
    const kept = all.filter((_, index) => index % every === 0);
    const clear = kept.every(({ at, half }, index) => {
      const before = kept[index - 1];
      return !before || at - half >= before.at + before.half + GAP;
    });
    if (clear) return kept;
  }
  return all.slice(0, 1);
}

interface AxisProps {
  readonly ticks: readonly PlacedTick[];
  readonly width: number;
  readonly height: number;
  readonly label: string;
  readonly theme: PlotTheme;
  readonly grid: boolean;
}

export const BottomAxis = memo(function BottomAxis({ ticks, width, height, label, theme, grid }: AxisProps) {
  return (
    <g fontFamily={FONT} fontSize={TICK_SIZE} fill={theme.muted}>
      {ticks.map((tick) => (
        <g key={tick.value} transform={`translate(${round(tick.at)},0)`}>
          {grid && <line y2={height} stroke={theme.grid} />}
          <line y1={height} y2={height + 4} stroke={theme.axis} />
        </g>
      ))}
      {labelsBelow(ticks, width).map(({ text, at }) => (
        <text key={at} x={round(at)} y={height + 16} textAnchor="middle">
          {text}
        </text>
      ))}
      <line x2={width} y1={height} y2={height} stroke={theme.axis} />
      <text x={width / 2} y={height + 33} textAnchor="middle" fill={theme.foreground} fontSize={12}>
        {fitted(label, width, 12)}
      </text>
    </g>
  );
});

export const LeftAxis = memo(function LeftAxis({
  ticks,
  width,
  height,
  label,
  theme,
  grid,
  offset,
}: AxisProps & { readonly offset: number }) {
  return (
    <g fontFamily={FONT} fontSize={TICK_SIZE} fill={theme.muted}>
      {ticks.map((tick) => (
        <g key={tick.value} transform={`translate(0,${round(tick.at)})`}>
          {grid && <line x2={width} stroke={theme.grid} />}
          <line x1={-4} x2={0} stroke={theme.axis} />
          <text x={-7} dy="0.32em" textAnchor="end">
            {tick.label}
          </text>
        </g>
      ))}
      <line y2={height} stroke={theme.axis} />
      <text
        transform={`translate(${-offset + 11},${height / 2}) rotate(-90)`}
        textAnchor="middle"
        fill={theme.foreground}
        fontSize={12}
      >
        {fitted(label, height, 12)}
      </text>
    </g>
  );
});

export const RightAxis = memo(function RightAxis({
  ticks,
  width,
  height,
  label,
  theme,
  offset,
}: AxisProps & { readonly offset: number }) {
  return (
    <g fontFamily={FONT} fontSize={TICK_SIZE} fill={theme.muted} transform={`translate(${width},0)`}>
      {ticks.map((tick) => (
        <g key={tick.value} transform={`translate(0,${round(tick.at)})`}>
          <line x2={4} stroke={theme.axis} />
          <text x={7} dy="0.32em">
            {tick.label}
          </text>
        </g>
      ))}
      <line y2={height} stroke={theme.axis} />
      <text
        transform={`translate(${offset - 6},${height / 2}) rotate(-90)`}
        textAnchor="middle"
        fill={theme.foreground}
        fontSize={12}
      >
        {fitted(label, height, 12)}
      </text>
    </g>
  );
});

/** The left margin that these labels and the axis title need. */
export function leftMargin(ticks: readonly Tick[]): number {
  return Math.ceil(Math.max(20, ...ticks.map((tick) => textWidth(tick.label))) + 30);
}

/** One decimal is finer than any screen, and keeps the document small. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}
