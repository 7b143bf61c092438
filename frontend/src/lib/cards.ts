/** Which cards and slices the reader singled out: kept in the address, so small, and compared by value. */

export interface CardKey {
  readonly run: string;
  readonly tag: string;
}

/** One side of a comparison; `step` null follows the step that is linked over all cards. */
export interface ComparedKey extends CardKey {
  readonly step: number | null;
}

/** More than can be told apart side by side. */
export const MAX_COMPARED = 8;

export function cardId({ run, tag }: CardKey): string {
  return JSON.stringify([run, tag]);
}

export function sameCard(a: CardKey, b: CardKey): boolean {
  return a.run === b.run && a.tag === b.tag;
}

export function includesCard(cards: readonly CardKey[], key: CardKey): boolean {
  return cards.some((card) => sameCard(card, key));
}

/** The list without the card, or with it at its end. */
export function toggledCard(cards: readonly CardKey[], { run, tag }: CardKey): readonly CardKey[] {
  const rest = cards.filter((card) => !sameCard(card, { run, tag }));
  return rest.length < cards.length ? rest : [...cards, { run, tag }];
}

export function sameCompared(a: ComparedKey, b: ComparedKey): boolean {
  return sameCard(a, b) && a.step === b.step;
}

/** The list without the slice, or with it at its end; a full list stays as it is. */
export function toggledCompared(
  compared: readonly ComparedKey[],
  { run, tag, step }: ComparedKey,
): readonly ComparedKey[] {
  const rest = compared.filter((entry) => !sameCompared(entry, { run, tag, step }));
  if (rest.length < compared.length) return rest;
  return compared.length < MAX_COMPARED ? [...compared, { run, tag, step }] : compared;
}
