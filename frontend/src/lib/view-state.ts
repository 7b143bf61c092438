/**
 * What the reader has chosen, and its form in TensorBoard's address:
 * `#loss_slicer&p.loss_slicer.step=120&…`. Only what differs from the default is written; keys of others are kept.
 */
import { COLOR_MAPS, type ColorMapName, type ScaleName } from "@/maths/color";
import { PLUGIN_NAME } from "./host";

export interface ViewState {
  /** Chosen runs; null stands for the first. */
  readonly runs: readonly string[] | null;
  /** Pattern on tags. */
  readonly filter: string;
  /** Slice type; null stands for the first with data. */
  readonly method: string | null;
  /** A step that the reader chose; null stands for the newest. */
  readonly step: number | null;
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
}

export const DEFAULT_VIEW: ViewState = {
  runs: null,
  filter: "",
  method: null,
  step: null,
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
};

export const MAX_LEVELS = 30;
export const MAX_SMOOTHING = 5;

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

const step = number(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

const FIELDS: { readonly [Key in keyof ViewState]: Field<ViewState[Key]> } = {
  runs: {
    write: (runs) => JSON.stringify(runs),
    read: (value) => {
      try {
        const runs: unknown = JSON.parse(value);
        return Array.isArray(runs) && runs.every((run) => typeof run === "string") ? runs : undefined;
      } catch {
        return undefined;
      }
    },
  },
  filter: text,
  method: optionalText,
  step: { write: String, read: (value) => step.read(value) },
  metric: text,
  split: text,
  range: choice(["robust", "full"]),
  scale: choice(["linear", "log"]),
  colors: choice(COLOR_MAPS),
  levels: number(0, MAX_LEVELS),
  shading: choice(["cells", "smooth"]),
  smoothing: number(0, MAX_SMOOTHING),
  parameters: text,
  shared: {
    write: String,
    read: (value) => (value === "true" ? true : value === "false" ? false : undefined),
  },
  bounds: number(0.01, 1),
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
