import { type ClassValue, clsx } from "clsx";
import { twMerge } from "tailwind-merge";

/** Class names joined, the later of two Tailwind classes for the same property winning; within an input none may repeat one. */
export function cn(...inputs: ClassValue[]): string {
  const [first = "", ...others] = inputs.map((input) => clsx(input)).filter(Boolean);
  // Merging makes tables at its first call, which the first plot would wait for.
  return others.length === 0 ? first : twMerge(first, ...others);
}

/** A file name from any text: letters, digits, dashes, and a short hash so that two texts don't collide. */
export function fileName(text: string, extension: string): string {
  const slug = text
    .normalize("NFKD")
    .replace(/[^a-zA-Z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .toLowerCase();
  return `${slug || "slice"}-${textHash(text)}.${extension}`;
}

/** FNV-1a, 32 bits. */
export function textHash(text: string): string {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  }
  return (state >>> 0).toString(16).padStart(8, "0");
}
