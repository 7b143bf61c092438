/** Where the values of contour lines stand: along the lines, where there is room for them. */
import type { Levels, Point } from "./contour";
import { formatNumber, formatTicks } from "./format";

/** One contour line in pixels. */
export interface DrawnLine {
  readonly level: number;
  readonly points: readonly Point[];
}

export interface LineLabel {
  readonly level: number;
  readonly text: string;
  /** Of its middle. */
  readonly x: number;
  readonly y: number;
  /** Degrees, clockwise, between −90 and 90: never upside down. */
  readonly angle: number;
}

export interface LabeledLines {
  /** With gaps where the labels stand. */
  readonly lines: readonly DrawnLine[];
  readonly labels: readonly LineLabel[];
}

/** Left, top, right and bottom. */
export type Box = readonly [number, number, number, number];

/** What there is besides the lines. */
export interface Surroundings {
  readonly width: number;
  readonly height: number;
  /** Nothing may be written here, nor across these ways. */
  readonly boxes: readonly Box[];
  readonly ways: readonly (readonly Point[])[];
}

export const LABEL_SIZE = 10;
const HEIGHT = LABEL_SIZE + 1;
/** Between a label and what is beside it: the ends of its own line, and the edge of the picture. */
const PADDING = 2;
/** Between two labels: where straight lines run side by side, as on a coarse grid, values in a row are hard to tell apart. */
const BESIDE = 10;
/** How far a line may bend away from the straight text. */
const MAX_BEND = 2.5;
/** Of the line, before and after its label. */
const LEAST_STUB = 10;
/** Lines of more points than this fill the picture: looking for room would take longer than a frame, and find none. */
const MAX_POINTS = 50_000;
/** A line shorter than this many of its labels is mostly label. */
const MIN_LENGTH = 2.5;
const MAX_OF_A_LEVEL = 2;
/** Between labels of one level. */
const APART = 120;
/** Between two places that are tried on a line. */
const STEP = 6;

/** All that a number has. */
const MOST_DIGITS = 17;

/** What the levels are called: with the digits of the colour bar, and as many more as tell them apart. */
export function levelTexts(levels: readonly number[], { at, spacing }: Levels): string[] {
  if (at.length > 0) return levels.map((level) => formatNumber(level));
  if (spacing === "even" && levels.length > 1) return formatTicks(levels);
  for (let digits = 3; digits < MOST_DIGITS; digits++) {
    const texts = levels.map((level) => formatNumber(level, digits));
    if (new Set(texts).size === levels.length) return texts;
  }
  return levels.map((level) => formatNumber(level, MOST_DIGITS));
}

/**
 * Labels for the longest lines of each level, each where its line is straightest, then flattest. A label keeps clear of
 * other lines, other labels, `around` and the edges; a line without such a place has none.
 */
export function labeledLines(
  lines: readonly DrawnLine[],
  textOf: (level: number) => string,
  widthOf: (text: string) => number,
  around: Surroundings,
): LabeledLines {
  if (lines.reduce((sum, { points }) => sum + points.length, 0) > MAX_POINTS) return { lines, labels: [] };
  const paths = lines.map(({ points }) => measured(points));
  const room = new Room(around.width, around.height);
  around.boxes.forEach((box) => {
    room.fill(box);
  });
  around.ways.forEach((way) => {
    room.draw(measured(way), TAKEN);
  });
  paths.forEach((path, index) => {
    room.draw(path, index);
  });

  const labels: LineLabel[] = [];
  const gaps = new Map<number, readonly [number, number]>();
  const order = paths.map((_, index) => index).sort((a, b) => lengthOf(paths[b]) - lengthOf(paths[a]));
  for (const index of order) {
    const { level } = lines[index] as DrawnLine;
    const alike = labels.filter((label) => label.level === level);
    if (alike.length >= MAX_OF_A_LEVEL) continue;
    const text = textOf(level);
    const wide = widthOf(text) + 2 * PADDING;
    const place = bestPlace(paths[index] as Path, index, wide, room, alike);
    if (!place) continue;
    labels.push({ level, text, x: place.x, y: place.y, angle: (place.angle * 180) / Math.PI });
    room.fillTurned(place, wide + 2 * BESIDE, HEIGHT + 2 * BESIDE);
    gaps.set(index, [place.arc - wide / 2, place.arc + wide / 2]);
  }
  return {
    labels,
    lines: lines.flatMap((line, index) => {
      const gap = gaps.get(index);
      return gap ? broken(line, paths[index] as Path, gap) : [line];
    }),
  };
}

