/** Colours of what is drawn. Literal values, not style sheet variables: exported pictures have no style sheet. */
import type { Rgb } from "@/maths/raster";

export interface PlotTheme {
  readonly background: string;
  readonly foreground: string;
  readonly muted: string;
  readonly grid: string;
  readonly axis: string;
  /** One a series, in order; the first two are told apart by people who see fewer colours, too. */
  readonly series: readonly string[];
  readonly hatch: readonly [Rgb, Rgb];
}

export const FONT = 'Roboto, "Segoe UI", system-ui, "Helvetica Neue", Arial, sans-serif';

const LIGHT: PlotTheme = {
  background: "#ffffff",
  foreground: "#212121",
  muted: "#5f6368",
  grid: "#e8eaed",
  axis: "#9aa0a6",
  series: ["#1565c0", "#d95f02", "#7b3fa0", "#1b8a5a", "#c2185b", "#6d5d00"],
  hatch: [
    [232, 234, 237],
    [154, 160, 166],
  ],
};

const DARK: PlotTheme = {
  background: "#3a3a3a",
  foreground: "#f1f1f1",
  muted: "#b9bcc0",
  grid: "#4c4c4c",
  axis: "#8a8a8a",
  series: ["#6cb2ff", "#ffa65c", "#cf9df0", "#6fd3a4", "#ff8ab0", "#d9c95a"],
  hatch: [
    [74, 74, 74],
    [130, 130, 130],
  ],
};

export function plotTheme(dark: boolean): PlotTheme {
  return dark ? DARK : LIGHT;
}

export function seriesColor(theme: PlotTheme, index: number): string {
  return theme.series[index % theme.series.length] ?? theme.foreground;
}
