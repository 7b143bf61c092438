/**
 * What the reader has chosen, and its form in TensorBoard's address:
 * `#loss_slicer&p.loss_slicer.step=120&…`. Only what differs from the default is written; keys of others are kept.
 */
import { COLOR_MAPS, type ColorMapName, type ScaleName } from "@/maths/color";
import { type CardKey, type ComparedKey, MAX_COMPARED } from "./cards";
import { PLUGIN_NAME } from "./host";

export interface ViewState {
  /** Chosen runs; null stands for the first. */
  readonly runs: readonly string[] | null;
  /** Pattern on runs: which are listed to choose from. */
  readonly runFilter: string;
  /** Pattern on tags. */
  readonly filter: string;
  /** Slice type; null stands for the first with data. */
  readonly method: string | null;
  /** A step that the reader chose; null stands for the newest. */
  readonly step: number | null;
  /** Whether new data moves the step to the newest. */
  readonly follow: boolean;
  /** Steps a second while playing. */
  readonly speed: number;
  /** Cards that stand first, whatever is filtered. */
  readonly pinned: readonly CardKey[];
  /** Cards as wide as the page. */
  readonly wide: readonly CardKey[];
  /** Slices that are looked at side by side. */
  readonly compared: readonly ComparedKey[];
  /** Whether the comparison is open. */
  readonly comparing: boolean;
  readonly metric: string;
  readonly split: string;
  readonly range: "robust" | "full";
  readonly scale: ScaleName;
  readonly colors: ColorMapName;
  readonly levels: number;
  readonly shading: "cells" | "smooth";
  readonly smoothing: number;
  /** Pattern on the members of a family of curves. */
  readonly parameters: string;
  readonly shared: boolean;
  /** Share of the horizontal range that families of curves show around the center. */
  readonly bounds: number;
  /** In which order the members of a family stand. */
  readonly sort: FamilySort;
  /** What is drawn of each slice: its lines or colours, its surface, or its measures over all steps. */
  readonly display: Display;
  /** Whether a curve's other steps are drawn faintly behind it. */
  readonly ghosts: boolean;
  /** Whether the curves of all chosen runs are drawn into one plot. */
  readonly overlay: boolean;
  /** Whether the horizontal axis of curves is logarithmic, which leaves out what is not above zero. */
  readonly across: ScaleName;
  /** Whether heights and colours have the range of the shown step, or one over all steps and shown runs. */
  readonly limits: "card" | "all";
  /** Contour levels as numbers; empty for levels that are chosen by `levels` and `spacing`. */
  readonly at: string;
  readonly spacing: "even" | "ratio";
  /** Whether cells that don't differ from the center by two standard errors are shaded. */
  readonly significance: boolean;
  /** Whether zoom and cursor are the same in all plots with the same axes. */
  readonly linked: boolean;
  /** The part of them that plots show, by their axes; none where all is shown. */
  readonly zooms: readonly ZoomKey[];
  /** A drawn line, from (x, y) to (x, y), whose values are shown as a curve. */
  readonly cut: readonly number[] | null;
  /** Height of a surface as a multiple of its usual one. */
  readonly height: number;
  /** Where a surface is seen from: azimuth and polar angle in degrees, distance in widths of the surface. */
  readonly camera: readonly number[] | null;
}

/** The zoom of all plots with the same axes. */
export interface ZoomKey {
  /** Stands for the names and ends of the axes. */
  readonly axes: string;
  /** Magnification, and the shift in widths and heights of the plot. */
  readonly k: number;
  readonly x: number;
  readonly y: number;
}

export const FAMILY_SORTS = ["logged", "name", "layer", "curvature", "range"] as const;
export type FamilySort = (typeof FAMILY_SORTS)[number];
export const DISPLAYS = ["flat", "surface", "steps"] as const;
export type Display = (typeof DISPLAYS)[number];

