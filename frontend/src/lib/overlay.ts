/** Several runs in one plot: which cards give way to the first one of their tag. */

interface Overlaid {
  readonly tag: string;
  readonly geometry: string | null;
}

/** Whether an earlier card of the same tag draws this one's curve too. */
export function isDrawnElsewhere<T extends Overlaid>(cards: readonly T[], card: T): boolean {
  return (
    card.geometry === "curve" &&
    cards.find((other) => other.tag === card.tag && other.geometry === "curve") !== card
  );
}