/** A line with the length of the way to each of its points. */
interface Path {
  readonly points: readonly Point[];
  readonly arcs: Float64Array;
}

function measured(points: readonly Point[]): Path {
  const arcs = new Float64Array(points.length);
  for (let at = 1; at < points.length; at++) {
    const [x0, y0] = points[at - 1] as Point;
    const [x1, y1] = points[at] as Point;
    // Not hypot, which is several times slower.
    arcs[at] = (arcs[at - 1] as number) + Math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2);
  }
  return { points, arcs };
}

function lengthOf(path: Path | undefined): number {
  return path?.arcs.at(-1) ?? 0;
}

/** The first point at or after `arc`. */
function indexAfter({ arcs }: Path, arc: number): number {
  let [low, high] = [0, arcs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((arcs[middle] as number) < arc) low = middle + 1;
    else high = middle;
  }
  return low;
}

function pointAt(path: Path, arc: number): Point {
  const after = Math.max(indexAfter(path, arc), 1);
  const [from, to] = [path.arcs[after - 1] as number, path.arcs[after] as number];
  const [x0, y0] = path.points[after - 1] as Point;
  const [x1, y1] = path.points[after] as Point;
  const share = to > from ? (arc - from) / (to - from) : 0;
  return [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
}

interface Place {
  readonly arc: number;
  readonly x: number;
  readonly y: number;
  /** Radians. */
  readonly angle: number;
}

function bestPlace(
  path: Path,
  index: number,
  wide: number,
  room: Room,
  alike: readonly LineLabel[],
): Place | null {
  const length = lengthOf(path);
  if (!(length >= MIN_LENGTH * wide)) return null;
  let [best, least]: [Place | null, number] = [null, Number.POSITIVE_INFINITY];
  const nearest = wide / 2 + LEAST_STUB;
  for (let arc = nearest; arc <= length - nearest; arc += STEP) {
    const [x0, y0] = pointAt(path, arc - wide / 2);
    const [x1, y1] = pointAt(path, arc + wide / 2);
    const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    if (!room.has(x, y) || alike.some((label) => Math.hypot(label.x - x, label.y - y) < APART)) continue;
    const angle = upright(Math.atan2(y1 - y0, x1 - x0));
    const bend = bendOf(path, arc - wide / 2, arc + wide / 2);
    const cost = bend / MAX_BEND + Math.abs(Math.sin(angle)) / 2;
    if (bend > MAX_BEND || cost >= least) continue;
    const place = { arc, x, y, angle };
    if (room.isFree(place, wide, HEIGHT, index)) [best, least] = [place, cost];
  }
  return best;
}

function upright(angle: number): number {
  if (angle > Math.PI / 2) return angle - Math.PI;
  return angle <= -Math.PI / 2 ? angle + Math.PI : angle;
}

/** How far the path leaves the straight way between two of its places; infinite where it is much longer than that. */
function bendOf(path: Path, from: number, to: number): number {
  const [x0, y0] = pointAt(path, from);
  const [x1, y1] = pointAt(path, to);
  const straight = Math.hypot(x1 - x0, y1 - y0);
  if (straight < 0.85 * (to - from)) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let at = indexAfter(path, from); (path.arcs[at] ?? to) < to; at++) {
    const [x, y] = path.points[at] as Point;
    most = Math.max(most, Math.abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / straight);
  }
  return most;
}

/** The line's two parts, before and after the gap. */
function broken(line: DrawnLine, path: Path, [from, to]: readonly [number, number]): DrawnLine[] {
  const before = path.points.slice(0, indexAfter(path, from));
  const after = path.points.slice(indexAfter(path, to));
  return [
    { level: line.level, points: [...before, pointAt(path, from)] },
    { level: line.level, points: [pointAt(path, to), ...after] },
  ];
}

