/**
 * A picture file of what a card shows: every canvas and every `svg[data-figure]` below an element, at their places,
 * under a title, with what `[data-figure-note]` says. Cursors and other things of the moment (`data-transient`) are left out.
 */
import { plotUnit } from "@/hooks/use-size";
import { fileName } from "@/lib/utils";
import { prepared } from "./figures";
import { paintedAt, vectorLines } from "./painters";
import { FONT, type PlotTheme } from "./theme";

export type PictureFormat = "png" | "svg";

export interface PictureOptions {
  readonly title: string;
  readonly lines: readonly string[];
  readonly name: string;
  readonly format: PictureFormat;
  /** Pixels of the picture to one of the page; in an SVG, of the images within it. */
  readonly scale: number;
  readonly theme: PlotTheme;
}

export const SCALES = [1, 2, 3, 4] as const;

const PADDING = 20;
/** Browsers refuse larger canvases. */
const MAX_PIXELS = 16_000;
const NARROWEST = 240;
const TITLE = { size: 16, height: 21, weight: 600 } as const;
const NOTE = { size: 12, height: 17, weight: 400 } as const;
const SVG = "http://www.w3.org/2000/svg";

export async function savePicture(element: HTMLElement, options: PictureOptions): Promise<void> {
  const blob = await prepared(element, () => drawn(element, options));
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = fileName(options.name, options.format);
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function drawn(element: HTMLElement, options: PictureOptions): Promise<Blob> {
  const layout = measured(element, options);
  const scale = Math.min(options.scale, MAX_PIXELS / Math.max(layout.width, layout.height));
  const picture = composed(layout, options.theme, scale, options.format === "svg");
  const text = new XMLSerializer().serializeToString(picture);
  if (options.format === "svg") return new Blob([text], { type: "image/svg+xml" });
  return rasterized(text, layout, scale, options.theme);
}

interface Part {
  readonly element: HTMLCanvasElement | SVGSVGElement;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface Line {
  readonly text: string;
  readonly font: typeof TITLE | typeof NOTE;
  readonly size: number;
  readonly y: number;
}

interface Layout {
  readonly width: number;
  readonly height: number;
  readonly texts: readonly Line[];
  readonly parts: readonly Part[];
}

function measured(element: HTMLElement, { title, lines }: PictureOptions): Layout {
  const elements = [
    ...element.querySelectorAll<HTMLCanvasElement | SVGSVGElement>("canvas, svg[data-figure]"),
  ];
  const boxes = elements.map((part) => part.getBoundingClientRect());
  if (boxes.length === 0) throw new Error("there is nothing to save yet");
  const left = Math.min(...boxes.map((box) => box.left));
  const top = Math.min(...boxes.map((box) => box.top));
  const inner = Math.max(Math.max(...boxes.map((box) => box.right)) - left, NARROWEST);
  const high = Math.max(...boxes.map((box) => box.bottom)) - top;

  const context = document.createElement("canvas").getContext("2d");
  if (!context) throw new Error("this browser gives no canvas to draw on");
  // As the letters of its plots.
  const unit = plotUnit(inner);
  const remarks = [...element.querySelectorAll("[data-figure-note]")].map((note) => note.textContent ?? "");
  const texts: Line[] = [];
  let y = PADDING;
  const write = (text: string, font: Line["font"]) => {
    const size = font.size * unit;
    context.font = `${font.weight} ${size}px ${FONT}`;
    for (const line of wrapped(context, text, inner)) {
      texts.push({ text: line, font, size, y: y + size });
      y += font.height * unit;
    }
  };
  write(title, TITLE);
  for (const line of [...lines, ...remarks]) write(line, NOTE);
  y += 10;
  return {
    width: inner + 2 * PADDING,
    height: y + high + PADDING,
    texts,
    parts: elements.map((part, index) => {
      const box = boxes[index] as DOMRect;
      const place = { x: PADDING + box.left - left, y: y + box.top - top };
      return { element: part, ...place, width: box.width, height: box.height };
    }),
  };
}

/** The whole as one SVG; canvases become images in it, their lines stay lines where `vectors` asks for it. */
function composed(layout: Layout, theme: PlotTheme, scale: number, vectors: boolean): SVGSVGElement {
  const outer = node("svg", {
    width: layout.width,
    height: layout.height,
    viewBox: `0 0 ${layout.width} ${layout.height}`,
  });
  outer.append(node("rect", { width: layout.width, height: layout.height, fill: theme.background }));
  for (const { text, font, size, y } of layout.texts) {
    const line = node("text", {
      ...{ x: PADDING, y, "font-family": FONT, "font-size": size, "font-weight": font.weight },
      fill: font === TITLE ? theme.foreground : theme.muted,
    });
    line.textContent = text;
    outer.append(line);
  }
  const canvases = layout.parts.filter((part) => part.element instanceof HTMLCanvasElement);
  for (const part of canvases) outer.append(...canvasNodes(part, scale, vectors));
  for (const { element, x, y } of layout.parts) {
    if (!(element instanceof SVGSVGElement)) continue;
    const copy = element.cloneNode(true) as SVGSVGElement;
    for (const transient of copy.querySelectorAll("[data-transient]")) transient.remove();
    for (const [name, value] of Object.entries({ x, y })) copy.setAttribute(name, String(value));
    outer.append(copy);
  }
  return outer;
}

function canvasNodes({ element, x, y, width, height }: Part, scale: number, vectors: boolean): SVGElement[] {
  const canvas = element as HTMLCanvasElement;
  if (canvas.width === 0) return [];
  const image = node("image", { x, y, width, height, preserveAspectRatio: "none" });
  image.setAttribute("href", paintedAt(canvas, scale, !vectors).toDataURL());
  if (!vectors) return [image];
  const frame = node("svg", {
    x,
    y,
    width,
    height,
    overflow: "hidden",
    fill: "none",
    "stroke-linejoin": "round",
  });
  for (const { path, stroke, width: wide } of vectorLines(canvas))
    frame.append(node("path", { d: path, stroke, "stroke-width": wide }));
  return [image, frame];
}

function node<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | number>>,
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

async function rasterized(text: string, layout: Layout, scale: number, theme: PlotTheme): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(layout.width * scale);
  canvas.height = Math.round(layout.height * scale);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gives no canvas to draw on");
  context.fillStyle = theme.background;
  context.fillRect(0, 0, canvas.width, canvas.height);
  // An SVG is decoded at its own size: asking for it enlarged keeps lines and letters sharp.
  const enlarged = text.replace(
    /width="[\d.]+" height="[\d.]+"/,
    `width="${layout.width * scale}" height="${layout.height * scale}"`,
  );
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(enlarged)}`;
  await image.decode();
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be encoded"))));
  });
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
