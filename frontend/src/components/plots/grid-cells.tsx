import { useLayoutEffect, useRef } from "react";
import { type GridPicture, gridLines, paintGrid } from "./paint-grid";
import { setPainter } from "./painters";

interface GridCellsProps {
  /** Kept as it is while nothing of it changes: a new one is painted anew. */
  readonly picture: GridPicture;
  readonly left: number;
  readonly top: number;
  /** Pixels of the page to one of the picture. */
  readonly unit: number;
}

/** The cells and contour lines of a heat map, on a canvas. */
export function GridCells({ picture, left, top, unit }: GridCellsProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  // With the axes, not a frame after them.
  useLayoutEffect(() => {
    const target = canvas.current;
    if (!target) return;
    paintGrid(target, picture, (window.devicePixelRatio || 1) * unit);
    setPainter(target, {
      paint: (copy, ratio, lines) => paintGrid(copy, picture, ratio * unit, lines),
      lines: () => gridLines(picture, unit),
    });
  }, [picture, unit]);
  return (
    <canvas
      ref={canvas}
      className="absolute"
      style={{
        left: left * unit,
        top: top * unit,
        width: picture.width * unit,
        height: picture.height * unit,
      }}
    />
  );
}
