import type { Scale } from "@/maths/scale";
import { fitted, round, textWidth } from "./axes";
import { FONT } from "./theme";

export interface GridMarker {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

interface GridMarksProps {
  readonly markers: readonly GridMarker[];
  /** The checkpoints' way through the plane. */
  readonly path: readonly (readonly [number, number])[];
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly width: number;
  readonly height: number;
}

const HALO = { stroke: "#000000", strokeOpacity: 0.65 } as const;

/** Named points and the path over a heat map: white on a dark halo reads on every colour map. */
export function GridMarks({ markers, path, xScale, yScale, width, height }: GridMarksProps) {
  const places = path.map(([x, y]) => [round(xScale(x)), round(yScale(y))] as const);
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
      {markers.map((marker) => {
        const [x, y] = [round(xScale(marker.x)), round(yScale(marker.y))];
        if (x < -4 || y < -4 || x > width + 4 || y > height + 4) return null;
        const text = fitted(marker.name, 150);
        const left = x + 10 + textWidth(text) > width;
        const cross = `M${x - 5},${y}H${x + 5}M${x},${y - 5}V${y + 5}`;
        return (
          <g key={`${marker.name} ${marker.x} ${marker.y}`}>
            <path d={cross} {...HALO} strokeWidth={4} strokeLinecap="round" />
            <path d={cross} stroke="#ffffff" strokeWidth={1.75} strokeLinecap="round" />
            <text
              x={left ? x - 8 : x + 8}
              y={y < 20 ? y + 14 : y - 7}
              textAnchor={left ? "end" : "start"}
              fill="#ffffff"
              {...HALO}
              strokeWidth={2.5}
              paintOrder="stroke"
            >
              {text}
            </text>
          </g>
        );
      })}
    </g>
  );
}
