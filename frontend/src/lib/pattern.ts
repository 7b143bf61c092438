/** Patterns that the reader types to find names. */

/** A filter's pattern as a test on names: a regular expression where it is one, else plain text; case is ignored. */
export function nameFilter(pattern: string): (name: string) => boolean {
  const wanted = pattern.trim();
  if (wanted === "") return () => true;
  try {
    const expression = new RegExp(wanted, "i");
    return (name) => expression.test(name);
  } catch {
    const lower = wanted.toLowerCase();
    return (name) => name.toLowerCase().includes(lower);
  }
}

export function isRegularExpression(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}
