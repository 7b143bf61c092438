import { describe, expect, it } from "vitest";
import { contourLevels, type Point } from "@/maths/contour";
import { type DrawnLine, labeledLines, levelTexts, type Surroundings } from "@/maths/contour-labels";

const AROUND: Surroundings = { width: 400, height: 300, boxes: [], ways: [] };
const WIDE = 24;

/** A level line from the left edge to the right one, in many short pieces. */
function across(y: number, level = y, from = 0, to = 400): DrawnLine {
  const points = Array.from({ length: 81 }, (_, at): Point => [from + ((to - from) * at) / 80, y]);
  return { level, points };
}

function ring(x: number, y: number, radius: number, level = radius): DrawnLine {
  const points = Array.from({ length: 121 }, (_, at): Point => {
    const angle = (2 * Math.PI * at) / 120;
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  });
  return { level, points };
}

const labeled = (lines: readonly DrawnLine[], around = AROUND) =>
  labeledLines(lines, String, () => WIDE, around);

describe("labels of contour lines", () => {
  it("stand on their lines, which have a gap there", () => {
    const { lines, labels } = labeled([across(100)]);
    expect(labels).toHaveLength(1);
    expect(labels[0]).toMatchObject({ text: "100", y: 100, angle: 0 });
    expect(lines).toHaveLength(2);
    const x = labels[0]?.x ?? 0;
    const [end, start] = [lines[0]?.points.at(-1) as Point, lines[1]?.points[0] as Point];
    expect(x - end[0]).toBeGreaterThanOrEqual(WIDE / 2);
    expect(start[0] - x).toBeGreaterThanOrEqual(WIDE / 2);
  });

  it("follow the line and are never upside down", () => {
    for (const turn of [0.4, 1.2, 2.5, 3.6, 5.8]) {
      const points = Array.from({ length: 60 }, (_, at): Point => {
        const along = 4 * (at - 30);
        return [200 + along * Math.cos(turn), 150 + along * Math.sin(turn)];
      });
      const [label] = labeled([{ level: 1, points }]).labels;
      expect(Math.abs(label?.angle ?? 99)).toBeLessThanOrEqual(90);
      expect(Math.tan(((label?.angle ?? 0) * Math.PI) / 180)).toBeCloseTo(Math.tan(turn), 6);
    }
  });

  it("keep clear of other lines: none where they are dense", () => {
    const dense = Array.from({ length: 30 }, (_, at) => across(20 + 8 * at));
    expect(labeled(dense).labels).toEqual([]);
    const wide = Array.from({ length: 8 }, (_, at) => across(20 + 30 * at));
    expect(labeled(wide).labels).toHaveLength(8);
  });

  it("are none on lines that are short, or bend within the text", () => {
    expect(labeled([across(100, 1, 0, 2 * WIDE)]).labels).toEqual([]);
    expect(labeled([ring(100, 100, 12)]).labels).toEqual([]);
    expect(labeled([ring(100, 100, 60)]).labels).toHaveLength(1);
  });

  it("do not lie across the other side of a narrow ring", () => {
    const points = [
      ...across(100).points,
      ...across(107).points.toReversed(),
      across(100).points[0] as Point,
    ];
    expect(labeled([{ level: 1, points }]).labels).toEqual([]);
  });

  it("keep clear of markers and the path", () => {
    const free = labeled([across(100)]).labels[0]?.x ?? 0;
    const marker = labeled([across(100)], { ...AROUND, boxes: [[free - 3, 94, free + 3, 106]] }).labels[0];
    expect(Math.abs((marker?.x ?? 0) - free)).toBeGreaterThan(WIDE / 2 + 3);
    const ways = [across(103).points];
    expect(labeled([across(100)], { ...AROUND, ways }).labels).toEqual([]);
  });

  it("stay inside the picture, whatever part of it the zoom shows", () => {
    expect(labeled([across(3), across(297), across(-40), across(340)]).labels).toEqual([]);
    const [label] = labeled([across(100, 1, -3000, 390)]).labels;
    expect((label?.x ?? 0) - WIDE / 2).toBeGreaterThan(0);
    expect((label?.x ?? 0) + WIDE / 2).toBeLessThan(400);
  });

  it("are few: two of a level, apart", () => {
    const level = 1;
    const { labels } = labeled([
      across(40, level),
      across(150, level),
      across(200, level),
      across(280, level),
    ]);
    expect(labels).toHaveLength(2);
    const [a, b] = labels;
    expect(Math.hypot((a?.x ?? 0) - (b?.x ?? 0), (a?.y ?? 0) - (b?.y ?? 0))).toBeGreaterThanOrEqual(110);
  });

  it("never overlap each other", () => {
    const rings = Array.from({ length: 5 }, (_, at) => ring(200, 150, 40 + 22 * at));
    const { labels } = labeled(rings);
    expect(labels.length).toBeGreaterThan(3);
    for (const [index, a] of labels.entries())
      for (const b of labels.slice(index + 1)) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(11);
  });
});

describe("labels on a grid of two points along each axis", () => {
  it("do not stand in a row, where one can't tell whose value is whose", () => {
    const lines = Array.from({ length: 12 }, (_, at) => across(20 + 14 * at, at, 50, 190));
    const { labels } = labeled(lines);
    expect(labels.length).toBeGreaterThanOrEqual(4);
    for (const [index, a] of labels.entries())
      for (const b of labels.slice(index + 1)) {
        const beside = Math.abs(a.x - b.x) < WIDE;
        expect(Math.abs(a.y - b.y)).toBeGreaterThan(beside ? 20 : 0);
      }
  });
});

describe("texts of levels", () => {
  it("have the decimals of their spacing", () => {
    const even = { count: 7, at: [], spacing: "even" } as const;
    expect(levelTexts(contourLevels(0.13, 3.8, even), even)).toEqual([
      "0.5",
      "1.0",
      "1.5",
      "2.0",
      "2.5",
      "3.0",
      "3.5",
    ]);
    expect(levelTexts([0.15], even)).toEqual(["0.15"]);
  });

  it("have three digits at equal ratios, or as many as tell them apart", () => {
    const ratio = { count: 3, at: [], spacing: "ratio" } as const;
    expect(levelTexts(contourLevels(0.02, 50, ratio), ratio)).toEqual(["0.141", "1", "7.07"]);
    expect(levelTexts([1.00011, 1.00012], ratio)).toEqual(["1.00011", "1.00012"]);
    // Nearly flat, as a logarithmic scale shows it.
    for (const height of [1, 1e-4, 1e-9, 1e-13]) {
      const texts = levelTexts(contourLevels(2.3, 2.3 * (1 + height), ratio), ratio);
      expect(new Set(texts).size).toBe(texts.length);
      expect(Math.max(...texts.map((text) => text.length))).toBeLessThan(5 - Math.log10(height));
    }
  });

  it("are the given numbers as they were given", () => {
    expect(levelTexts([0.1234, 2], { count: 3, at: [2, 0.1234], spacing: "even" })).toEqual(["0.1234", "2"]);
  });
});