export const DEFAULT_VIEW: ViewState = {
  runs: null,
  runFilter: "",
  filter: "",
  method: null,
  step: null,
  follow: false,
  speed: 2,
  pinned: [],
  wide: [],
  compared: [],
  comparing: false,
  metric: "",
  split: "",
  range: "robust",
  scale: "linear",
  colors: "viridis",
  levels: 10,
  shading: "cells",
  smoothing: 0,
  parameters: "",
  shared: false,
  bounds: 1,
  sort: "logged",
  display: "flat",
  ghosts: true,
  overlay: false,
  across: "linear",
  limits: "card",
  at: "",
  spacing: "even",
  significance: true,
  linked: true,
  zooms: [],
  cut: null,
  height: 1,
  camera: null,
};

export const MAX_LEVELS = 30;
export const MAX_SMOOTHING = 5;
export const SPEEDS: readonly number[] = [0.5, 1, 2, 4, 8];
export const MAX_ZOOM = 100;
export const MAX_ZOOMS = 20;
const MAX_CARDS = 100;
const MAX_RUNS = 100_000;

/** How one field is written as text and read back; undefined refuses the text. */
interface Field<T> {
  readonly write: (value: T) => string;
  readonly read: (text: string) => T | undefined;
}

const text: Field<string> = { write: (value) => value, read: (value) => value };
const optionalText: Field<string | null> = { write: (value) => value ?? "", read: (value) => value };

function choice<T extends string>(options: readonly T[]): Field<T> {
  return { write: (value) => value, read: (value) => options.find((option) => option === value) };
}

function number(low: number, high: number): Field<number> {
  return {
    write: String,
    read: (value) => {
      const parsed = Number(value);
      return value.trim() !== "" && parsed >= low && parsed <= high ? parsed : undefined;
    },
  };
}

const flag: Field<boolean> = {
  write: String,
  read: (value) => (value === "true" ? true : value === "false" ? false : undefined),
};

/** Finite numbers with commas between them. */
function tuple(length: number): Field<readonly number[] | null> {
  return {
    write: (value) => (value ?? []).join(","),
    read: (value) => {
      const parts = value.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
      return parts.length === length && parts.every(Number.isFinite) ? parts : undefined;
    },
  };
}

/** A list as JSON; `entry` is undefined for what is not one, which refuses the whole. */
function jsonList<T>(
  write: (entry: T) => unknown,
  read: (entry: unknown) => T | undefined,
  longest: number,
): Field<readonly T[]> {
  return {
    write: (entries) => JSON.stringify(entries.map(write)),
    read: (value) => {
      let found: unknown;
      try {
        found = JSON.parse(value);
      } catch {
        return undefined;
      }
      if (!Array.isArray(found) || found.length > longest) return undefined;
      const entries = found.map(read).filter((entry) => entry !== undefined);
      return entries.length === found.length ? entries : undefined;
    },
  };
}

const cardKeys = jsonList<CardKey>(
  ({ run, tag }) => [run, tag],
  (entry) => {
    const [run, tag]: unknown[] = Array.isArray(entry) ? entry : [];
    return typeof run === "string" && typeof tag === "string" ? { run, tag } : undefined;
  },
  MAX_CARDS,
);

const comparedKeys = jsonList<ComparedKey>(
  ({ run, tag, step }) => [run, tag, step],
  (entry) => {
    const [run, tag, step]: unknown[] = Array.isArray(entry) ? entry : [];
    if (typeof run !== "string" || typeof tag !== "string") return undefined;
    if (step !== null && !Number.isSafeInteger(step)) return undefined;
    return { run, tag, step: step as number | null };
  },
  MAX_COMPARED,
);

const zoomKeys = jsonList<ZoomKey>(
  ({ axes, k, x, y }) => [axes, k, x, y],
  (entry) => {
    const [axes, ...numbers]: unknown[] = Array.isArray(entry) ? entry : [];
    const [k, x, y] = numbers.filter((part) => typeof part === "number");
    if (typeof axes !== "string" || !/^[0-9a-f]{8}$/.test(axes)) return undefined;
    if (k === undefined || x === undefined || y === undefined) return undefined;
    // A plot is never smaller than its place, nor moved out of it.
    const within = (shift: number) => shift <= 0 && shift >= 1 - k;
    return k >= 1 && k <= MAX_ZOOM && within(x) && within(y) ? { axes, k, x, y } : undefined;
  },
  MAX_ZOOMS,
);

