import { line } from "d3-shape";
import { memo, type PointerEvent, useState } from "react";
import type { ScaleName } from "@/maths/color";
import type { CurveDomain } from "@/maths/family";
import { digitsAmong, formatEnds, formatNumber, formatWithError } from "@/maths/format";
import { nearestIndex } from "@/maths/grid";
import { scaleOf } from "@/maths/scale";
import { fitted, round, textWidth } from "./axes";
import { crossesOf, NotFinite } from "./not-finite";
import { framed } from "./plot-shell";
import { FONT, type PlotTheme } from "./theme";

export interface TileLine {
  readonly label: string;
  readonly color: string;
  readonly values: Float64Array;
  readonly stderr: Float64Array | null;
}

interface CurveTileProps {
  readonly index: number;
  readonly name: string;
  readonly layer: string;
  /** The parameter's own value at the center. */
  readonly center: number | null;
  readonly x: Float64Array;
  readonly xDomain: readonly [number, number];
  readonly domain: CurveDomain;
  readonly scale: ScaleName;
  readonly lines: readonly TileLine[];
  readonly width: number;
  /** Pixels of the page to one of the tile. */
  readonly unit: number;
  /** Pixels for the vertical axis' labels: the same for all tiles, so that plots stand in line. */
  readonly left: number;
  readonly theme: PlotTheme;
  readonly onOpen: (index: number) => void;
}

export const TILE_HEIGHT = 148;
const TOP = 36;
const BOTTOM = 20;
const SIDE = 10;
const SMALL = 10;
/** The radius of a point without a neighbor. */
const LONE = 2.5;

/** The label margin that fits all of these tiles. */
export function tileMargin(domains: readonly CurveDomain[]): number {
  const widest = domains.reduce(
    (most, domain) => Math.max(most, ...endLabels(domain).map((text) => textWidth(text, SMALL))),
    16,
  );
  return Math.ceil(widest) + 8;
}

function endLabels({ low, high }: CurveDomain): [string, string] {
  return Number.isFinite(low) ? formatEnds(low, high) : ["", ""];
}

/** One small curve with its name; the value under the pointer is read out in place of the layer and the center. */
export const CurveTile = memo(function CurveTile(props: CurveTileProps) {
  const { index, name, layer, center, x, xDomain, domain, scale, lines, width, unit, left, theme, onOpen } =
    props;
  const [cursor, setCursor] = useState<number | null>(null);
  const height = TILE_HEIGHT - TOP - BOTTOM;
  const inner = Math.max(width - left - SIDE, 10);
  const xScale = scaleOf(xDomain, [0, inner]);
  const yScale = scaleOf(domain.bounds, [height, 0], scale);
  const shown = cursor === null ? null : Math.min(cursor, x.length - 1);
  const centerText = center === null ? "" : formatNumber(center, 4);
  const spoken = ["Enlarge", name, layer && `layer ${layer}`, centerText && `center ${centerText}`];

  const onPointer = (event: PointerEvent<HTMLButtonElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    setCursor(nearestIndex(x, xScale.invert((event.clientX - box.left) / unit - left)));
  };

  return (
    <div className="relative rounded-sm hover:bg-muted/60" data-testid="tile">
      <svg data-figure {...framed(width, TILE_HEIGHT, unit)} className="block" aria-hidden="true">
        <g fontFamily={FONT}>
          <text x={left} y={14} fontSize={12} fontWeight={500} fill={theme.foreground}>
            {fitted(name, inner, 12.5)}
          </text>
          {shown === null ? (
            <Caption layer={layer} center={centerText} left={left} inner={inner} theme={theme} />
          ) : (
            <text x={left} y={28} fontSize={SMALL} fill={theme.foreground} data-testid="tile-readout">
              {fitted(readout(shown, x, lines), inner, SMALL)}
            </text>
          )}
          <g transform={`translate(${left},${TOP})`}>
            <rect width={inner} height={height} fill="none" stroke={theme.grid} />
            {xDomain[0] < 0 && xDomain[1] > 0 && (
              <line x1={round(xScale(0))} x2={round(xScale(0))} y2={height} stroke={theme.grid} />
            )}
            <TileLines lines={lines} x={x} xScale={xScale} yScale={yScale} inner={inner} height={height} />
            <NotFinite
              crosses={crossesOf(
                lines.map((entry) => ({ ...entry, key: entry.label, x })),
                xScale,
                inner,
              )}
              height={height}
              theme={theme}
              size={2}
            />
            <TileLabels domain={domain} xDomain={xDomain} inner={inner} height={height} theme={theme} />
            {shown !== null && (
              <g data-transient>
                <line
                  x1={round(xScale(x[shown] as number))}
                  x2={round(xScale(x[shown] as number))}
                  y2={height}
                  stroke={theme.foreground}
                  strokeOpacity={0.5}
                />
                {lines.map((entry) =>
                  Number.isFinite(entry.values[shown]) ? (
                    <circle
                      key={entry.label}
                      cx={round(xScale(x[shown] as number))}
                      cy={round(Math.min(Math.max(yScale(entry.values[shown] as number), 0), height))}
                      r={3}
                      fill={entry.color}
                    />
                  ) : null,
                )}
              </g>
            )}
          </g>
        </g>
      </svg>
      <button
        type="button"
        aria-label={spoken.filter(Boolean).join(", ")}
        title={name}
        className="absolute inset-0 cursor-pointer touch-pan-y"
        onClick={() => onOpen(index)}
        onPointerMove={onPointer}
        onPointerLeave={() => setCursor(null)}
      />
    </div>
  );
});

