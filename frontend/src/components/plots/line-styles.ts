/** How lines of one colour are told apart: there are more lines than colours. */

export interface LineStyle {
  /** Pixels of dashes and gaps in turn; none for a whole line. */
  readonly dashes: readonly number[];
  readonly width: number;
}

export const WHOLE_LINE: LineStyle = { dashes: [], width: 1.75 };

/** Dashes are told apart more surely than widths. */
const DASHES: readonly LineStyle["dashes"][] = [
  WHOLE_LINE.dashes,
  [6, 4],
  [2, 3],
  [11, 3, 2, 3],
  [17, 5],
  [8, 3, 2, 3, 2, 3],
];
const WIDTHS = [WHOLE_LINE.width, 3.25];

/** In the order in which lines of one colour get them. */
export const LINE_STYLES: readonly LineStyle[] = WIDTHS.flatMap((width) =>
  DASHES.map((dashes) => ({ dashes, width })),
);

/** The attributes of a line in a style: round ends would fill short gaps. */
export function strokeOf({ dashes, width }: LineStyle) {
  return {
    strokeWidth: width,
    ...(dashes.length > 0 ? { strokeDasharray: dashes.join(" "), strokeLinecap: "butt" as const } : {}),
  };
}

export interface ColoredLine {
  readonly color: string;
  /** Whether it is never drawn whole, such as what has another unit. */
  readonly dashed?: boolean;
}

/** What has to be said where there are more lines than ways to draw them. */
export function alikeText(lines: readonly { readonly color: string; readonly style?: LineStyle }[]): string {
  const looks = new Set(
    lines.map(({ color, style: { dashes, width } = WHOLE_LINE }) => `${color} ${dashes} ${width}`),
  );
  return looks.size < lines.length
    ? "Some lines look alike, for there are more of them than ways to draw them: the one nearest to the pointer is named."
    : "";
}

/** For each line the first style that fewest of those before it have in its colour: a new one as long as there are any. */
export function lineStyles(lines: readonly ColoredLine[]): LineStyle[] {
  const uses = new Map<string, number[]>();
  return lines.map(({ color, dashed = false }) => {
    const counts = uses.get(color) ?? LINE_STYLES.map(() => 0);
    uses.set(color, counts);
    const open = LINE_STYLES.map((style, index) => ({ style, index })).filter(
      ({ style }) => !(dashed && style.dashes.length === 0),
    );
    const fewest = Math.min(...open.map(({ index }) => counts[index] ?? 0));
    const found = open.find(({ index }) => counts[index] === fewest);
    if (!found) return WHOLE_LINE;
    counts[found.index] = fewest + 1;
    return found.style;
  });
}
