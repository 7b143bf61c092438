/** Names from a log as they are shown: anyone may have written them. */

/** Characters of a name that are shown; the whole of it is in the address and in downloads. */
export const LONGEST_NAME = 300;

/** Of what stands beside an axis, or in a legend. */
export const LONGEST_LABEL = 120;

// Controls, what turns the reading direction of all that follows, and what no SVG file may hold.
const UNSEEN = /[\p{Cc}\p{Cs}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/gu;

/** The first characters of a text; none is cut in two. */
export function beginning(text: string, length: number): string {
  return text.slice(0, isWithin(text, length) ? length - 1 : length);
}

/** The last characters of a text; none is cut in two. */
export function ending(text: string, length: number): string {
  const start = Math.max(text.length - length, 0);
  return text.slice(isWithin(text, start) ? start + 1 : start);
}

/** Whether a place lies between both halves of one character. */
function isWithin(text: string, place: number): boolean {
  return /^[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(Math.max(place - 1, 0), place + 1));
}

/** The name with invisible characters spelled out, cut in its middle where it is very long. */
export function displayName(name: string, longest = LONGEST_NAME): string {
  const half = Math.floor(longest / 2);
  const short = name.length <= longest ? name : `${beginning(name, half)} … ${ending(name, half)}`;
  return short.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The name of a tag: one that has nothing to be seen is said to have none, as a card needs a title. */
export function tagName(tag: string, longest = LONGEST_NAME): string {
  return tag.trim() === "" ? "(no name)" : displayName(tag, longest);
}

/** What a card is called where its name stands in that of a button. */
export function cardName({ run, tag }: { readonly run: string; readonly tag: string }): string {
  return `${tagName(tag, 80)} of ${displayName(run, 80)}`;
}

/** Characters of a description that are shown. */
const LONGEST_TEXT = 4000;

/** A text of several lines in the same way. */
export function displayText(text: string): string {
  return beginning(text, LONGEST_TEXT)
    .split("\n")
    .map((line) => displayName(line, LONGEST_TEXT))
    .join("\n");
}
