import { useId } from "react";
import { type ColorMap, cssColor, type ScaleName } from "@/maths/color";
import { scaleOf } from "@/maths/scale";
import { axisTicks } from "@/maths/ticks";
import { fitted, labelsBelow, round, TICK_SIZE, textWidth } from "./axes";
import { FONT, type PlotTheme } from "./theme";

interface ColorBarProps {
  readonly map: ColorMap;
  readonly low: number;
  readonly high: number;
  /** Whether values beyond an end exist, and are drawn in its colour. */
  readonly clippedLow: boolean;
  readonly clippedHigh: boolean;
  readonly scale: ScaleName;
  readonly levels: readonly number[];
  readonly label: string;
  readonly theme: PlotTheme;
  readonly vertical: boolean;
  readonly length: number;
}

export const BAR = 12;
const POINT = 9;
const STOPS = 32;

/** Pixels beside (or below) the plot that the bar needs. */
export function barExtent(low: number, high: number, scale: ScaleName, vertical: boolean): number {
  if (!vertical) return BAR + 44;
  const labels = axisTicks(low, high, 6, scale).map((tick) => textWidth(tick.label));
  return Math.ceil(BAR + 10 + Math.max(16, ...labels) + 24);
}

/** The colours with their values; a pointed end says that values beyond it were clipped. */
export function ColorBar(props: ColorBarProps) {
  const { map, low, high, clippedLow, clippedHigh, scale, levels, label, theme, vertical, length } = props;
  const id = useId();
  const log = scale === "log" && low > 0 ? "log" : "linear";
  const place = scaleOf([low, high], vertical ? [length, 0] : [0, length], log);
  const ticks = axisTicks(low, high, Math.max(length / (vertical ? 45 : 70), 2), log);
  const degenerate = !(high > low);
  const at = (value: number) => round(degenerate ? length / 2 : place(value));
  const below = vertical
    ? []
    : labelsBelow(
        ticks.map((tick) => ({ ...tick, at: at(tick.value) })),
        length,
      );
  const stops = Array.from({ length: STOPS + 1 }, (_, index) => index / STOPS);
  return (
    <g fontFamily={FONT} fontSize={TICK_SIZE} fill={theme.muted}>
      <linearGradient id={id} x1="0" x2={vertical ? "0" : "1"} y1={vertical ? "1" : "0"} y2="0">
        {stops.map((stop) => (
          <stop key={stop} offset={stop} stopColor={cssColor(map, stop)} />
        ))}
      </linearGradient>
      <rect
        width={vertical ? BAR : length}
        height={vertical ? length : BAR}
        fill={degenerate ? cssColor(map, 0.5) : `url(#${id})`}
      />
      {clippedLow && <path d={pointed(vertical, length, false)} fill={cssColor(map, 0)} />}
      {clippedHigh && <path d={pointed(vertical, length, true)} fill={cssColor(map, 1)} />}
      {levels.map((level) =>
        vertical ? (
          <line
            key={level}
            x2={BAR}
            y1={at(level)}
            y2={at(level)}
            stroke={theme.background}
            strokeOpacity={0.75}
          />
        ) : (
          <line
            key={level}
            y2={BAR}
            x1={at(level)}
            x2={at(level)}
            stroke={theme.background}
            strokeOpacity={0.75}
          />
        ),
      )}
      {ticks.map((tick) =>
        vertical ? (
          <g key={tick.value} transform={`translate(${BAR},${at(tick.value)})`}>
            <line x2={4} stroke={theme.axis} />
            <text x={7} dy="0.32em">
              {tick.label}
            </text>
          </g>
        ) : (
          <g key={tick.value} transform={`translate(${at(tick.value)},${BAR})`}>
            <line y2={4} stroke={theme.axis} />
          </g>
        ),
      )}
      {below.map((tick) => (
        <text key={tick.at} x={round(tick.at)} y={BAR + 15} textAnchor="middle">
          {tick.text}
        </text>
      ))}
      <text
        transform={
          vertical
            ? `translate(${barExtent(low, high, scale, true) - 6},${length / 2}) rotate(-90)`
            : `translate(${length / 2},${BAR + 31})`
        }
        textAnchor="middle"
        fill={theme.foreground}
        fontSize={12}
      >
        {fitted(label, length, 12)}
      </text>
    </g>
  );
}

function pointed(vertical: boolean, length: number, high: boolean): string {
  if (vertical) {
    return high
      ? `M0,-1L${BAR / 2},${-POINT}L${BAR},-1Z`
      : `M0,${length + 1}L${BAR / 2},${length + POINT}L${BAR},${length + 1}Z`;
  }
  return high
    ? `M${length + 1},0L${length + POINT},${BAR / 2}L${length + 1},${BAR}Z`
    : `M-1,0L${-POINT},${BAR / 2}L-1,${BAR}Z`;
}
