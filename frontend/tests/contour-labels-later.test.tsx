// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useLabeledLines } from "@/components/plots/contour-labels";
import type { LabeledLines } from "@/maths/contour-labels";
import { scaleOf } from "@/maths/scale";

beforeEach(() => vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true));
afterEach(() => vi.unstubAllGlobals());

const AXIS = Float64Array.of(0, 1);
const SCALE = scaleOf([0, 1], [0, 400]);
const CONTOURS = {
  isolines: [
    {
      level: 2,
      lines: [
        [
          [0, 0.5],
          [1, 0.5],
        ],
      ],
    },
  ],
  levels: { count: 1, at: [], spacing: "even" },
  ...{ x: AXIS, y: AXIS, xScale: SCALE, yScale: SCALE },
  inner: { width: 400, height: 400 },
  marks: { boxes: [], places: [] },
} as unknown as Parameters<typeof useLabeledLines>[0];

it("draws whole lines first, and then those with their values", async () => {
  const drawn: LabeledLines[] = [];
  function Lines() {
    drawn.push(useLabeledLines(CONTOURS));
    return null;
  }
  await act(async () => createRoot(document.createElement("div")).render(<Lines />));
  expect(drawn[0]).toMatchObject({ labels: [], lines: [{ level: 2 }] });
  expect(drawn.at(-1)?.labels).toMatchObject([{ level: 2, text: "2" }]);
  expect(drawn.at(-1)?.lines).toHaveLength(2);
});