function readout(index: number, x: Float64Array, lines: readonly TileLine[]): string {
  const values = lines.map((entry) =>
    formatWithError(entry.values[index] as number, entry.stderr?.[index], digitsAmong(entry.values, 5)),
  );
  return `${formatNumber(x[index] as number, 4)}: ${values.join(" · ")}`;
}

interface CaptionProps {
  readonly layer: string;
  readonly center: string;
  readonly left: number;
  readonly inner: number;
  readonly theme: PlotTheme;
}

/** The layer at the left, the center's value at the right: the number is never cut. */
function Caption({ layer, center, left, inner, theme }: CaptionProps) {
  const number = center && `center ${center}`;
  return (
    <g fontSize={SMALL} fill={theme.muted}>
      <text x={left} y={28}>
        {layer && fitted(layer, inner - textWidth(number, SMALL) - 8, SMALL)}
      </text>
      <text x={left + inner} y={28} textAnchor="end">
        {number}
      </text>
    </g>
  );
}

interface TileLabelsProps {
  readonly domain: CurveDomain;
  readonly xDomain: readonly [number, number];
  readonly inner: number;
  readonly height: number;
  readonly theme: PlotTheme;
}

/** The ends of both axes: the least and greatest drawn value, the first and last coordinate. */
function TileLabels({ domain, xDomain, inner, height, theme }: TileLabelsProps) {
  const flat = !(domain.high > domain.low);
  const [low, high] = endLabels(domain);
  return (
    <g fontSize={SMALL} fill={theme.muted}>
      {!flat && (
        <text x={-5} y={9} textAnchor="end">
          {high}
        </text>
      )}
      <text x={-5} y={flat ? height / 2 + 4 : height - 1} textAnchor="end">
        {low}
      </text>
      <text y={height + 13}>{formatNumber(xDomain[0], 3)}</text>
      {xDomain[1] > xDomain[0] && (
        <text x={inner} y={height + 13} textAnchor="end">
          {formatNumber(xDomain[1], 3)}
        </text>
      )}
    </g>
  );
}

interface TileLinesProps {
  readonly lines: readonly TileLine[];
  readonly x: Float64Array;
  readonly xScale: (value: number) => number;
  readonly yScale: (value: number) => number;
  readonly inner: number;
  readonly height: number;
}

/** A nested picture clips what leaves the tile without a name that hundreds of tiles would have to invent. */
function TileLines({ lines, x, xScale, yScale, inner, height }: TileLinesProps) {
  const indices = Array.from(x.keys());
  return (
    <svg width={inner} height={height} overflow="hidden" aria-hidden="true">
      {lines.map((entry) => {
        const up = (index: number) => yScale(entry.values[index] as number);
        const drawn = (index: number) => Number.isFinite(up(index));
        const alone = indices.filter((index) => drawn(index) && !drawn(index - 1) && !drawn(index + 1));
        const [across, down] = [
          (index: number) => round(xScale(x[index] as number)),
          (index: number) => round(Math.min(Math.max(up(index), -1e4), 1e4)),
        ];
        const path = line<number>().defined(drawn).x(across).y(down)(indices);
        return (
          <g key={entry.label}>
            <path
              d={path ?? ""}
              fill="none"
              stroke={entry.color}
              strokeWidth={1.5}
              strokeLinecap="round"
              strokeLinejoin="round"
            />
            {/* No line leads to it, and none would be seen. */}
            {alone.map((index) => (
              <circle key={index} cx={across(index)} cy={down(index)} r={LONE} fill={entry.color} />
            ))}
          </g>
        );
      })}
    </svg>
  );
}
