/** Names from a log as they are shown: anyone may have written them. */

/** Characters of a name that are shown; the whole of it is in the address and in downloads. */
export const LONGEST_NAME = 300;

// Controls, and what turns the reading direction of all that follows.
const UNSEEN = /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** The name with invisible characters spelled out, cut in its middle where it is very long. */
export function displayName(name: string, longest = LONGEST_NAME): string {
  const half = Math.floor(longest / 2);
  const short = name.length <= longest ? name : `${name.slice(0, half)} … ${name.slice(name.length - half)}`;
  return short.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Characters of a description that are shown. */
const LONGEST_TEXT = 4000;

/** A text of several lines in the same way. */
export function displayText(text: string): string {
  return text
    .slice(0, LONGEST_TEXT)
    .split("\n")
    .map((line) => displayName(line, LONGEST_TEXT))
    .join("\n");
}