const runs = jsonList<string>(
  (run) => run,
  (entry) => (typeof entry === "string" ? entry : undefined),
  MAX_RUNS,
);

const step = number(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

const FIELDS: { readonly [Key in keyof ViewState]: Field<ViewState[Key]> } = {
  runs: {
    write: (runs) => JSON.stringify(runs),
    read: (value) => runs.read(value),
  },
  runFilter: text,
  filter: text,
  method: optionalText,
  step: { write: String, read: (value) => step.read(value) },
  follow: flag,
  speed: { write: String, read: (value) => SPEEDS.find((entry) => String(entry) === value) },
  pinned: cardKeys,
  wide: cardKeys,
  compared: comparedKeys,
  comparing: flag,
  metric: text,
  split: text,
  range: choice(["robust", "full"]),
  scale: choice(["linear", "log"]),
  colors: choice(COLOR_MAPS),
  levels: number(0, MAX_LEVELS),
  shading: choice(["cells", "smooth"]),
  smoothing: number(0, MAX_SMOOTHING),
  parameters: text,
  shared: flag,
  bounds: number(0.01, 1),
  sort: choice(FAMILY_SORTS),
  display: choice(DISPLAYS),
  ghosts: flag,
  overlay: flag,
  across: choice(["linear", "log"]),
  limits: choice(["card", "all"]),
  at: text,
  spacing: choice(["even", "ratio"]),
  significance: flag,
  linked: flag,
  zooms: zoomKeys,
  cut: tuple(4),
  height: number(0.1, 5),
  camera: tuple(3),
};

const PREFIX = `p.${PLUGIN_NAME}.`;

/** `[key, value]` pairs after the tab's name; a part without one `=` is dropped, as TensorBoard does. */
function parseHash(hash: string): { tab: string; pairs: [string, string][] } {
  const [tab = "", ...rest] = hash.replace(/^#/, "").split("&");
  const first = tab.includes("=") ? [tab, ...rest] : rest;
  const pairs = first.flatMap((part): [string, string][] => {
    const [key, value, ...more] = part.split("=");
    if (key === undefined || value === undefined || more.length > 0) return [];
    try {
      return [[decodeURIComponent(key), decodeURIComponent(value)]];
    } catch {
      return [];
    }
  });
  return { tab: tab.includes("=") ? "" : tab, pairs };
}

/** Whether the address names this plugin's tab (or none, which opens whichever tab is first). */
export function isOurTab(hash: string): boolean {
  const { tab } = parseHash(hash);
  return tab === PLUGIN_NAME || tab === "";
}

export function hasViewState(hash: string): boolean {
  return parseHash(hash).pairs.some(([key]) => key.startsWith(PREFIX));
}

export function readViewState(hash: string): ViewState {
  const found: Partial<Record<keyof ViewState, unknown>> = {};
  for (const [key, value] of parseHash(hash).pairs) {
    if (!key.startsWith(PREFIX)) continue;
    const name = key.slice(PREFIX.length);
    if (!Object.hasOwn(FIELDS, name)) continue;
    const parsed = FIELDS[name as keyof ViewState].read(value);
    if (parsed !== undefined) found[name as keyof ViewState] = parsed;
  }
  return { ...DEFAULT_VIEW, ...(found as Partial<ViewState>) };
}

/** The address with this view in place of any other of ours; the tab is named, foreign keys stay as they are. */
export function writeViewState(hash: string, view: ViewState): string {
  const foreign = parseHash(hash).pairs.filter(([key]) => !key.startsWith(PREFIX));
  const own = (Object.keys(FIELDS) as (keyof ViewState)[]).flatMap((name): [string, string][] => {
    if (JSON.stringify(view[name]) === JSON.stringify(DEFAULT_VIEW[name])) return [];
    return [[PREFIX + name, (FIELDS[name] as Field<unknown>).write(view[name])]];
  });
  const pairs = [...foreign, ...own].map(
    ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
  );
  return `#${[PLUGIN_NAME, ...pairs].join("&")}`;
}