const TAKEN = -1;
/** Pixels of a square that is free or not. */
const SQUARE = 3;

/** The picture in small squares, each with the lines that pass through it. */
class Room {
  private readonly columns: number;
  private readonly rows: number;
  /** The last entry of each square, then the entry before each entry; −1 where there is none. */
  private readonly last: Int32Array;
  private readonly before: number[] = [];
  private readonly lines: number[] = [];
  private readonly arcs: number[] = [];

  constructor(
    private readonly width: number,
    private readonly height: number,
  ) {
    this.columns = Math.max(Math.ceil(width / SQUARE), 1);
    this.rows = Math.max(Math.ceil(height / SQUARE), 1);
    this.last = new Int32Array(this.columns * this.rows).fill(-1);
  }

  has(x: number, y: number): boolean {
    return x >= 0 && y >= 0 && x <= this.width && y <= this.height;
  }

  draw(path: Path, line: number): void {
    for (let at = 1; at < path.points.length; at++) {
      const [x0, y0] = path.points[at - 1] as Point;
      const [x1, y1] = path.points[at] as Point;
      const outside =
        Math.max(x0, x1) < 0 ||
        Math.max(y0, y1) < 0 ||
        Math.min(x0, x1) > this.width ||
        Math.min(y0, y1) > this.height;
      if (outside) continue;
      const start = path.arcs[at - 1] as number;
      const length = (path.arcs[at] as number) - start;
      const count = Math.max(Math.ceil(length / (SQUARE / 2)), 1);
      for (let step = 0; step <= count; step++) {
        const share = step / count;
        this.add(x0 + share * (x1 - x0), y0 + share * (y1 - y0), line, start + share * length);
      }
    }
  }

  fill([left, top, right, bottom]: Box): void {
    for (let x = left; x <= right; x += SQUARE)
      for (let y = top; y <= bottom; y += SQUARE) this.add(x, y, TAKEN, 0);
  }

  fillTurned(place: Place, wide: number, high: number): void {
    everywhere(place, wide, high, (x, y) => {
      this.add(x, y, TAKEN, 0);
      return true;
    });
  }

  /** Whether nothing but the line's own part below the text is there. */
  isFree(place: Place, wide: number, high: number, line: number): boolean {
    const near = wide / 2 + 4 * PADDING;
    return everywhere(place, wide + 2 * PADDING, high + 2 * PADDING, (x, y) => {
      const square = this.squareAt(x, y);
      if (square < 0) return false;
      for (let entry = this.last[square] as number; entry >= 0; entry = this.before[entry] as number) {
        if (this.lines[entry] !== line || Math.abs((this.arcs[entry] as number) - place.arc) > near)
          return false;
      }
      return true;
    });
  }

  private squareAt(x: number, y: number): number {
    if (!this.has(x, y)) return -1;
    const column = Math.min(Math.floor(x / SQUARE), this.columns - 1);
    return column * this.rows + Math.min(Math.floor(y / SQUARE), this.rows - 1);
  }

  private add(x: number, y: number, line: number, arc: number): void {
    const square = this.squareAt(x, y);
    if (square < 0) return;
    const last = this.last[square] as number;
    // One entry for each visit of a line.
    if (
      last >= 0 &&
      this.lines[last] === line &&
      (line === TAKEN || Math.abs((this.arcs[last] as number) - arc) < SQUARE)
    )
      return;
    this.before.push(last);
    this.lines.push(line);
    this.arcs.push(arc);
    this.last[square] = this.lines.length - 1;
  }
}

/** Whether `holds` is true all over a turned box, corners included: it is asked until it is not. */
function everywhere(
  { x, y, angle }: Place,
  wide: number,
  high: number,
  holds: (x: number, y: number) => boolean,
): boolean {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [columns, rows] = [Math.ceil(wide / SQUARE), Math.ceil(high / SQUARE)];
  for (let column = 0; column <= columns; column++) {
    const along = (column / columns - 0.5) * wide;
    for (let row = 0; row <= rows; row++) {
      const across = (row / rows - 0.5) * high;
      if (!holds(x + along * cos - across * sin, y + along * sin + across * cos)) return false;
    }
  }
  return true;
}
