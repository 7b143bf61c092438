import { type PointerEvent, useState } from "react";
import type { Cut } from "@/maths/cut";
import type { Scale } from "@/maths/scale";
import { round } from "./axes";
import { placeIn } from "./plot-shell";
import { FONT } from "./theme";

interface CutLayerProps {
  readonly cut: Cut | null;
  /** Whether the next drag draws a new cut. */
  readonly drawing: boolean;
  readonly onCut: (cut: Cut) => void;
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly width: number;
  readonly height: number;
}

const SHORTEST = 6;

/** The line whose values are shown as a curve, with A and B at its ends, and the drag that draws it. */
export function CutLayer({ cut, drawing, onCut, xScale, yScale, width, height }: CutLayerProps) {
  const [draft, setDraft] = useState<Cut | null>(null);
  const shown = draft ?? cut;
  const finish = (event: PointerEvent<SVGRectElement>) => {
    event.currentTarget.releasePointerCapture(event.pointerId);
    setDraft(null);
    if (!draft) return;
    const [x0, y0, x1, y1] = draft;
    if (Math.hypot(xScale(x1) - xScale(x0), yScale(y1) - yScale(y0)) >= SHORTEST)
      onCut(draft.map(short) as unknown as Cut);
  };
  return (
    <>
      {shown && <CutLine cut={shown} xScale={xScale} yScale={yScale} />}
      {drawing && (
        <rect
          data-transient
          data-testid="cut-area"
          width={width}
          height={height}
          fill="transparent"
          style={{ cursor: "crosshair", touchAction: "none" }}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            const [left, top] = placeIn(event);
            const [x, y] = [xScale.invert(left), yScale.invert(top)];
            setDraft([x, y, x, y]);
          }}
          onPointerMove={(event) => {
            if (!draft) return;
            const [left, top] = placeIn(event);
            setDraft([draft[0], draft[1], xScale.invert(left), yScale.invert(top)]);
          }}
          onPointerUp={finish}
          onPointerCancel={() => setDraft(null)}
        />
      )}
    </>
  );
}

function CutLine({ cut, xScale, yScale }: { cut: Cut; xScale: Scale; yScale: Scale }) {
  const ends = [
    ["A", round(xScale(cut[0])), round(yScale(cut[1]))],
    ["B", round(xScale(cut[2])), round(yScale(cut[3]))],
  ] as const;
  const line = { x1: ends[0][1], y1: ends[0][2], x2: ends[1][1], y2: ends[1][2] };
  return (
    <g fontFamily={FONT} fontSize={12} fontWeight={600} data-testid="cut-line">
      <line {...line} stroke="#000000" strokeOpacity={0.65} strokeWidth={4.5} strokeLinecap="round" />
      <line {...line} stroke="#ffd24d" strokeWidth={2} strokeLinecap="round" />
      {ends.map(([name, x, y]) => (
        <g key={name}>
          <circle cx={x} cy={y} r={8} fill="#000000" fillOpacity={0.7} />
          <text x={x} y={y} dy="0.35em" textAnchor="middle" fill="#ffd24d">
            {name}
          </text>
        </g>
      ))}
    </g>
  );
}

/** Four significant digits are finer than any pixel, and keep the address short. */
function short(value: number): number {
  return Number(value.toPrecision(4));
}
