/**
 * A picture file of what a card shows: every canvas and every `svg[data-figure]` below an element, at their places,
 * under a title, with what `[data-figure-note]` says. Cursors and other things of the moment (`data-transient`) are left out.
 */
import { fileName } from "@/lib/utils";
import { paintedAt } from "./painters";
import { FONT, type PlotTheme } from "./theme";

export interface PngOptions {
  readonly title: string;
  readonly lines: readonly string[];
  readonly name: string;
  readonly theme: PlotTheme;
}

const PADDING = 20;
const SCALE = 2;
/** Browsers refuse larger canvases. */
const MAX_PIXELS = 16_000;

export async function savePng(element: HTMLElement, options: PngOptions): Promise<void> {
  const blob = await drawPng(element, options);
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = fileName(options.name, "png");
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function drawPng(element: HTMLElement, { title, lines, theme }: PngOptions): Promise<Blob> {
  const parts = [...element.querySelectorAll<HTMLCanvasElement | SVGSVGElement>("canvas, svg[data-figure]")];
  const boxes = parts.map((part) => part.getBoundingClientRect());
  if (boxes.length === 0) throw new Error("there is nothing to save yet");
  const left = Math.min(...boxes.map((box) => box.left));
  const top = Math.min(...boxes.map((box) => box.top));
  const width = Math.max(...boxes.map((box) => box.right)) - left;
  const height = Math.max(...boxes.map((box) => box.bottom)) - top;

  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gives no canvas to draw on");
  const headFont = `600 16px ${FONT}`;
  const lineFont = `12px ${FONT}`;
  context.font = headFont;
  const heading = wrapped(context, title, Math.max(width, 240));
  context.font = lineFont;
  const remarks = [...element.querySelectorAll("[data-figure-note]")].map((note) => note.textContent ?? "");
  const notes = [...lines, ...remarks].flatMap((line) => wrapped(context, line, Math.max(width, 240)));
  const head = heading.length * 21 + notes.length * 17 + 10;

  const whole = [Math.max(width, 240) + 2 * PADDING, head + height + 2 * PADDING] as const;
  const scale = Math.min(SCALE, MAX_PIXELS / Math.max(...whole));
  canvas.width = Math.round(whole[0] * scale);
  canvas.height = Math.round(whole[1] * scale);
  context.scale(scale, scale);
  context.fillStyle = theme.background;
  context.fillRect(0, 0, ...whole);
  context.textBaseline = "top";
  context.fillStyle = theme.foreground;
  context.font = headFont;
  heading.forEach((line, index) => {
    context.fillText(line, PADDING, PADDING + index * 21);
  });
  context.fillStyle = theme.muted;
  context.font = lineFont;
  notes.forEach((line, index) => {
    context.fillText(line, PADDING, PADDING + heading.length * 21 + index * 17);
  });

  const origin = [PADDING - left, PADDING + head - top] as const;
  parts.forEach((part, index) => {
    const box = boxes[index] as DOMRect;
    if (part instanceof HTMLCanvasElement && part.width > 0) {
      context.drawImage(
        paintedAt(part, SCALE),
        origin[0] + box.left,
        origin[1] + box.top,
        box.width,
        box.height,
      );
    }
  });
  const pictures = parts.map((part, index) => ({ part, box: boxes[index] as DOMRect }));
  const drawn = pictures.filter((entry): entry is Picture => entry.part instanceof SVGSVGElement);
  context.drawImage(await rendered(drawn, left, top, width, height), PADDING, PADDING + head, width, height);

  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be encoded"))));
  });
}

interface Picture {
  readonly part: SVGSVGElement;
  readonly box: DOMRect;
}

/** All SVG parts in one image, so that hundreds of small plots are decoded once. */
async function rendered(
  pictures: readonly Picture[],
  left: number,
  top: number,
  width: number,
  height: number,
) {
  const outer = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  outer.setAttribute("width", String(width * SCALE));
  outer.setAttribute("height", String(height * SCALE));
  outer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const { part, box } of pictures) {
    const copy = part.cloneNode(true) as SVGSVGElement;
    for (const transient of copy.querySelectorAll("[data-transient]")) transient.remove();
    copy.setAttribute("x", String(box.left - left));
    copy.setAttribute("y", String(box.top - top));
    outer.append(copy);
  }
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(outer))}`;
  await image.decode();
  return image;
}

/** Lines no wider than `width`, broken between words, or within one that is too long. */
function wrapped(context: CanvasRenderingContext2D, text: string, width: number): string[] {
  const done: string[] = [];
  let current = "";
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = current ? `${current} ${word}` : word;
    if (context.measureText(longer).width <= width) {
      current = longer;
      continue;
    }
    if (current) done.push(current);
    current = word;
    while (context.measureText(current).width > width && current.length > 1) {
      let cut = current.length - 1;
      while (cut > 1 && context.measureText(current.slice(0, cut)).width > width) cut -= 1;
      done.push(current.slice(0, cut));
      current = current.slice(cut);
    }
  }
  return current ? [...done, current] : done;
}
