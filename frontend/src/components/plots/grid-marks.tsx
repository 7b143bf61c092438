import type { Box } from "@/maths/contour-labels";
import { fitted, round, textWidth } from "./axes";
import { FONT } from "./theme";

export interface GridMarker {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

/** One checkpoint of the way through the plane. */
export interface PathPoint {
  readonly x: number;
  readonly y: number;
  /** Its step, with the unit. */
  readonly name: string;
  readonly loss: number | null;
  /** Its distance from the plane. */
  readonly residual: number | null;
}

interface GridMarksInput {
  readonly markers: readonly GridMarker[];
  readonly path: readonly PathPoint[];
  readonly xScale: (value: number) => number;
  readonly yScale: (value: number) => number;
  readonly width: number;
  readonly height: number;
}

/** Markers, path and their names in pixels. */
export interface PlacedMarks {
  readonly places: readonly (readonly [number, number])[];
  readonly crosses: readonly GridMarker[];
  readonly labels: readonly Label[];
  /** What they cover, but for the path. */
  readonly boxes: readonly Box[];
}

const HALO = { stroke: "#000000", strokeOpacity: 0.65 } as const;
const LINE = 13;

interface Label {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly end: boolean;
}

export function placedMarks({ markers, path, xScale, yScale, width, height }: GridMarksInput): PlacedMarks {
  const places = path.map((point) => [round(xScale(point.x)), round(yScale(point.y))] as const);
  const crosses = markers.map((marker) => ({
    ...marker,
    x: round(xScale(marker.x)),
    y: round(yScale(marker.y)),
  }));
  const inside = ({ x, y }: { x: number; y: number }) =>
    x >= -4 && y >= -4 && x <= width + 4 && y <= height + 4;
  const wanted = [
    ...crosses.filter((cross) => cross.name),
    ...ends(places.length).map((index) => ({
      name: path[index]?.name ?? "",
      x: places[index]?.[0] ?? 0,
      y: places[index]?.[1] ?? 0,
    })),
  ];
  const { labels, boxes } = placed(wanted.filter(inside), width, height);
  return { places, crosses: crosses.filter(inside), labels, boxes: [...boxes, ...crosses.map(boxOf)] };
}

/** Named points and the path over a heat map: white on a dark halo reads on every colour map. */
export function GridMarks({ marks }: { readonly marks: PlacedMarks }) {
  const { places, crosses, labels } = marks;
  const points = places.map((place) => place.join(",")).join(" ");
  return (
    <g fontFamily={FONT} fontSize={11}>
      {places.length > 1 && (
        <g fill="none" strokeLinejoin="round" strokeLinecap="round">
          <polyline points={points} {...HALO} strokeWidth={4} />
          <polyline points={points} stroke="#ffffff" strokeWidth={1.75} />
        </g>
      )}
      {places.map(([x, y], index) => (
        <circle key={index} cx={x} cy={y} r={2.5} fill="#ffffff" {...HALO} strokeWidth={1} />
      ))}
      {crosses.map(({ name, x, y }) => {
        const cross = `M${x - 5},${y}H${x + 5}M${x},${y - 5}V${y + 5}`;
        return (
          <g key={`${name} ${x} ${y}`}>
            <path d={cross} {...HALO} strokeWidth={4} strokeLinecap="round" />
            <path d={cross} stroke="#ffffff" strokeWidth={1.75} strokeLinecap="round" />
          </g>
        );
      })}
      {labels.map(({ text, x, y, end }) => (
        <text
          key={`${text} ${x} ${y}`}
          x={x}
          y={y}
          textAnchor={end ? "end" : "start"}
          fill="#ffffff"
          // Hatched cells are as bright as the letters.
          stroke="#000000"
          strokeOpacity={0.85}
          strokeWidth={3.5}
          strokeLinejoin="round"
          paintOrder="stroke"
        >
          {text}
        </text>
      ))}
    </g>
  );
}

/** The order in which checkpoints ask for room for their labels: both ends, then ever finer halves. */
function ends(count: number): number[] {
  if (count === 0) return [];
  const order = [0, count - 1];
  for (let pieces = 2; pieces <= 16; pieces *= 2) {
    for (let piece = 1; piece < pieces; piece++) order.push(Math.round((piece * (count - 1)) / pieces));
  }
  return [...new Set(order)];
}

function boxOf({ x, y }: GridMarker): Box {
  return [x - 6, y - 6, x + 6, y + 6];
}

/** Labels beside their points, right or left, above or below: the first that overlaps none before it. */
function placed(
  marks: readonly GridMarker[],
  width: number,
  height: number,
): Pick<PlacedMarks, "labels" | "boxes"> {
  const boxes: Box[] = marks.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
  const labels: Label[] = [];
  marks.forEach((mark, own) => {
    const text = fitted(mark.name, 150);
    const wide = textWidth(text) + 2;
    for (const [side, shift] of [
      [1, -7],
      [-1, -7],
      [1, 15],
      [-1, 15],
    ] as const) {
      const from = side > 0 ? mark.x + 8 : mark.x - 8 - wide;
      const bottom = mark.y + shift + 3;
      const box = [from, bottom - LINE, from + wide, bottom] as const;
      if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) continue;
      if (boxes.some((other, index) => index !== own && overlap(box, other))) continue;
      boxes.push(box);
      labels.push({ text, x: mark.x + side * 8, y: mark.y + shift, end: side < 0 });
      return;
    }
  });
  return { labels, boxes };
}

export function overlap(a: Box, b: Box): boolean {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
